//! The program with the scenarios, at work: its lines are shown, and what it asks of brokers is done.
//!
//! What always holds: a line `ask WHAT NODE` is answered by the line `done`, or by why not; the program,
//! and whatever it started, doesn't outlive its run.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use super::nodes::Nodes;
use crate::Outcome;
use crate::process::println;

/// The program is silent for less than this: a scenario has its own limit, below it.
const SILENCE_MAX: Duration = Duration::from_mins(20);
/// Lines that may wait to be read.
const LINES_MAX: usize = 64;

/// Runs the program to its end.
pub(super) fn attend(command: &mut Command, nodes: &mut Nodes) -> Outcome {
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("cannot start {command:?}: {error}"))?;
    let mut program = Program(child);
    let mut stdin = program.0.stdin.take().ok_or("its input is not piped")?;
    let output = program.0.stdout.take().ok_or("its output is not piped")?;
    let (sender, lines) = sync_channel(LINES_MAX);
    #[expect(
        clippy::disallowed_methods,
        reason = "a developer's tool, not part of a node"
    )]
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    loop {
        let line = match lines.recv_timeout(SILENCE_MAX) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                return Err(format!("the scenarios were silent for {SILENCE_MAX:?}"));
            }
        };
        let Some(wish) = line.strip_prefix("ask ") else {
            if line.starts_with("FAIL") {
                nodes.tell();
            }
            println(&line);
            continue;
        };
        let answer = match done(wish, nodes) {
            Ok(()) => "done".to_owned(),
            Err(reason) => reason.replace('\n', "; "),
        };
        writeln!(stdin, "{answer}")
            .and_then(|()| stdin.flush())
            .map_err(|error| format!("the scenarios can't be answered: {error}"))?;
    }
    match program.0.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the scenarios ended with {status}")),
        Err(error) => Err(error.to_string()),
    }
}

fn done(wish: &str, nodes: &mut Nodes) -> Outcome {
    let (what, node) = wish
        .split_once(' ')
        .ok_or_else(|| format!("`{wish}` names no node"))?;
    let number = node.parse();
    nodes.obey(what, number.map_err(|_| format!("`{node}` is no node"))?)
}

/// The program with all that it started.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let group = format!("-{}", self.0.id());
            let killed = Command::new("kill").args(["-KILL", "--", &group]).status();
            if let Err(error) = killed.and_then(|_| self.0.wait()) {
                eprintln!("xtask: the scenarios can't be ended: {error}");
            }
        }
    }
}
