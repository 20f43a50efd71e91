//! `strace` at a running broker: it watches from the first call on, or comes later and answers in
//! the kernel's place until it is taken away.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use crate::process::Launch;
use crate::trace::CALLS;

/// Larger than any buffer of one call.
const BUFFER_BYTES_MAX: &str = "33554432";

/// The words before a broker's binary that make `strace` write all calls of [`CALLS`] to `to`, and
/// answer those that `inject` names (`fdatasync:retval=0`) in the kernel's place.
pub fn watching(launch: Launch, to: &Path, inject: &[&str]) -> Launch {
    let calls = format!("trace={CALLS}");
    let to = to.display().to_string();
    let mut launch = launch.before([
        // The broker itself stays our child: signals and exit codes are its own.
        "strace", "-D", "-f", "-ttt", "-yy", "-a1",
    ]);
    if inject.is_empty() {
        launch = launch.before(["--seccomp-bpf"]);
    }
    launch = launch.before(["-s", BUFFER_BYTES_MAX, "-o", &to, "-e", &calls]);
    for one in inject {
        launch = launch.before(["-e".to_owned(), format!("inject={one}")]);
    }
    launch
}

/// A `strace` that answers some calls of a running process in the kernel's place, or holds them up,
/// as long as this value lives.
#[derive(Debug)]
pub struct Injector {
    strace: Child,
    // Kept open: a line for each new thread goes there.
    _errors: BufReader<ChildStderr>,
}

impl Injector {
    /// Begins with process `id`. `inject` is as for `strace -e inject=`; only calls on `paths`, when
    /// there are any.
    pub fn attach(id: u32, inject: &[&str], paths: &[String]) -> Result<Self, String> {
        let mut command = Command::new("strace");
        command.args(["-f", "-p", &id.to_string()]);
        command.args(["-o", "/dev/null"]);
        let calls: Vec<&str> = inject
            .iter()
            .map(|one| one.split(':').next().unwrap_or_default())
            .collect();
        command.args(["-e", &format!("trace={}", calls.join(","))]);
        for one in inject {
            command.args(["-e", &format!("inject={one}")]);
        }
        for path in paths {
            command.args(["-P", path]);
        }
        let mut strace = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start strace: {error}"))?;
        let mut said = String::new();
        let mut errors = BufReader::new(strace.stderr.take().ok_or("strace has no output")?);
        loop {
            let mut line = String::new();
            let read = errors.read_line(&mut line);
            if read.map_err(|error| error.to_string())? == 0 {
                drop(strace.wait());
                return Err(format!(
                    "strace cannot attach to the broker (it needs root, or ptrace_scope 0): {}",
                    said.trim()
                ));
            }
            if line.contains(" attached") {
                break;
            }
            said += &line;
        }
        Ok(Self {
            strace,
            _errors: errors,
        })
    }

    /// Lets the process go on undisturbed.
    pub fn detach(mut self) -> Result<(), String> {
        let id = self.strace.id().to_string();
        let asked = Command::new("kill").args(["-INT", &id]).status();
        match asked {
            Ok(status) if status.success() => {}
            other => return Err(format!("cannot end strace: {other:?}")),
        }
        self.strace
            .wait()
            .map(drop)
            .map_err(|error| error.to_string())
    }
}

impl Drop for Injector {
    fn drop(&mut self) {
        if matches!(self.strace.try_wait(), Ok(None)) {
            drop(self.strace.kill());
            drop(self.strace.wait());
        }
    }
}
