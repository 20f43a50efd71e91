//! Groups that everybody has left at once, as when the machines that ran them are lost: who is away,
//! and until when.
//!
//! What always holds: a group that is away when the workload stops stays away, for everybody who asks:
//! nobody of it comes back, and its coordinator has to find that out by itself.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use millrace_host::Mono;
use tokio::sync::Notify;

/// Which groups are away.
#[derive(Debug, Default)]
pub(super) struct Away {
    until: Mutex<BTreeMap<String, Mono>>,
    begun: Notify,
}

impl Away {
    /// Everybody of a group goes now, and is away until then.
    pub(super) fn begin(&self, group: &str, until: Mono) {
        self.lock().insert(group.to_owned(), until);
        self.begun.notify_waiters();
    }

    /// Whether a group is away.
    pub(super) fn is(&self, group: &str, now: Mono, is_stopping: bool) -> bool {
        let mut away = self.lock();
        let Some(until) = away.get_mut(group).filter(|until| **until > now) else {
            return false;
        };
        if is_stopping {
            *until = Mono(u64::MAX);
        }
        true
    }

    /// Waits until a group, which isn't away, goes.
    pub(super) async fn begins(&self, group: &str, now: impl Fn() -> Mono) {
        loop {
            let begun = self.begun.notified();
            if self.is(group, now(), false) {
                return;
            }
            begun.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Mono>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_away_at_the_end_never_comes_back() {
        let away = Away::default();
        away.begin("g", Mono(10));
        assert!(away.is("g", Mono(9), false) && !away.is("h", Mono(9), false));
        assert!(!away.is("g", Mono(10), true), "it had come back");
        away.begin("g", Mono(20));
        assert!(away.is("g", Mono(19), true));
        assert!(away.is("g", Mono(21), false));
    }
}
