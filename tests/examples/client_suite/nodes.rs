//! The brokers, by their numbers from 1 on: whoever started this program kills, pauses and starts them.
//!
//! What always holds: an answer is waited for, on the thread that asks and no other, so what runs in tasks
//! runs on meanwhile. What was asked for is a line `ask WHAT NODE` on standard output, the answer a line
//! on standard input: `done`, or why not.

use std::io::{BufRead, Write};

/// The brokers of the suite.
#[derive(Debug)]
pub(crate) struct Nodes {
    count: i32,
}

impl Nodes {
    pub(crate) fn new(count: i32) -> Self {
        Self { count }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> i32 {
        self.count
    }

    /// kill -9.
    pub(crate) fn kill(&self, node: i32) -> Result<(), String> {
        self.ask("kill", node)
    }

    /// Starts one that was killed, on what it left.
    pub(crate) fn start(&self, node: i32) -> Result<(), String> {
        self.ask("start", node)
    }

    /// SIGSTOP.
    pub(crate) fn pause(&self, node: i32) -> Result<(), String> {
        self.ask("pause", node)
    }

    /// SIGCONT.
    pub(crate) fn resume(&self, node: i32) -> Result<(), String> {
        self.ask("resume", node)
    }

    fn ask(&self, what: &str, node: i32) -> Result<(), String> {
        if !(1..=self.count).contains(&node) {
            return Err(format!(
                "to {what} node {node}: there are {} nodes",
                self.count
            ));
        }
        let broken = |error: std::io::Error| format!("nobody to {what} node {node}: {error}");
        let mut out = std::io::stdout().lock();
        writeln!(out, "ask {what} {node}").map_err(broken)?;
        out.flush().map_err(broken)?;
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        read.map_err(broken)?;
        match answer.trim() {
            "done" => Ok(()),
            other => Err(format!("to {what} node {node}: {other}")),
        }
    }
}
