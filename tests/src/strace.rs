//! `strace` at a running broker: it watches from the first call on, or comes later and answers in
//! the kernel's place until it is taken away.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use millrace_host::Host;

use crate::process::Launch;
use crate::trace::CALLS;

/// Larger than any buffer of one call.
const BUFFER_BYTES_MAX: &str = "33554432";

/// A stopped process has no call under way any more after this.
const STOPS_WITHIN: Duration = Duration::from_millis(200);

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
    id: u32,
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
            id,
            strace,
            _errors: errors,
        })
    }

    /// Lets the process go on undisturbed. It is stopped for a moment: a call that the tracer is
    /// just about to answer when it lets go would fail with `ENOSYS`.
    pub async fn detach(mut self, host: &Host) -> Result<(), String> {
        signal("-STOP", self.id)?;
        host.clock
            .sleep_until(host.clock.now().mono + STOPS_WITHIN)
            .await;
        let let_go = signal("-INT", self.strace.id())
            .and_then(|()| self.strace.wait().map_err(|error| error.to_string()));
        signal("-CONT", self.id)?;
        let_go.map(drop)
    }
}

/// Sends a signal by its name.
fn signal(name: &str, id: u32) -> Result<(), String> {
    let sent = Command::new("kill").args([name, &id.to_string()]).status();
    match sent {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("cannot send {name} to {id}: {other:?}")),
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
