//! The immutable list of a partition's segments, published as a whole.
//!
//! Roll, retention and truncation build a new list and swap it in; a reader that holds an older one
//! goes on reading it, and a segment's file stays open for as long as anyone holds the segment. What
//! always holds: bases rise strictly, and only the last segment still grows.

use std::sync::Arc;

use super::Segment;

/// What a reader sees of a partition at one moment.
#[derive(Debug, Default)]
pub(crate) struct SegmentList {
    /// In order of base offset; the last one is active.
    segments: Vec<Arc<Segment>>,
    /// No record below this offset is part of the log any more.
    pub(crate) log_start: i64,
}

impl SegmentList {
    /// A list; `segments` must be in order of base offset.
    pub(crate) fn new(segments: Vec<Arc<Segment>>, log_start: i64) -> Self {
        debug_assert!(
            segments.is_sorted_by(|a, b| a.base() < b.base()),
            "bases rise strictly"
        );
        Self {
            segments,
            log_start,
        }
    }

    /// All segments, the active one last.
    pub(crate) fn all(&self) -> &[Arc<Segment>] {
        &self.segments
    }

    /// The segment that still grows; `None` before the first append.
    pub(crate) fn active(&self) -> Option<&Arc<Segment>> {
        self.segments.last()
    }

    /// Where in [`Self::all`] the segment stands that would hold `offset`; `None` when every
    /// segment starts above it.
    pub(crate) fn floor(&self, offset: i64) -> Option<usize> {
        self.segments
            .partition_point(|segment| segment.base() <= offset)
            .checked_sub(1)
    }

    /// The offset after the last record; the log start of an empty log.
    pub(crate) fn log_end(&self) -> i64 {
        let end = self
            .active()
            .map_or(self.log_start, |active| active.end().offset);
        end.max(self.log_start)
    }

    /// Bytes in all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments
            .iter()
            .map(|segment| segment.end().bytes)
            .sum()
    }

    /// The same list with another segment behind the last.
    pub(crate) fn with(&self, segment: Arc<Segment>) -> Self {
        let mut segments = self.segments.clone();
        segments.push(segment);
        Self::new(segments, self.log_start)
    }
}
