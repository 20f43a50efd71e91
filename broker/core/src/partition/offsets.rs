//! The offsets of one partition and the chain they form.
//!
//! Always: `log_start ≤ last_stable ≤ high_watermark ≤ flushed ≤ written ≤ log_end`; of a page-cache
//! topic `log_start ≤ last_stable ≤ high_watermark ≤ written ≤ log_end` and `flushed ≤ written`. A
//! topic that was one of those keeps the high watermark that it showed until `flushed` passes it. The
//! high watermark and the log start never fall while a replica leads.

use millrace_probe::{Bug, planted};

use super::settings::Durability;

/// What readers need to know of a partition, copied out under its lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// First offset that may be read.
    pub log_start: i64,
    /// Every transaction below is decided (LSO); the bound of `read_committed` consumers.
    pub last_stable: i64,
    /// Every record below is committed; the bound of other consumers.
    pub high_watermark: i64,
    /// Every record below is on this replica's stable storage.
    pub flushed: i64,
    /// Every record below is in this replica's log.
    pub written: i64,
    /// Offset of the next record (LEO).
    pub log_end: i64,
    /// The leader epoch in force, -1 before the first.
    pub leader_epoch: i32,
}

/// The offsets themselves; the last stable one is derived from them and the open transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offsets {
    pub(super) log_start: i64,
    pub(super) high_watermark: i64,
    pub(super) flushed: i64,
    pub(super) written: i64,
    pub(super) log_end: i64,
}

impl Offsets {
    /// The furthest that this replica alone lets the high watermark be.
    pub(super) fn countable(&self, durability: Durability) -> i64 {
        match durability {
            Durability::Fsync => self.flushed,
            Durability::PageCache => self.written,
        }
    }

    /// Records were appended up to `log_end`.
    pub(super) fn appended(&mut self, log_end: i64) {
        assert!(
            log_end > self.log_end,
            "an append moves the log end from {} forward, not to {log_end}",
            self.log_end
        );
        self.log_end = log_end;
        self.written = log_end;
        if planted(Bug::HighWatermarkOverUnflushed) {
            self.flushed = log_end;
        }
    }

    /// Everything below `upto` is durable. Returns whether that is news.
    pub(super) fn flush(&mut self, upto: i64) -> bool {
        assert!(
            upto <= self.written,
            "flushed up to {upto}, but only {} is written",
            self.written
        );
        let news = upto > self.flushed;
        self.flushed = self.flushed.max(upto);
        news
    }

    /// Raises the high watermark to `to`, never lowers it. Returns whether it moved.
    pub(super) fn commit(&mut self, to: i64) -> bool {
        let moved = to > self.high_watermark;
        self.high_watermark = self.high_watermark.max(to);
        moved
    }

    /// The chain as it is shown to readers. `first_unstable` is the first offset of a transaction
    /// that isn't decided and replicated.
    pub(super) fn bounds(&self, first_unstable: Option<i64>, leader_epoch: i32) -> Bounds {
        let last_stable = first_unstable.map_or(self.high_watermark, |first| {
            first.min(self.high_watermark).max(self.log_start)
        });
        Bounds {
            log_start: self.log_start,
            last_stable,
            high_watermark: self.high_watermark,
            flushed: self.flushed,
            written: self.written,
            log_end: self.log_end,
            leader_epoch,
        }
    }
}

impl Bounds {
    /// Panics when the chain is broken; up to `shown_upto` the high watermark stood before the
    /// durability changed. Cheap: on in release.
    pub(super) fn assert_chain(&self, durability: Durability, shown_upto: i64) {
        let countable = match durability {
            Durability::Fsync => self.flushed,
            Durability::PageCache => self.written,
        };
        let holds = 0 <= self.log_start
            && self.log_start <= self.last_stable
            && self.last_stable <= self.high_watermark
            && self.high_watermark <= countable.max(shown_upto).min(self.written)
            && self.flushed <= self.written
            && self.written <= self.log_end;
        assert!(
            holds,
            "the chain of offsets is broken ({durability:?}): {self:?}"
        );
    }
}
