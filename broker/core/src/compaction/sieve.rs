//! The second pass of a round: which records of each batch stay.
//!
//! Always: a record at or above the map's end stays; below it, one with a key stays if the map knows
//! none later and, if it is a tombstone, its delete horizon has not come. What is dropped of a producer
//! that is still remembered leaves its last batch's header, what is dropped at the round's end leaves
//! that of the last batch, so that sequence numbers and the log's end can be read from the log.

use std::collections::BTreeMap;

use millrace_probe::{Bug, planted};
use millrace_protocol::records::{
    Batch, Kept, Record, RecordError, Rewrite, RewriteBuffer, Scratch, keep_header, rewrite,
};

use super::Uncleanable;
use super::key_map::KeyMap;
use super::transactions::{AbortedTransaction, Transactions};

/// What must stay readable of one producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastOfProducer {
    /// Last offset of its last batch of data; `None` when only its last marker is known.
    pub data_offset: Option<i64>,
    /// Its epoch.
    pub epoch: i16,
}

/// What a round goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// The time of its start, in ms since 1970. `None` while the clock is not believed: then no tombstone
    /// goes, and no time begins to run for one.
    pub now_ms: Option<i64>,
    /// `delete.retention.ms`.
    pub delete_retention_ms: u64,
    /// The offset behind the last batch of the range: [`Cleanable::last_end`](super::Cleanable::last_end).
    pub last_end: i64,
    /// The producers that are remembered, by id.
    pub producers: BTreeMap<i64, LastOfProducer>,
    /// The aborted transactions of all that is cleaned.
    pub aborted: Vec<AbortedTransaction>,
}

/// Tells of every batch, from the log's start on, what is left of it.
#[derive(Debug)]
pub struct Sieve {
    map: KeyMap,
    now_ms: Option<i64>,
    delete_horizon_ms: Option<i64>,
    last_end: i64,
    producers: BTreeMap<i64, LastOfProducer>,
    transactions: Transactions,
    scratch: Scratch,
    buffer: RewriteBuffer,
}

impl Sieve {
    /// A pass with the map of the first one. `inflated_bytes_max` caps a batch's content.
    pub fn new(map: KeyMap, round: Round, inflated_bytes_max: usize) -> Self {
        let retention_ms = i64::try_from(round.delete_retention_ms).unwrap_or(i64::MAX);
        Self {
            map,
            now_ms: round.now_ms,
            delete_horizon_ms: round
                .now_ms
                .map(|now_ms| now_ms.saturating_add(retention_ms)),
            last_end: round.last_end,
            producers: round.producers,
            transactions: Transactions::new(round.aborted),
            scratch: Scratch::new(inflated_bytes_max),
            buffer: RewriteBuffer::new(),
        }
    }

    /// The map that it goes by.
    pub fn map(&self) -> &KeyMap {
        &self.map
    }

    /// Says what stays of the next batch; one that is [`Kept::Rewritten`] is appended to `out`.
    pub fn batch(&mut self, batch: &Batch, out: &mut Vec<u8>) -> Result<Kept, Uncleanable> {
        self.sift(batch, out).map_err(Uncleanable::at(batch))
    }

    fn sift(&mut self, batch: &Batch, out: &mut Vec<u8>) -> Result<Kept, RecordError> {
        batch.verify_crc()?;
        let header = &batch.header;
        let horizon_is_over = header.has_delete_horizon()
            && self
                .now_ms
                .is_some_and(|now_ms| header.base_timestamp <= now_ms);
        let (goes, marker_of_nothing) = if header.is_control() {
            let spent = self.transactions.is_spent(batch, &mut self.scratch)?;
            let lost = planted(Bug::MarkerDroppedBeforeData);
            (spent && horizon_is_over || lost, spent)
        } else {
            (self.transactions.is_aborted(batch), false)
        };
        let is_last = header.last_offset().saturating_add(1) == self.last_end;
        let keep_empty =
            self.is_last_of_producer(batch) || is_last && !planted(Bug::LastBatchOfRoundDropped);
        if goes {
            return Ok(keep_header(batch, keep_empty, out));
        }
        let wish = Rewrite {
            keep_empty,
            marker_of_nothing,
            delete_horizon_ms: self.delete_horizon_ms,
        };
        let is_control = header.is_control();
        let map = &self.map;
        let keep = |record: &Record<'_>| is_control || stays(map, record, horizon_is_over);
        rewrite(
            batch,
            wish,
            keep,
            (&mut self.scratch, &mut self.buffer),
            out,
        )
    }

    fn is_last_of_producer(&self, batch: &Batch) -> bool {
        let header = &batch.header;
        if !header.has_producer_id() || planted(Bug::LastBatchOfProducerDropped) {
            return false;
        }
        let last = self.producers.get(&header.producer_id);
        last.is_some_and(|last| match last.data_offset {
            Some(offset) => header.last_offset() == offset,
            None => header.is_control() && header.producer_epoch == last.epoch,
        })
    }
}

/// Whether a record of data stays.
fn stays(map: &KeyMap, record: &Record<'_>, horizon_is_over: bool) -> bool {
    if record.offset >= map.end() {
        return true;
    }
    let Some(key) = record.key else {
        return false;
    };
    let is_latest = map.latest(key).is_none_or(|latest| {
        record.offset > latest || record.offset == latest && !planted(Bug::LatestRecordDropped)
    });
    let may_go = horizon_is_over || planted(Bug::TombstoneDroppedAtOnce);
    is_latest && (record.value.is_some() || !may_go)
}

#[cfg(test)]
#[path = "sieve_tests.rs"]
mod tests;
