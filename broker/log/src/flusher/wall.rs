//! The wall time that commits are stamped with (A4).
//!
//! What always holds: a clock that stepped by more than an hour against monotonic time, or that lies
//! far from the last stamp at a start, is doubted for a day of monotonic time. Until then stamps go on
//! from the last believed one, so that a start meanwhile finds the clock as far off as it is, and
//! retention by time waits again.

use std::time::Duration;

use millrace_host::{Mono, Now};

/// How far wall time may step against monotonic time.
pub(crate) const STEP_MAX_MS: i64 = 3_600_000;
/// How far wall time may lie past the last stamp at a start.
pub(crate) const AWAY_MAX_MS: i64 = 7 * 24 * 3_600_000;
/// How long a clock is doubted.
pub(crate) const DOUBT: Duration = Duration::from_hours(24);

/// Whether the clock at a start lies too far from the last stamp.
pub(crate) fn is_away(wall_ms: i64, last_stamp_ms: i64) -> bool {
    wall_ms.saturating_sub(last_stamp_ms) > AWAY_MAX_MS
        || last_stamp_ms > wall_ms.saturating_add(STEP_MAX_MS)
}

/// What is believed of the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Believed {
    /// The last look, with the wall time that was believed then.
    last: Now,
    doubted_until: Option<Mono>,
}

impl Believed {
    /// At a start; `last_stamp_ms` is the ledger's, 0 for none.
    pub(crate) fn new(now: Now, last_stamp_ms: i64) -> Self {
        let away = last_stamp_ms > 0 && is_away(now.wall_ms, last_stamp_ms);
        let wall_ms = if away { last_stamp_ms } else { now.wall_ms };
        Self {
            last: Now { wall_ms, ..now },
            doubted_until: away.then(|| now.mono + DOUBT),
        }
    }

    /// Whether the clock was doubted at the last look.
    pub(crate) fn is_doubted(&self) -> bool {
        self.doubted_until.is_some()
    }

    /// What to stamp now.
    pub(crate) fn stamp(&mut self, now: Now) -> i64 {
        let passed = now.mono.since(self.last.mono).as_millis();
        let passed_ms = i64::try_from(passed).unwrap_or(i64::MAX);
        let expected_ms = self.last.wall_ms.saturating_add(passed_ms);
        let is_off = now.wall_ms.saturating_sub(expected_ms).saturating_abs() > STEP_MAX_MS;
        let doubted = is_off && self.doubted_until.is_none_or(|until| now.mono < until);
        if doubted {
            self.doubted_until.get_or_insert(now.mono + DOUBT);
        } else {
            self.doubted_until = None;
        }
        let wall_ms = if doubted { expected_ms } else { now.wall_ms };
        self.last = Now { wall_ms, ..now };
        wall_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn at(mono_hours: u64, wall_hours: i64) -> Now {
        Now {
            mono: Mono(mono_hours * HOUR_MS as u64 * 1_000_000),
            wall_ms: wall_hours * HOUR_MS,
        }
    }

    #[test]
    fn a_clock_that_jumped_is_stamped_after_a_day_or_when_it_is_back() {
        for jump in [-9000, 9000] {
            let mut believed = Believed::new(at(0, 10_000), 9_999 * HOUR_MS);
            assert_eq!(believed.stamp(at(1, 10_001)), 10_001 * HOUR_MS);
            let mut back = believed;
            for hour in 2..=25 {
                let stamp = believed.stamp(at(hour, 10_000 + hour as i64 + jump));
                assert_eq!(stamp, (10_000 + hour as i64) * HOUR_MS);
            }
            let after = 10_026 + jump;
            assert!(believed.is_doubted() && !back.is_doubted());
            assert_eq!(believed.stamp(at(26, after)), after * HOUR_MS);
            assert!(!believed.is_doubted());
            assert_eq!(back.stamp(at(2, 10_002 + jump)), 10_002 * HOUR_MS);
            assert_eq!(back.stamp(at(3, 10_003)), 10_003 * HOUR_MS);
        }
    }

    #[test]
    fn a_start_far_from_the_last_stamp_goes_on_from_it() {
        let stamp_ms = 10_000 * HOUR_MS;
        let mut believed = Believed::new(at(5, 19_000), stamp_ms);
        assert_eq!(believed.stamp(at(6, 19_001)), stamp_ms + HOUR_MS);
        assert_eq!(believed.stamp(at(29, 19_024)), 19_024 * HOUR_MS);
        let mut believed = Believed::new(at(5, 19_000), 0);
        assert_eq!(believed.stamp(at(6, 19_001)), 19_001 * HOUR_MS);
    }
}
