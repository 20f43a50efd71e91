//! Which log is compacted next, and which part of it is dirty, clean, or not to be touched yet.
//!
//! Always: a round ends where a segment begins, at or below the last stable offset, the active segment
//! and the first segment that is too young; so nothing that may still be cut or aborted decides what an
//! older record is worth. Ages are counted in wall time, as records' times are; while that is not
//! believed, what waits for a time goes on waiting.

use millrace_probe::{Bug, planted};

/// How the logs of a topic are compacted: its configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// `min.cleanable.dirty.ratio`, 0 to 1.
    pub min_dirty_ratio: f64,
    /// `min.compaction.lag.ms`.
    pub min_lag_ms: u64,
    /// `max.compaction.lag.ms`.
    pub max_lag_ms: u64,
}

/// One segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFacts {
    /// The first offset it may hold.
    pub base_offset: i64,
    /// The offset behind its last batch.
    pub end_offset: i64,
    /// Bytes of its records.
    pub bytes: u64,
    /// Bytes of the larger one of its indexes.
    pub index_bytes: u64,
    /// Time of its first batch, in ms since 1970; `None` when it has none or it is not known.
    pub first_timestamp_ms: Option<i64>,
    /// The largest time of its batches; `None` when it is not known.
    pub largest_timestamp_ms: Option<i64>,
}

/// One log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogFacts<'a> {
    /// Everything below was compacted before.
    pub first_dirty: i64,
    /// The offset below which everything is committed and decided: the smaller one of high watermark
    /// and last stable offset.
    pub stable_end: i64,
    /// All segments, ascending; the last one is the active one.
    pub segments: &'a [SegmentFacts],
}

/// What there is to do in one log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleanable {
    /// Where the first pass begins.
    pub first_dirty: i64,
    /// Where the round ends: the base of the first segment that is not touched.
    pub upto: i64,
    /// The offset behind the last batch below that.
    pub last_end: i64,
    /// Bytes of segments that begin in the clean part.
    pub clean_bytes: u64,
    /// Bytes of segments that a round would clean for the first time.
    pub dirty_bytes: u64,
    /// By how many ms the oldest dirty segment has passed `max.compaction.lag.ms`; 0 when it hasn't.
    pub late_ms: u64,
}

impl Cleanable {
    /// The share of bytes that are dirty, 0 to 1.
    pub fn ratio(&self) -> f64 {
        let all = self.clean_bytes.saturating_add(self.dirty_bytes);
        if all == 0 {
            return 0.0;
        }
        self.dirty_bytes as f64 / all as f64
    }

    /// Whether a round is due: there is enough to win, or it has waited long enough.
    pub fn is_due(&self, policy: &Policy) -> bool {
        let late = self.late_ms > 0 && self.dirty_bytes > 0;
        late || self.ratio() > policy.min_dirty_ratio
    }
}

impl Cleanable {
    /// Whether nothing is due, and nothing will be before a segment comes or goes: everything sealed was
    /// counted in, and what is dirty waits for no time. `active` is where the active segment begins.
    pub fn is_settled(&self, policy: &Policy, active: i64) -> bool {
        let waits_for_time = policy.max_lag_ms < i64::MAX as u64 && self.dirty_bytes > 0;
        self.upto == active && !waits_for_time && !self.is_due(policy)
    }
}

/// What there is to do in one log at `now_ms` of wall time, `None` while the clock is not believed.
pub fn cleanable(facts: &LogFacts<'_>, policy: &Policy, now_ms: Option<i64>) -> Cleanable {
    let Some((active, sealed)) = facts.segments.split_last() else {
        return Cleanable::default();
    };
    let first_dirty = facts.first_dirty;
    let dirty_sealed = &sealed[containing(sealed, first_dirty)..];
    let stable_end = if planted(Bug::CleanedPastStableEnd) {
        i64::MAX
    } else {
        facts.stable_end
    };
    let bound = stable_end.min(active.base_offset);
    let bound = first_young(dirty_sealed, policy, now_ms).map_or(bound, |young| bound.min(young));
    // A segment that holds the bound is not touched.
    let count = sealed
        .iter()
        .zip(facts.segments.iter().skip(1))
        .take_while(|(_, next)| next.base_offset <= bound)
        .count();
    let upto = facts.segments[count].base_offset;
    let from = containing(sealed, first_dirty).min(count);
    let bytes = |segments: &[SegmentFacts]| segments.iter().map(|segment| segment.bytes).sum();
    let clean = sealed.partition_point(|segment| segment.base_offset < first_dirty);
    Cleanable {
        first_dirty,
        upto,
        last_end: count
            .checked_sub(1)
            .map_or(upto, |last| sealed[last].end_offset),
        clean_bytes: bytes(&sealed[..clean]),
        dirty_bytes: if first_dirty < upto {
            bytes(&sealed[from..count])
        } else {
            0
        },
        late_ms: late_ms(dirty_sealed, policy, now_ms),
    }
}

