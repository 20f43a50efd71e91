//! What readers may see: bounds, the checks of Fetch, `ListOffsets` and `OffsetForLeaderEpoch`.
//!
//! Always: nothing here changes state; a reader never gets an offset at or past its bound.

use millrace_probe::{Bug, planted};

use super::Partition;
use super::epochs::EpochEnd;
use super::fetch_waiters::Bound;
use super::offsets::Bounds;
use super::reject::ReadReject;

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A consumer with isolation level 0.
    Uncommitted,
    /// A consumer with isolation level 1.
    Committed,
    /// A follower.
    Replica,
}

impl Reader {
    /// The bound that holds for it.
    pub fn bound(self) -> Bound {
        match self {
            Self::Uncommitted if planted(Bug::ReadPastHighWatermark) => Bound::LogEnd,
            Self::Uncommitted => Bound::HighWatermark,
            Self::Committed => Bound::LastStable,
            Self::Replica => Bound::LogEnd,
        }
    }
}

/// What a Fetch request says of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchPosition {
    /// Who reads.
    pub reader: Reader,
    /// The leader epoch the client knows; -1 skips the check (before v9).
    pub current_leader_epoch: i32,
    /// The first offset wanted.
    pub fetch_offset: i64,
    /// The epoch of the last record the client has; -1 when unknown (before v12).
    pub last_fetched_epoch: i32,
}

/// What to answer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchDecision {
    /// Read from the fetch offset up to `upto`; nothing to read when it is not below.
    Read {
        /// First offset that may not be read.
        upto: i64,
        /// The bounds to put into the answer.
        bounds: Bounds,
    },
    /// The client's log and this one part at this place: no records (KIP-595).
    Diverging {
        /// The largest epoch not above the client's, and where it ended.
        end: EpochEnd,
        /// The bounds to put into the answer.
        bounds: Bounds,
    },
}

/// What `ListOffsets` needs to know of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListBounds {
    /// First offset of the log, and the epoch of its record (-1 unknown): the answer to -2.
    pub earliest: (i64, i32),
    /// First offset that this reader may not read.
    pub last_fetchable: i64,
    /// The leader epoch.
    pub leader_epoch: i32,
    unconfirmed: bool,
}

impl ListBounds {
    /// The answer to -1: offset and leader epoch.
    pub fn latest(&self) -> Result<(i64, i32), ReadReject> {
        if self.unconfirmed {
            return Err(ReadReject::OffsetNotAvailable);
        }
        Ok((self.last_fetchable, self.leader_epoch))
    }

    /// The answer to a search by timestamp that found `offset`: itself, nothing if the reader may
    /// not read it, an error if a leader that has yet to confirm its epoch could know better.
    pub fn found(&self, offset: Option<i64>) -> Result<Option<i64>, ReadReject> {
        match offset.filter(|offset| *offset < self.last_fetchable) {
            Some(offset) => Ok(Some(offset)),
            None if self.unconfirmed => Err(ReadReject::OffsetNotAvailable),
            None => Ok(None),
        }
    }
}

impl Partition {
    /// All offsets, for readers.
    pub fn bounds(&self) -> Bounds {
        self.offsets
            .bounds(self.producers.first_unstable(), self.leader_epoch())
    }

    /// The first offset this reader may not read.
    pub fn read_bound(&self, reader: Reader) -> i64 {
        reader.bound().of(&self.bounds())
    }

    /// Decides a Fetch: leader epoch (6, 74, 75), diverging epoch, range (1).
    pub fn check_fetch(&self, position: &FetchPosition) -> Result<FetchDecision, ReadReject> {
        self.check_epoch_then_lead(position.current_leader_epoch)?;
        let bounds = self.bounds();
        let offset = position.fetch_offset;
        let out_of_range = ReadReject::OffsetOutOfRange {
            offset,
            log_start: bounds.log_start,
            end: bounds.log_end,
        };
        if position.last_fetched_epoch >= 0 {
            let end = self
                .epochs
                .end_for(position.last_fetched_epoch, bounds.log_end);
            if end == EpochEnd::UNKNOWN || offset < bounds.log_start {
                return Err(out_of_range);
            }
            if end.epoch < position.last_fetched_epoch || end.end_offset < offset {
                return Ok(FetchDecision::Diverging { end, bounds });
            }
        }
        if offset < bounds.log_start || offset > bounds.log_end {
            return Err(out_of_range);
        }
        Ok(FetchDecision::Read {
            upto: position.reader.bound().of(&bounds),
            bounds,
        })
    }

    /// Decides an `OffsetForLeaderEpoch`; the answer may lie above the high watermark.
    pub fn offset_for_leader_epoch(
        &self,
        current_leader_epoch: i32,
        asked: i32,
    ) -> Result<EpochEnd, ReadReject> {
        self.check_epoch_then_lead(current_leader_epoch)?;
        Ok(self.epochs.end_for(asked, self.offsets.log_end))
    }

    /// Decides a `ListOffsets`. A consumer is told to try again (78) while the high watermark has not
    /// reached the start of the leader's epoch: the answer could go back in time.
    pub fn list_bounds(
        &self,
        current_leader_epoch: i32,
        reader: Reader,
    ) -> Result<ListBounds, ReadReject> {
        self.check_epoch_then_lead(current_leader_epoch)?;
        let bounds = self.bounds();
        let start = self.epochs.start_of(bounds.leader_epoch);
        let behind = start.is_some_and(|start| start > bounds.high_watermark);
        Ok(ListBounds {
            earliest: (
                bounds.log_start,
                self.epoch_of(bounds.log_start).unwrap_or(-1),
            ),
            last_fetchable: reader.bound().of(&bounds),
            leader_epoch: bounds.leader_epoch,
            unconfirmed: behind && reader != Reader::Replica,
        })
    }

    /// The leader epoch in which the record at `offset` was written, if the log knows.
    pub fn epoch_of(&self, offset: i64) -> Option<i32> {
        self.epochs.of_offset(offset)
    }

    /// Decides a `DeleteRecords`: the log start that is asked for, or the present one if it lies
    /// there already. -1 asks for the high watermark. Changes nothing: the log's mark comes first,
    /// then [`super::Event::LogStartAdvanced`].
    pub fn plan_delete_records(&self, offset: i64) -> Result<i64, ReadReject> {
        self.leading()?;
        let bounds = self.bounds();
        let target = if offset == -1 {
            bounds.high_watermark
        } else {
            offset
        };
        if target < 0 || target > bounds.high_watermark {
            return Err(ReadReject::OffsetOutOfRange {
                offset,
                log_start: bounds.log_start,
                end: bounds.high_watermark,
            });
        }
        Ok(target.max(bounds.log_start))
    }

    /// Kafka looks at the epoch first, so that a client with stale metadata hears of it.
    fn check_epoch_then_lead(&self, asked: i32) -> Result<(), ReadReject> {
        use super::Role;
        match self.role {
            Role::Failed | Role::Deleted | Role::Idle => {}
            Role::Leader { .. } | Role::Follower { .. } => self.check_epoch(asked)?,
        }
        self.leading()?;
        Ok(())
    }
}
