//! A program under watch: its output is printed as it comes, waiting for it has a deadline, and it
//! never outlives the value that holds it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines of output that may wait to be read.
const LINES_MAX: usize = 1024;
/// Lines of a quiet program that are kept.
const TAIL_LINES: usize = 40;

/// A running program in a process group of its own.
#[derive(Debug)]
pub(crate) struct Watched {
    child: Child,
    lines: Receiver<String>,
    name: String,
    /// The last lines of a quiet one.
    tail: Arc<Mutex<VecDeque<String>>>,
}

impl Watched {
    /// Starts one line of shell. It becomes the program itself (`exec`), so that a signal meets the
    /// program and its status is the program's.
    pub(crate) fn start(line: &str, directory: &Path) -> Result<Self, String> {
        Self::begin(line, directory, false)
    }

    /// Starts one whose output is kept, the last of it, and not printed.
    pub(crate) fn quietly(line: &str, directory: &Path) -> Result<Self, String> {
        Self::begin(line, directory, true)
    }

    fn begin(line: &str, directory: &Path, quiet: bool) -> Result<Self, String> {
        let mut child = Command::new("sh")
            .args(["-c", &format!("exec 2>&1; exec {line}")])
            .current_dir(directory)
            // A clone builds into its own directory, as a newcomer's does.
            .env_remove("CARGO_TARGET_DIR")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| format!("cannot start `{line}`: {error}"))?;
        let output = child
            .stdout
            .take()
            .expect("the output was asked to be piped");
        let (sender, lines) = sync_channel(LINES_MAX);
        let tail = Arc::<Mutex<VecDeque<String>>>::default();
        let kept = Arc::clone(&tail);
        #[expect(
            clippy::disallowed_methods,
            reason = "a developer's tool, not part of a node"
        )]
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if !quiet {
                    println(&line);
                    if sender.send(line).is_err() {
                        break;
                    }
                    continue;
                }
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push_back(line.clone());
                if kept.len() > TAIL_LINES {
                    kept.pop_front();
                }
                drop(kept);
                // Nobody may wait for a line for long: then those that nobody read are only kept.
                if let Err(TrySendError::Disconnected(_)) = sender.try_send(line) {
                    break;
                }
            }
        });
        Ok(Self {
            child,
            lines,
            name: line.to_owned(),
            tail,
        })
    }

    /// Waits for a line that satisfies a condition; an error when the output ends or time is up.
    pub(crate) fn wait_for_line(
        &mut self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String, String> {
        let deadline = now() + limit;
        loop {
            match self
                .lines
                .recv_timeout(deadline.saturating_duration_since(now()))
            {
                Ok(line) if wanted(&line) => return Ok(line),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("`{}` did not {what} within {limit:?}", self.name));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait().map_err(|error| error.to_string())?;
                    return Err(format!(
                        "`{}` ended before it could {what}: {status}",
                        self.name
                    ));
                }
            }
        }
    }

    /// Forgets the lines that came so far: what is waited for next is new.
    pub(crate) fn drain(&mut self) {
        while self.lines.try_recv().is_ok() {}
    }

    /// The last lines of a program that was started quietly.
    pub(crate) fn tail(&self) -> String {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<&str> = tail.iter().map(String::as_str).collect();
        lines.join("\n")
    }

    /// The program's process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGKILL and waits until the program is gone.
    pub(crate) fn kill(&mut self) -> Result<(), String> {
        self.signal("KILL")?;
        self.child
            .wait()
            .map(drop)
            .map_err(|error| error.to_string())
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) -> Result<(), String> {
        self.signal("TERM")
    }

    /// Sends SIGSTOP.
    pub(crate) fn pause(&self) -> Result<(), String> {
        self.signal("STOP")
    }

    /// Sends SIGCONT.
    pub(crate) fn resume(&self) -> Result<(), String> {
        self.signal("CONT")
    }

    /// Waits for the end of the program.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<ExitStatus, String> {
        let deadline = now() + limit;
        loop {
            match self
                .lines
                .recv_timeout(deadline.saturating_duration_since(now()))
            {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return self.child.wait().map_err(|error| error.to_string());
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("`{}` did not end within {limit:?}", self.name));
                }
            }
        }
    }

    /// Signals the program's whole group.
    fn signal(&self, name: &str) -> Result<(), String> {
        let group = format!("-{}", self.child.id());
        let sent = Command::new("kill")
            .args([&format!("-{name}"), "--", &group])
            .status();
        match sent {
            Ok(status) if status.success() => Ok(()),
            other => Err(format!(
                "cannot send SIG{name} to `{}`: {other:?}",
                self.name
            )),
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            if let Err(reason) = self.signal("KILL") {
                eprintln!("xtask: {reason}");
            }
            if let Err(error) = self.child.wait() {
                eprintln!("xtask: `{}`: {error}", self.name);
            }
        }
    }
}

/// Runs a command to its end; an error unless it succeeds.
pub(crate) fn succeed(command: &mut Command) -> Result<(), String> {
    match command.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

/// What a command prints, errors last; an error with its own words unless it succeeds.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run {command:?}: {error}"))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    if output.status.success() {
        Ok(text)
    } else {
        Err(format!("{command:?}: {}\n{text}", output.status))
    }
}

/// Prints a line for the developer.
#[expect(clippy::print_stdout, reason = "the output of a developer's tool")]
pub(crate) fn println(line: &str) {
    println!("{line}");
}

#[expect(
    clippy::disallowed_methods,
    reason = "a developer's tool, not part of a node"
)]
fn now() -> Instant {
    Instant::now()
}