/// Of those that are due the one with the largest dirty share; of equals the first.
pub fn dirtiest<'a>(all: impl IntoIterator<Item = (&'a Cleanable, &'a Policy)>) -> Option<usize> {
    let due = all
        .into_iter()
        .enumerate()
        .filter(|(_, (cleanable, policy))| cleanable.is_due(policy));
    let best = due.reduce(|best, next| {
        if next.1.0.ratio() > best.1.0.ratio() {
            next
        } else {
            best
        }
    });
    best.map(|(at, _)| at)
}

/// Which segment holds `offset`; the first one for what lies before all.
fn containing(segments: &[SegmentFacts], offset: i64) -> usize {
    segments
        .partition_point(|segment| segment.base_offset <= offset)
        .saturating_sub(1)
}

/// Where the first segment begins that holds a record younger than `min.compaction.lag.ms`, or may.
fn first_young(segments: &[SegmentFacts], policy: &Policy, now_ms: Option<i64>) -> Option<i64> {
    if policy.min_lag_ms == 0 {
        return None;
    }
    let lag_ms = i64::try_from(policy.min_lag_ms).unwrap_or(i64::MAX);
    let old = now_ms.map(|now_ms| now_ms.saturating_sub(lag_ms));
    let young = |segment: &&SegmentFacts| {
        let is_old = segment
            .largest_timestamp_ms
            .zip(old)
            .is_some_and(|(largest, old)| largest <= old);
        !is_old
    };
    segments
        .iter()
        .find(young)
        .map(|segment| segment.base_offset)
}

