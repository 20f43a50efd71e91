//! How far long work is, for whoever watches: on a terminal only.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use millrace_host::{Host, Mono};

/// Between two looks that are shown.
const SHOWN_EVERY: Duration = Duration::from_millis(200);

/// A line at the bottom of the terminal.
pub(crate) struct Progress {
    host: Host,
    began: Mono,
    shown: Option<Mono>,
    records: u64,
    bytes: u64,
    /// Bytes in all, if that is known.
    total: Option<u64>,
    is_shown: bool,
}

impl Progress {
    pub(crate) fn new(host: &Host, total: Option<u64>, is_wanted: bool) -> Self {
        let began = host.clock.now().mono;
        Self {
            host: host.clone(),
            began,
            shown: None,
            records: 0,
            bytes: 0,
            total,
            is_shown: is_wanted && io::stderr().is_terminal(),
        }
    }

    /// One record more.
    pub(crate) fn step(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += bytes as u64;
        if !self.is_shown {
            return;
        }
        let now = self.host.clock.now().mono;
        if now.since(self.shown.unwrap_or(self.began)) < SHOWN_EVERY {
            return;
        }
        self.shown = Some(now);
        let seconds = now.since(self.began).as_secs_f64().max(1e-3);
        let rate = self.records as f64 / seconds;
        let mut line = format!("\r\x1b[K{} records, {rate:.0}/s", self.records);
        if let Some(total) = self.total.filter(|total| *total > 0) {
            let percent = (self.bytes * 100 / total).min(100);
            let filled = usize::try_from(percent / 5).unwrap_or(0);
            line = format!("{line} [{:<20}] {percent} %", "=".repeat(filled));
        }
        // Only looks suffer if nobody can be shown anything.
        drop(io::stderr().lock().write_all(line.as_bytes()));
    }

    /// Takes the line away.
    pub(crate) fn clear(&mut self) {
        if self.shown.take().is_some() {
            drop(io::stderr().lock().write_all(b"\r\x1b[K"));
        }
    }

    /// Records so far.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// What became of it, for whoever watches.
    pub(crate) fn sum(&mut self, what: &str) {
        self.clear();
        if self.is_shown {
            let seconds = self.host.clock.now().mono.since(self.began).as_secs_f64();
            let line = format!("{} records {what} in {seconds:.1} s\n", self.records);
            drop(io::stderr().lock().write_all(line.as_bytes()));
        }
    }
}
