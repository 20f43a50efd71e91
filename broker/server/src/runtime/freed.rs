//! How much was freed at once that nobody will want again soon: partitions that were deleted. Their
//! memory goes back to the machine when no more of them go.
//!
//! What always holds: it is asked for once for each time that many went, never while they still go.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_host::Mono;

/// Fewer partitions than this hold a few MiB: not worth a look through all that is allocated.
const PARTITIONS_MIN: usize = 1000;
/// No partition has gone for this time.
const REST: Duration = Duration::from_secs(2);

/// Partitions that are gone since memory was last given back.
#[derive(Debug, Default)]
pub(super) struct Freed {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    partitions: usize,
    last: Mono,
}

impl Freed {
    /// So many more are gone.
    pub(super) fn add(&self, partitions: usize, now: Mono) {
        let mut state = self.lock();
        state.partitions += partitions;
        state.last = state.last.max(now);
    }

    /// Whether memory is to be given back now; then it counts from none again.
    pub(super) fn take(&self, now: Mono) -> bool {
        let mut state = self.lock();
        let due = state.partitions >= PARTITIONS_MIN && now.since(state.last) >= REST;
        if due {
            state.partitions = 0;
        }
        due
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_goes_back_once_when_many_are_gone_and_no_more_go() {
        let freed = Freed::default();
        let at = |ms: u64| Mono(ms * 1_000_000);
        freed.add(PARTITIONS_MIN - 1, at(0));
        assert!(!freed.take(at(60_000)), "few");
        freed.add(1, at(60_000));
        assert!(!freed.take(at(61_999)), "they still go");
        freed.add(1, at(61_999));
        assert!(!freed.take(at(63_998)));
        assert!(freed.take(at(63_999)));
        assert!(!freed.take(at(90_000)), "once");
    }
}