/// By how much the oldest of these segments has passed `max.compaction.lag.ms`.
fn late_ms(segments: &[SegmentFacts], policy: &Policy, now_ms: Option<i64>) -> u64 {
    let firsts = segments
        .iter()
        .filter_map(|segment| segment.first_timestamp_ms);
    let earliest = firsts.filter(|first| *first > 0).min();
    let Some((earliest, now_ms)) = earliest.zip(now_ms) else {
        return 0;
    };
    let lag_ms = i64::try_from(policy.max_lag_ms).unwrap_or(i64::MAX);
    let late = now_ms.saturating_sub(lag_ms).saturating_sub(earliest);
    u64::try_from(late).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        min_dirty_ratio: 0.5,
        min_lag_ms: 0,
        max_lag_ms: u64::MAX,
    };

    /// Segments of ten offsets and so many bytes each; the first record of each is at ten times its
    /// base offset in time, the last one at ten times its last.
    fn segments(bytes: &[u64]) -> Vec<SegmentFacts> {
        let segment = |(at, bytes): (usize, &u64)| {
            let base_offset = at as i64 * 10;
            SegmentFacts {
                base_offset,
                end_offset: base_offset + 10,
                bytes: *bytes,
                index_bytes: 8,
                first_timestamp_ms: Some(base_offset * 10),
                largest_timestamp_ms: Some(base_offset * 10 + 90),
            }
        };
        bytes.iter().enumerate().map(segment).collect()
    }

    fn looked_at(
        segments: &[SegmentFacts],
        (first_dirty, stable_end): (i64, i64),
        policy: &Policy,
        now_ms: i64,
    ) -> Cleanable {
        let facts = LogFacts {
            first_dirty,
            stable_end,
            segments,
        };
        cleanable(&facts, policy, Some(now_ms))
    }

    #[test]
    fn a_round_ends_with_a_whole_segment_below_everything_unsettled() {
        let all = segments(&[100, 100, 100, 100]);
        for (stable_end, upto) in [
            (40, 30),
            (30, 30),
            (29, 20),
            (11, 10),
            (10, 10),
            (9, 0),
            (0, 0),
        ] {
            let found = looked_at(&all, (0, stable_end), &POLICY, 10_000);
            assert_eq!((found.upto, found.last_end), (upto, upto), "{stable_end}");
            assert_eq!(found.dirty_bytes, upto as u64 * 10);
            assert_eq!(found.is_due(&POLICY), upto > 0);
        }
        let only = looked_at(&all[..1], (0, 10), &POLICY, 10_000);
        assert!(!only.is_due(&POLICY), "the active segment is never touched");
    }

    #[test]
    fn clean_and_dirty_bytes_are_counted_by_whole_segments_as_kafka_does() {
        let all = segments(&[100, 200, 400, 800, 1]);
        let found = looked_at(&all, (20, 50), &POLICY, 10_000);
        assert_eq!((found.clean_bytes, found.dirty_bytes), (300, 1200));
        assert!((found.ratio() - 0.8).abs() < 1e-9);
        // A round that ended inside a segment: it counts on both sides.
        let inside = looked_at(&all, (25, 50), &POLICY, 10_000);
        assert_eq!((inside.clean_bytes, inside.dirty_bytes), (700, 1200));
        let nothing = looked_at(&all, (40, 50), &POLICY, 10_000);
        assert_eq!((nothing.clean_bytes, nothing.dirty_bytes), (1500, 0));
        assert!(!nothing.is_due(&POLICY));
        let equal = Policy {
            min_dirty_ratio: 0.8,
            ..POLICY
        };
        assert!(!found.is_due(&equal), "more than the ratio, not as much");
    }

    #[test]
    fn what_is_younger_than_the_least_lag_stays_with_all_behind_it() {
        let mut all = segments(&[100, 100, 100, 100]);
        let policy = Policy {
            min_lag_ms: 1_000,
            ..POLICY
        };
        for (now_ms, upto) in [
            (1_089, 0),
            (1_090, 10),
            (1_189, 10),
            (1_190, 20),
            (9_999, 30),
        ] {
            let found = looked_at(&all, (0, 40), &policy, now_ms);
            assert_eq!(found.upto, upto, "{now_ms}");
        }
        all[1].largest_timestamp_ms = None;
        assert_eq!(looked_at(&all, (0, 40), &policy, 9_999).upto, 10);
        assert_eq!(looked_at(&all, (0, 40), &POLICY, 9_999).upto, 30);
    }

    #[test]
    fn what_has_passed_the_most_lag_is_due_however_little_it_is() {
        let mut all = segments(&[100_000, 1, 1, 1]);
        let policy = Policy {
            max_lag_ms: 1_000,
            ..POLICY
        };
        let found = looked_at(&all, (10, 40), &policy, 1_100);
        assert_eq!((found.late_ms, found.is_due(&policy)), (0, false));
        let found = looked_at(&all, (10, 40), &policy, 1_101);
        assert_eq!((found.late_ms, found.is_due(&policy)), (1, true));
        // Segments without a time of their own wait with the others.
        all[1].first_timestamp_ms = None;
        assert_eq!(looked_at(&all, (10, 40), &policy, 1_101).late_ms, 0);
        // Late, but nothing of it may be touched yet.
        let held = looked_at(&all, (10, 12), &policy, 99_999);
        assert!(held.late_ms > 0 && !held.is_due(&policy));
    }

    #[test]
    fn a_log_is_settled_until_its_segments_change_or_something_waits_for_a_time() {
        let all = segments(&[100_000, 100, 100, 100]);
        let policy = |min_lag_ms, max_lag_ms| Policy {
            min_lag_ms,
            max_lag_ms,
            ..POLICY
        };
        let settled = |found: (i64, i64), policy: &Policy, now_ms| {
            looked_at(&all, found, policy, now_ms).is_settled(policy, 30)
        };
        assert!(settled((10, 40), &POLICY, 0));
        assert!(!settled((0, 40), &POLICY, 0), "it is due");
        assert!(!settled((10, 29), &POLICY, 0), "the stable end moves");
        assert!(!settled((10, 40), &policy(1_000, u64::MAX), 0), "too young");
        assert!(settled((10, 40), &policy(1_000, u64::MAX), 9_000));
        assert!(!settled((10, 40), &policy(0, 9_000), 0), "it will be late");
        assert!(settled((30, 40), &policy(0, 9_000), 0), "nothing is dirty");
    }

    #[test]
    fn nothing_is_old_enough_or_late_by_a_clock_that_is_not_believed() {
        let all = segments(&[100, 100, 100]);
        let facts = LogFacts {
            first_dirty: 0,
            stable_end: 30,
            segments: &all,
        };
        let with = |min_lag_ms, max_lag_ms| {
            let policy = Policy {
                min_lag_ms,
                max_lag_ms,
                ..POLICY
            };
            cleanable(&facts, &policy, None)
        };
        assert_eq!(with(1, u64::MAX).upto, 0);
        assert_eq!(with(0, 1).late_ms, 0);
        // What waits for no time doesn't wait.
        assert_eq!(with(0, 1).upto, 20);
        assert!(with(0, 1).is_due(&POLICY));
    }

    #[test]
    fn the_dirtiest_of_those_that_are_due_comes_first() {
        let of = |clean_bytes, dirty_bytes, late_ms| Cleanable {
            clean_bytes,
            dirty_bytes,
            late_ms,
            ..Cleanable::default()
        };
        let choose = |all: &[Cleanable]| dirtiest(all.iter().map(|one| (one, &POLICY)));
        assert_eq!(choose(&[]), None);
        assert_eq!(choose(&[of(50, 50, 0), of(0, 0, 7)]), None);
        assert_eq!(
            choose(&[of(40, 60, 0), of(10, 90, 0), of(10, 90, 0)]),
            Some(1)
        );
        assert_eq!(choose(&[of(99, 1, 5), of(60, 40, 0)]), Some(0));
        assert_eq!(choose(&[of(99, 1, 5), of(40, 60, 0)]), Some(1));
    }
}
