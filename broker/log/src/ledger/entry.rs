//! What is known of one partition: the fold of its marks.

use std::sync::Arc;

use crate::mark::{Durability, Position, SegmentId, SnapshotName};

/// One segment as the ledger knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentEntry {
    /// Which.
    pub id: SegmentId,
    /// Whether offsets may be missing between its batches.
    pub holes: bool,
    /// Its end and largest timestamp, once it is sealed.
    pub sealed: Option<SealedEntry>,
    /// It was made by cleaning: below this offset each key's last record is the only one left (K4).
    pub cleaned: Option<i64>,
    /// It was made by cleaning and may not stand under its name yet: the next opening sees to that
    /// (K3).
    pub swapping: bool,
}

/// What is known of a sealed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedEntry {
    /// Length in bytes.
    pub bytes: u64,
    /// The offset after its last record.
    pub next_offset: i64,
    /// Largest record timestamp, milliseconds since 1970; -1 when it holds none.
    pub max_timestamp_ms: i64,
}

/// A cut that was announced and not reported done: recovery finishes it (R2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingCut {
    /// The new end.
    pub to: Position,
    /// The cut count after it.
    pub cut_count: u32,
}

/// The fold of one incarnation's durable marks. Existence of an entry means *was written*; no entry
/// means *never written* (L2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The topic's name.
    pub topic: Arc<str>,
    /// Its segments by base offset; the last one is the active one.
    pub segments: Vec<SegmentEntry>,
    /// Everything before is durable, in a segment or in the journal (replayed by the time anyone
    /// sees this).
    pub flushed: Option<Position>,
    /// Everything before is durable in the segment files by themselves. `None`: nothing is.
    pub settled: Option<Position>,
    /// First offset of the log; -1 when never marked (then the first segment's base offset).
    pub log_start: i64,
    /// Last marked high watermark; -1 when never marked.
    pub high_watermark: i64,
    /// Leader epochs and their first offsets, ascending.
    pub epochs: Vec<(i32, i64)>,
    /// The topic's durability.
    pub mode: Durability,
    /// Producer snapshots that may be loaded, oldest first.
    pub snapshots: Vec<SnapshotName>,
    /// How often the end was moved back.
    pub cut_count: u32,
    /// A cut to finish.
    pub pending_cut: Option<PendingCut>,
    /// Deletion was announced and isn't done.
    pub deleting: bool,
    /// The close mark, when it is the partition's last word: clean if the active segment still has
    /// this length (R3).
    pub close: Option<Position>,
    /// The journal generation that wrote the oldest byte which is not verified since (R3), or, of
    /// a closed partition, the generation that closed it. 0: nobody knows, so another boot.
    pub since_generation: u64,
    /// Damage was found that no recovery may decide.
    pub damaged: bool,
}

impl LedgerEntry {
    /// The active segment.
    pub fn active(&self) -> Option<SegmentId> {
        self.segments.last().map(|segment| segment.id)
    }

    /// The first offset that cleaning has not been over, at or above the log start (K4).
    pub fn first_dirty(&self) -> i64 {
        let start = self.log_start;
        let mut segments = self.segments.iter().peekable();
        while let Some(segment) = segments.next() {
            let next = segments.peek().map(|next| next.id.base_offset);
            let upto = segment.cleaned.unwrap_or(segment.id.base_offset);
            if next.is_none_or(|next| upto < next) {
                return upto.max(start);
            }
        }
        start.max(0)
    }
}

/// Adds to a list of which most partitions have one: room for more is taken with the second.
pub(crate) fn push<T>(list: &mut Vec<T>, item: T) {
    if list.capacity() == 0 {
        list.reserve_exact(1);
    }
    list.push(item);
}
