//! The leader epoch cache: at which offset each leader epoch began (KIP-101).
//!
//! Always: epochs and start offsets both rise strictly; an epoch that ended without a record leaves
//! no trace. Its length is bounded by the number of elections since the log start.

/// The first offset of a leader epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    /// The leader epoch.
    pub epoch: i32,
    /// Offset of its first record, or the log end while it has none.
    pub start_offset: i64,
}

/// Answer of `OffsetForLeaderEpoch`; both -1 when nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The epoch that the end belongs to: the one asked for, or a smaller one.
    pub epoch: i32,
    /// The offset after the last record of that epoch.
    pub end_offset: i64,
}

impl EpochEnd {
    /// Kafka's "undefined".
    pub const UNKNOWN: Self = Self {
        epoch: -1,
        end_offset: -1,
    };
}

/// The cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Epochs {
    starts: Vec<EpochStart>,
}

impl Epochs {
    /// From what the log knows. Entries that break the order are dropped as [`Self::assign`] does.
    pub(super) fn recovered(starts: &[EpochStart]) -> Self {
        let mut epochs = Self::default();
        for start in starts {
            epochs.assign(start.epoch, start.start_offset);
        }
        epochs
    }

    pub(super) fn starts(&self) -> &[EpochStart] {
        &self.starts
    }

    pub(super) fn latest(&self) -> Option<EpochStart> {
        self.starts.last().copied()
    }

    /// Notes that `epoch` begins at `start_offset`. Returns whether that was news. Entries at or
    /// past either are superseded, as in Kafka's `LeaderEpochFileCache`.
    pub(super) fn assign(&mut self, epoch: i32, start_offset: i64) -> bool {
        let known = |last: EpochStart| last.epoch == epoch && last.start_offset <= start_offset;
        if self.latest().is_some_and(known) {
            return false;
        }
        while self
            .latest()
            .is_some_and(|last| last.epoch >= epoch || last.start_offset >= start_offset)
        {
            self.starts.pop();
        }
        self.starts.push(EpochStart {
            epoch,
            start_offset,
        });
        true
    }

    /// Where `asked` ended, in a log that ends at `log_end`: Kafka's exact answers.
    pub(super) fn end_for(&self, asked: i32, log_end: i64) -> EpochEnd {
        if asked < 0 {
            return EpochEnd::UNKNOWN;
        }
        if self.latest().is_some_and(|last| last.epoch == asked) {
            return EpochEnd {
                epoch: asked,
                end_offset: log_end,
            };
        }
        let above = self.starts.partition_point(|start| start.epoch <= asked);
        let Some(next) = self.starts.get(above) else {
            return EpochEnd::UNKNOWN;
        };
        let floor = above.checked_sub(1).and_then(|at| self.starts.get(at));
        EpochEnd {
            epoch: floor.map_or(asked, |floor| floor.epoch),
            end_offset: next.start_offset,
        }
    }

    /// The epoch in which the record at `offset` was written.
    pub(super) fn of_offset(&self, offset: i64) -> Option<i32> {
        let above = self
            .starts
            .partition_point(|start| start.start_offset <= offset);
        let at = above.checked_sub(1)?;
        self.starts.get(at).map(|start| start.epoch)
    }

    /// Where `epoch` began, if it is in the cache.
    pub(super) fn start_of(&self, epoch: i32) -> Option<i64> {
        let at = self
            .starts
            .binary_search_by_key(&epoch, |start| start.epoch)
            .ok()?;
        self.starts.get(at).map(|start| start.start_offset)
    }

    /// The log now begins at `log_start`: epochs that ended before go, the one it falls into begins
    /// there.
    pub(super) fn truncate_from_start(&mut self, log_start: i64) {
        let above = self
            .starts
            .partition_point(|start| start.start_offset <= log_start);
        if let Some(last) = above.checked_sub(1) {
            self.starts.drain(..last);
            self.starts[0].start_offset = log_start;
        }
    }

    /// The log now ends at `log_end`: epochs that began there or later go.
    pub(super) fn truncate_from_end(&mut self, log_end: i64) {
        self.starts.retain(|start| start.start_offset < log_end);
    }

    /// Panics unless both columns rise.
    pub(super) fn assert_sorted(&self) {
        let sorted = self.starts.windows(2).all(|pair| {
            pair[0].epoch < pair[1].epoch && pair[0].start_offset < pair[1].start_offset
        });
        assert!(sorted, "leader epochs do not rise: {:?}", self.starts);
    }
}
