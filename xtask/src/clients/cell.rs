//! One cell of the table: a client's driver runs one scenario.
//!
//! A driver is `DRIVER BOOTSTRAP SCENARIO PREFIX`. It ends with 0, and its last line on standard
//! output is `pass`, or `n/a: FUNCTION` when the client lacks a function, whoever the broker is. A
//! line `restart` asks for a broker that is killed and started; the answer is the line `restarted`
//! on its standard input. Anything else on either output is shown when it fails.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::process::println;

/// Longer than any scenario takes: each wait in a driver has a minute.
const LIMIT: Duration = Duration::from_mins(5);
/// What of a driver's words is shown when it fails.
const TAIL_LINES: usize = 40;
/// Lines that may wait to be read.
const LINES_MAX: usize = 1024;

/// What came of a driver that didn't fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// All that the scenario asks for is so.
    Pass,
    /// The client has no such function.
    Lacks(String),
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("pass"),
            Self::Lacks(function) => write!(f, "n/a: {function}"),
        }
    }
}

impl Cell {
    /// Reads what [`fmt::Display`] writes.
    pub(super) fn read(text: &str) -> Option<Self> {
        match text.trim() {
            "pass" => Some(Self::Pass),
            other => {
                let function = other.strip_prefix("n/a: ")?.trim();
                (!function.is_empty()).then(|| Self::Lacks(function.to_owned()))
            }
        }
    }
}

/// A line of a driver.
enum Said {
    Output(String),
    Error(String),
}

/// Runs a driver with its arguments, of which the last says whose cell it is; `restart` is what it may ask for.
pub(super) fn run(words: &[String], restart: &mut dyn FnMut() -> Outcome) -> Result<Cell, String> {
    let begin = now();
    let (program, arguments) = words.split_first().ok_or("a driver without a program")?;
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("cannot start {program}: {error}"))?;
    let mut driver = Driver {
        child,
        shown: Vec::new(),
    };
    let cell = driver.attend(restart).map_err(|reason| {
        let from = driver.shown.len().saturating_sub(TAIL_LINES);
        format!(
            "{reason}; the driver's last words:\n{}",
            driver.shown[from..].join("\n")
        )
    })?;
    let seconds = begin.elapsed().as_secs_f32();
    let name = words.last().map_or("", String::as_str);
    println(&format!("{name}: {cell} ({seconds:.1} s)"));
    Ok(cell)
}

/// A driver that runs.
struct Driver {
    child: Child,
    shown: Vec<String>,
}

impl Driver {
    fn attend(&mut self, restart: &mut dyn FnMut() -> Outcome) -> Result<Cell, String> {
        let mut stdin = self.child.stdin.take();
        let said = self.listen();
        let deadline = now() + LIMIT;
        let mut last = String::new();
        loop {
            match said.recv_timeout(deadline.saturating_duration_since(now())) {
                Ok(Said::Output(line)) => {
                    self.shown.push(line.clone());
                    if line == "restart" {
                        restart()?;
                        let stdin = stdin.as_mut().ok_or("its standard input is gone")?;
                        writeln!(stdin, "restarted")
                            .and_then(|()| stdin.flush())
                            .map_err(|error| format!("it can't be told of the restart: {error}"))?;
                    }
                    last = line;
                }
                Ok(Said::Error(line)) => self.shown.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("it did not end within {LIMIT:?}"));
                }
            }
        }
        let status = self.child.wait().map_err(|error| error.to_string())?;
        if !status.success() {
            return Err(format!("it ended with {status}"));
        }
        Cell::read(&last).ok_or_else(|| format!("its last line is `{last}`, not a result"))
    }

    /// Reads both outputs until they end.
    fn listen(&mut self) -> Receiver<Said> {
        let (sender, said) = sync_channel(LINES_MAX);
        if let Some(output) = self.child.stdout.take() {
            read(output, sender.clone(), Said::Output);
        }
        if let Some(errors) = self.child.stderr.take() {
            read(errors, sender, Said::Error);
        }
        said
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let group = format!("-{}", self.child.id());
            // Whatever it started goes with it.
            let killed = Command::new("kill").args(["-KILL", "--", &group]).status();
            if let Err(error) = killed.and_then(|_| self.child.wait()) {
                eprintln!("xtask: a driver can't be ended: {error}");
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a developer's tool, not part of a node"
)]
fn read(output: impl Read + Send + 'static, to: SyncSender<Said>, of: fn(String) -> Said) {
    std::thread::spawn(move || {
        let mut lines = BufReader::new(output);
        let mut line = Vec::new();
        // Not every client writes text.
        while matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if to.send(of(text)).is_err() {
                break;
            }
            line.clear();
        }
    });
}

#[expect(
    clippy::disallowed_methods,
    reason = "a developer's tool, not part of a node"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, restart: &mut dyn FnMut() -> Outcome) -> Result<Cell, String> {
        run(&["sh".into(), "-c".into(), script.into()], restart)
    }

    #[test]
    fn the_last_line_is_the_result() {
        let mut none = || Err("not asked".to_owned());
        assert_eq!(shell("echo so; echo pass", &mut none), Ok(Cell::Pass));
        let lacks = shell("echo n/a: headers", &mut none);
        assert_eq!(lacks, Ok(Cell::Lacks("headers".into())));
        assert_eq!(
            Cell::read("n/a: headers"),
            Some(Cell::Lacks("headers".into()))
        );
    }

    #[test]
    fn whatever_else_fails_with_its_words() {
        let mut none = || Err("not asked".to_owned());
        for (script, words) in [
            ("echo pass; exit 3", "exit status: 3"),
            ("echo passed", "not a result"),
            ("echo n/a:", "not a result"),
            ("echo why >&2; echo no", "why"),
            ("echo restart; read a; echo pass", "not asked"),
        ] {
            let said = shell(script, &mut none).expect_err(script);
            assert!(said.contains(words), "{script}: {said}");
        }
    }

    #[test]
    fn a_restart_is_asked_for_and_answered() {
        let mut restarts = 0;
        let script = "echo restart; read a; [ \"$a\" = restarted ] && echo pass";
        let cell = shell(script, &mut || {
            restarts += 1;
            Ok(())
        });
        assert_eq!((cell, restarts), (Ok(Cell::Pass), 1));
    }
}
