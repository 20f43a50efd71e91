//! What happened in a run: a hash over every event, the events themselves on demand, and counts
//! of the faults that took effect.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// A hash in the manner of FNV-1a: small, and the same on every machine and version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fnv(pub(crate) u64);

impl Fnv {
    pub(crate) const START: Self = Self(0xcbf2_9ce4_8422_2325);

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.add_word(u64::from(*byte));
        }
    }

    /// One step of it, on a word for speed where there is much.
    pub(crate) fn add_word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0100_0000_01b3);
        // The product's low bits know nothing of the word's high ones.
        self.0 ^= self.0 >> 32;
    }
}

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.add(text.as_bytes());
        Ok(())
    }
}

/// The record of a run so far.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: Fnv,
    events: u64,
    lines: Option<Vec<String>>,
    counts: BTreeMap<&'static str, u64>,
}

/// The record of a run, to compare and to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceSummary {
    /// Over the time and text of every event, in order.
    pub hash: u64,
    /// How many there were.
    pub events: u64,
    /// Faults that took effect, by name.
    pub counts: BTreeMap<&'static str, u64>,
}

impl Trace {
    pub(crate) fn new(keep_lines: bool) -> Self {
        let lines = keep_lines.then(Vec::new);
        Self {
            hash: Fnv::START,
            events: 0,
            lines,
            counts: BTreeMap::new(),
        }
    }

    pub(crate) fn event(&mut self, at_ns: u64, text: fmt::Arguments<'_>) {
        self.events += 1;
        self.hash.add(&at_ns.to_le_bytes());
        self.hash.write_fmt(text).expect("hashing text cannot fail");
        self.hash.add(b"\n");
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>12.3} ms  {text}", at_ns as f64 / 1e6));
        }
    }

    pub(crate) fn count(&mut self, name: &'static str, n: u64) {
        if n > 0 {
            *self.counts.entry(name).or_default() += n;
        }
    }

    pub(crate) fn counted(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.clone().unwrap_or_default()
    }

    pub(crate) fn summary(&self) -> TraceSummary {
        TraceSummary {
            hash: self.hash.0,
            events: self.events,
            counts: self.counts.clone(),
        }
    }
}
