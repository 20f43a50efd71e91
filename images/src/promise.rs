//! What a history promised, and whether what a start found keeps it.
//!
//! The oracle: what was acknowledged as flushed is there; what is there was appended, whole, in
//! order and at its offset; nothing is invented; the producer is known as it was, whatever retired;
//! a directory's generation only grows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use millrace_log::mark::{Durability, Incarnation};
use millrace_log::partition::{LogReader, Opened, PartitionLog, Read, Replay};
use millrace_log::sink::DurabilitySink;
use millrace_protocol::producer::{ProducerBatch, ProducerEntry};
use millrace_protocol::records::BatchHeader;

use crate::Wrong;
use crate::disk::lock;

/// Who writes every record of a history, with its offset as sequence.
pub(crate) const PRODUCER: i64 = 5;

/// Most bytes of one read.
const READ_MAX: usize = 5_000;

/// A batch: base, next, stored bytes.
pub(crate) type Batch = (i64, i64, Bytes);

/// What was promised of one partition, seen from outside the machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Promise {
    pub(crate) topic: &'static str,
    /// The log as it should be.
    pub(crate) batches: Vec<Batch>,
    /// The log before a truncation that is under way.
    pub(crate) before_cut: Option<Vec<Batch>>,
    /// The log with the segments that a cleaned one is taking the place of.
    pub(crate) before_cleaning: Option<Vec<Batch>>,
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

/// What was promised of a whole directory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Promises {
    /// The generation that was shown last: every later start has a higher one (A1).
    pub(crate) generation: u64,
    pub(crate) parts: BTreeMap<Incarnation, Arc<Promise>>,
    /// The directory failed: with what it said.
    pub(crate) failed: Option<String>,
}

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
    pub(crate) fn check(&self, found: &Found) -> Result<Vec<Batch>, Wrong> {
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
            let mut rest = &found.bytes[..];
            let inside = batches
                .iter()
                .filter(|batch| batch.1 > log_start && batch.1 <= log_end);
            for batch in inside {
                match rest.strip_prefix(&*batch.2) {
                    Some(behind) => rest = behind,
                    None => return false,
                }
            }
            rest.is_empty()
        };
        let ends =
            |batches: &[Batch]| log_end == log_start || batches.iter().any(|one| one.1 == log_end);
        let timelines = [
            Some(&self.batches),
            self.before_cut.as_ref(),
            self.before_cleaning.as_ref(),
        ];
        let mut timelines = timelines.into_iter().flatten();
        let timeline = timelines.find(|batches| ends(batches) && is_found(batches));
        let timeline = timeline.ok_or_else(|| {
            let promised = self.batches.iter().map(|one| (one.0, one.1, one.2.len()));
            let promised: Vec<_> = promised.collect();
            let there = batches_of(&found.bytes);
            format!("{log_start}..{log_end} is not what was appended: {there:?}, not {promised:?}")
        })?;
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
        self.before_cleaning = None;
        self.log_start = opened.log_start;
        self.announced = opened.log_start;
        self.acked = self.acked.max(opened.flushed);
        self.cut_count = opened.log.cut_count();
    }
}

/// The batches in a row of bytes: base, next, length.
fn batches_of(bytes: &[u8]) -> Vec<(i64, i64, usize)> {
    let (mut rest, mut out) = (bytes, Vec::new());
    while let Ok(header) = BatchHeader::parse(rest) {
        let size = header.size().min(rest.len());
        out.push((header.base_offset, header.last_offset() + 1, size));
        rest = &rest[size..];
    }
    out
}

/// Takes a partition's acknowledgements into its promise.
pub(crate) struct Acks {
    pub(crate) whose: Incarnation,
    pub(crate) promises: Arc<Mutex<Promises>>,
}

impl Acks {
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Promise) -> T) -> T {
        let mut promises = lock(&self.promises);
        change(Arc::make_mut(promises.parts.entry(self.whose).or_default()))
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
        lock(&self.promises).failed.get_or_insert(reason.to_owned());
    }
}

/// What an open replayed.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    producers: Vec<ProducerEntry>,
    last: Option<BatchHeader>,
}

impl Seen {
    /// The last sequence of [`PRODUCER`], as core would know it after this replay.
    fn last_sequence(&self) -> Option<i32> {
        let of = |header: &BatchHeader| header.base_sequence + header.last_offset_delta;
        let entry = self
            .producers
            .iter()
            .find(|one| one.producer_id == PRODUCER);
        let loaded = || Some(entry?.batches.last()?.last_sequence);
        self.last.as_ref().map(of).or_else(loaded)
    }
}

impl Replay for Seen {
    fn producers(&mut self, entries: Vec<ProducerEntry>) {
        self.producers = entries;
    }

    fn batch(&mut self, header: &BatchHeader) {
        if header.producer_id == PRODUCER {
            self.last = Some(*header);
        }
    }
}

/// The producers as they stand before the record at `offset`, where [`PRODUCER`] wrote every record
/// before it.
pub(crate) fn sole_producer(offset: i64) -> Vec<ProducerEntry> {
    if offset == 0 {
        return Vec::new();
    }
    let last = offset as i32 - 1;
    let batch = ProducerBatch {
        first_sequence: last,
        last_sequence: last,
        last_offset: offset - 1,
        offset_delta: 0,
        timestamp_ms: 0,
    };
    vec![ProducerEntry {
        producer_id: PRODUCER,
        producer_epoch: 0,
        coordinator_epoch: -1,
        open_txn_first_offset: None,
        last_seen_ms: 0,
        batches: vec![batch],
    }]
}

/// Reads a log as a start shows it.
pub(crate) async fn found(log: &PartitionLog, seen: &Seen) -> Result<Found, Wrong> {
    Ok(Found {
        log_start: log.log_start(),
        log_end: log.log_end(),
        bytes: read_all(&log.reader()).await?,
        last_sequence: seen.last_sequence(),
    })
}

/// Reads the whole log the way a consumer does: batch after batch, whatever cuts regions short.
async fn read_all(reader: &LogReader) -> Result<Vec<u8>, Wrong> {
    let mut out = Vec::new();
    let mut at = reader.log_start();
    loop {
        let read = reader.read(at, i64::MAX, READ_MAX, true).await;
        let Read::Region(region) = read.map_err(|error| error.to_string())? else {
            return Ok(out);
        };
        let slice = &region.slice;
        let read = slice.file.read_at(slice.offset, slice.len as usize).await;
        let bytes = read.map_err(|error| error.to_string())?;
        if bytes.len() as u64 != slice.len {
            return Err(format!("a region at {at} is not whole"));
        }
        let mut rest = &bytes[..];
        while let Ok(header) = BatchHeader::parse(rest) {
            if header.size() > rest.len() {
                break;
            }
            out.extend_from_slice(&rest[..header.size()]);
            at = header.last_offset() + 1;
            rest = &rest[header.size()..];
        }
        if rest.len() == bytes.len() {
            return Ok(out);
        }
    }
}
