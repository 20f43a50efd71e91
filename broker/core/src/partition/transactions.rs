//! Which transactions hold the last stable offset back.
//!
//! Always: a transaction is held here from its first record until its marker is below the high
//! watermark; first offsets are unique.

use std::collections::BTreeMap;

/// Open transactions, and ended ones whose marker is not committed yet, by first offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Transactions {
    open: BTreeMap<i64, i64>,
    unreplicated: BTreeMap<i64, i64>,
}

impl Transactions {
    /// A transaction of `producer_id` began at `first_offset`.
    pub(super) fn begin(&mut self, first_offset: i64, producer_id: i64) {
        self.open.insert(first_offset, producer_id);
    }

    /// The transaction that began at `first_offset` ended with a marker at `marker_offset`.
    pub(super) fn end(&mut self, first_offset: i64, marker_offset: i64) {
        if self.open.remove(&first_offset).is_some() {
            self.unreplicated.insert(first_offset, marker_offset);
        }
    }

    /// Markers below `high_watermark` are committed: their transactions hold nothing back.
    pub(super) fn committed(&mut self, high_watermark: i64) {
        if !self.unreplicated.is_empty() {
            self.unreplicated
                .retain(|_, marker| *marker >= high_watermark);
        }
    }

    /// The first offset that `read_committed` may not pass.
    pub(super) fn first_unstable(&self) -> Option<i64> {
        let open = self.open.first_key_value().map(|(first, _)| *first);
        let unreplicated = self.unreplicated.first_key_value().map(|(first, _)| *first);
        match (open, unreplicated) {
            (Some(open), Some(unreplicated)) => Some(open.min(unreplicated)),
            (first, None) | (None, first) => first,
        }
    }

    /// Number of open transactions.
    pub(super) fn open_len(&self) -> usize {
        self.open.len()
    }
}
