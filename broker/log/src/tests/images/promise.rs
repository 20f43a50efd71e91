//! What a history promised, and whether what a start found keeps it.
//!
//! The oracle: what was acknowledged as flushed is there; what is there was appended, whole, in
//! order and at its offset; nothing is invented; the producer is known as it was, whatever retired.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::fixture::Seen;
use crate::mark::{Durability, Incarnation};
use crate::partition::{Opened, PartitionLog};
use crate::sink::DurabilitySink;

/// Who writes every record of a history, with its offset as sequence.
pub(crate) const PRODUCER: i64 = 5;

/// A batch: base, next, stored bytes.
pub(crate) type Batch = (i64, i64, Bytes);

/// What was promised of one partition, seen from outside the machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Promise {
    pub(crate) topic: &'static str,
    /// The log as it should be.
    pub(crate) batches: Vec<Batch>,
    /// The log before a truncation that is under way.
    pub(crate) before_cut: Option<Vec<Batch>>,
    /// Everything below was acknowledged as durable.
    pub(crate) acked: i64,
    pub(crate) cut_count: u32,
    pub(crate) log_start: i64,
    /// A log start that was announced and is not confirmed.
    pub(crate) announced: i64,
    pub(crate) removal: Removal,
    /// What a start opens it with.
    pub(crate) durability: Durability,
}

/// How far a partition's deletion is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Removal {
    #[default]
    None,
    /// It may be gone.
    Begun,
    /// It is gone for good.
    Done,
}

/// What was promised of all partitions.
pub(crate) type Promises = BTreeMap<Incarnation, Arc<Promise>>;

/// What a start found of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) log_start: i64,
    pub(crate) log_end: i64,
    pub(crate) bytes: Vec<u8>,
    /// What is known of the producer.
    pub(crate) last_sequence: Option<i32>,
}

impl Promise {
    /// Compares what was found with what was promised: the log that it is.
    pub(crate) fn check(&self, found: &Found) -> Result<Vec<Batch>, String> {
        let Found {
            log_start, log_end, ..
        } = *found;
        if log_start != self.log_start && log_start != self.announced {
            return Err(format!(
                "log start {log_start}, shown {} and announced {}",
                self.log_start, self.announced
            ));
        }
        if log_end < self.acked {
            return Err(format!("end {log_end} below acknowledged {}", self.acked));
        }
        // Whether or not the record is still there.
        let written = (log_end > 0).then_some(log_end as i32 - 1);
        if found.last_sequence != written {
            return Err(format!(
                "last sequence {:?} at the end {log_end} of a log that starts at {log_start}",
                found.last_sequence
            ));
        }
        let is_found = |batches: &[Batch]| {
            let inside = batches
                .iter()
                .filter(|batch| batch.1 > log_start && batch.1 <= log_end);
            let parts: Vec<&[u8]> = inside.map(|batch| &*batch.2).collect();
            parts.concat() == found.bytes
        };
        let ends =
            |batches: &[Batch]| log_end == log_start || batches.iter().any(|one| one.1 == log_end);
        let timelines = [Some(&self.batches), self.before_cut.as_ref()];
        let mut timelines = timelines.into_iter().flatten();
        let timeline = timelines.find(|batches| ends(batches) && is_found(batches));
        let timeline =
            timeline.ok_or_else(|| format!("{log_start}..{log_end} is not what was appended"))?;
        Ok(timeline
            .iter()
            .filter(|batch| batch.1 <= log_end)
            .cloned()
            .collect())
    }

    /// Makes a start's findings the promise for what comes.
    pub(crate) fn resume(&mut self, opened: &Opened, batches: Vec<Batch>) {
        self.batches = batches;
        self.before_cut = None;
        self.log_start = opened.log_start;
        self.announced = opened.log_start;
        self.acked = self.acked.max(opened.flushed);
        self.cut_count = opened.log.cut_count();
    }
}

/// Takes a partition's acknowledgements into its promise.
pub(crate) struct Acks {
    pub(crate) whose: Incarnation,
    pub(crate) promises: Arc<Mutex<Promises>>,
}

impl Acks {
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Promise) -> T) -> T {
        let mut promises = self.promises.lock().unwrap();
        change(Arc::make_mut(promises.entry(self.whose).or_default()))
    }
}

impl DurabilitySink for Acks {
    fn flushed(&self, upto: i64, cut_count: u32) {
        self.change(|promise| {
            if cut_count == promise.cut_count {
                promise.acked = promise.acked.max(upto);
            }
        });
    }

    fn directory_failed(&self, reason: &str) {
        panic!("the disk does not fail here: {reason}");
    }
}

/// Reads a log as a start shows it.
pub(crate) async fn found(log: &PartitionLog, seen: &Seen) -> Found {
    Found {
        log_start: log.log_start(),
        log_end: log.log_end(),
        bytes: crate::partition::log_tests::read_all(&log.reader(), 5_000).await,
        last_sequence: seen.last_sequence(PRODUCER),
    }
}
