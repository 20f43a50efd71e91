//! Which neighbouring segments become one, so that compacted logs don't end as many tiny files.
//!
//! Always: every segment is in one group, in order; a group fits one segment's limits as it stands
//! before anything is dropped.

use std::ops::Range;

use super::choice::SegmentFacts;

/// What one segment may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupLimits {
    /// `segment.bytes`.
    pub segment_bytes: u64,
    /// `segment.index.bytes`.
    pub index_bytes: u64,
}

/// Groups `segments`, all of which lie below `upto`, where the next one begins.
pub fn groups(segments: &[SegmentFacts], upto: i64, limits: GroupLimits) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut start = 0;
    while let Some(first) = segments.get(start) {
        let (mut bytes, mut index_bytes) = (first.bytes, first.index_bytes);
        let mut end = start + 1;
        while let Some(next) = segments.get(end) {
            bytes = bytes.saturating_add(next.bytes);
            index_bytes = index_bytes.saturating_add(next.index_bytes);
            let behind = segments.get(end + 1).map_or(upto, |it| it.base_offset);
            let span = behind.saturating_sub(1).saturating_sub(first.base_offset);
            let fits = bytes <= limits.segment_bytes
                && index_bytes <= limits.index_bytes
                // Offsets in a segment are told in 31 bits; without a record there are none.
                && (next.bytes == 0 || span <= i64::from(i32::MAX));
            if !fits {
                break;
            }
            end += 1;
        }
        groups.push(start..end);
        start = end;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: GroupLimits = GroupLimits {
        segment_bytes: 1_000,
        index_bytes: 80,
    };

    fn segment(base_offset: i64, bytes: u64, index_bytes: u64) -> SegmentFacts {
        SegmentFacts {
            base_offset,
            end_offset: base_offset + 1,
            bytes,
            index_bytes,
            first_timestamp_ms: None,
            largest_timestamp_ms: None,
        }
    }

    #[test]
    fn neighbours_become_one_as_long_as_all_fit_one_segment() {
        let all = [
            segment(0, 400, 8),
            segment(10, 600, 8),
            segment(20, 1, 8),
            segment(30, 5_000, 8),
            segment(40, 10, 70),
            segment(50, 10, 8),
            segment(60, 10, 8),
        ];
        assert_eq!(groups(&all, 70, LIMITS), [0..2, 2..3, 3..4, 4..6, 6..7]);
        assert_eq!(groups(&[], 0, LIMITS), []);
    }

    #[test]
    fn a_group_spans_no_more_offsets_than_a_segment_can_tell() {
        let far = i64::from(i32::MAX);
        let all = [segment(0, 1, 0), segment(10, 1, 0)];
        assert_eq!(groups(&all, far + 1, LIMITS).first(), Some(&(0..2)));
        assert_eq!(groups(&all, far + 2, LIMITS), [0..1, 1..2]);
        let empty = [segment(0, 1, 0), segment(10, 0, 0), segment(far + 5, 1, 0)];
        assert_eq!(groups(&empty, far + 9, LIMITS), [0..2, 2..3]);
    }
}
