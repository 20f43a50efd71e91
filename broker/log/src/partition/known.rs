//! What the ledger knows of a partition: what opening and recovering it work from.

use std::path::Path;
use std::sync::Arc;

use millrace_host::Vouched;

use super::LogSettings;
use crate::ledger::{LedgerEntry, SegmentEntry};
use crate::mark::Incarnation;
use crate::segment::Segment;
use crate::segment::tail::{End, Tail};
use crate::segment::time_index::TimeEntry;

/// What opening a partition works from.
pub(super) struct Known<'a> {
    pub(super) incarnation: Incarnation,
    pub(super) entry: &'a LedgerEntry,
    pub(super) path: &'a Arc<Path>,
    pub(super) settings: &'a LogSettings,
}

/// In the mark of a sealed segment: its largest timestamp has to be found in the batch headers.
pub(crate) const TIMESTAMP_UNKNOWN: i64 = i64::MIN;

/// The log start as the ledger knows it.
pub(super) fn log_start(entry: &LedgerEntry) -> i64 {
    let first = entry
        .segments
        .first()
        .map_or(0, |segment| segment.id.base_offset);
    if entry.log_start < 0 {
        first
    } else {
        entry.log_start
    }
}

/// A sealed segment as the ledger knows it; `None` when it does not know its end.
pub(super) fn sealed_segment(
    dir: &Arc<Path>,
    vouched: &Vouched,
    entry: &SegmentEntry,
) -> Option<Segment> {
    let sealed = entry.sealed?;
    let mut tail = Tail::new(End {
        bytes: sealed.bytes,
        offset: sealed.next_offset,
    });
    tail.largest = (sealed.max_timestamp_ms >= 0).then_some(TimeEntry {
        timestamp: sealed.max_timestamp_ms,
        // Which batch holds it is not remembered; look-ups find it by the timestamp.
        last_offset: sealed.next_offset.saturating_sub(1),
    });
    tail.largest_known = sealed.max_timestamp_ms != TIMESTAMP_UNKNOWN;
    let segment = Segment::new(dir.clone(), vouched, entry.id, entry.holes, tail);
    segment.seal();
    Some(segment)
}
