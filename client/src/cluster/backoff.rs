//! How long to wait before trying again: longer each time, and never for two clients alike.
//!
//! What always holds: the wait lies within a fifth of the doubled one and never above the greatest
//! by more than a fifth, whatever the number of failures (KIP-580).

use std::time::Duration;

use millrace_host::Rng;

/// A fifth to either side.
const JITTER_PERCENT: u64 = 20;
/// Doubled so often, any wait is above any greatest wait.
const DOUBLED_MAX: u32 = 20;

/// The waits of one kind of attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    /// Before the first retry.
    pub(crate) first: Duration,
    /// The longest.
    pub(crate) greatest: Duration,
}

impl Backoff {
    /// The wait after that many failures in a row, at least one.
    pub(crate) fn after(self, failures: u32, rng: &dyn Rng) -> Duration {
        let doubled = 1_u32 << failures.saturating_sub(1).min(DOUBLED_MAX);
        let wait = self.first.saturating_mul(doubled).min(self.greatest);
        let percent = 100 - JITTER_PERCENT + rng.next_u64() % (2 * JITTER_PERCENT + 1);
        wait * u32::try_from(percent).expect("below 121") / 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Always(u64);

    impl Rng for Always {
        fn fill(&self, buf: &mut [u8]) {
            buf.fill(0);
        }

        fn next_u64(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn waits_double_up_to_the_greatest_within_a_fifth() {
        let backoff = Backoff {
            first: Duration::from_millis(100),
            greatest: Duration::from_secs(1),
        };
        let middle = Always(JITTER_PERCENT);
        let waits: Vec<_> = (0..6)
            .map(|n| backoff.after(n, &middle).as_millis())
            .collect();
        assert_eq!(waits, [100, 100, 200, 400, 800, 1000]);
        assert_eq!(backoff.after(u32::MAX, &middle).as_millis(), 1000);
        assert_eq!(backoff.after(1, &Always(0)).as_millis(), 80);
        assert_eq!(
            backoff.after(1, &Always(2 * JITTER_PERCENT)).as_millis(),
            120
        );
    }
}
