//! A fetch that waits: one object, told which of its partitions have something new.
//!
//! What always holds: a slot is pushed at most once between two looks at the partition, because the
//! partition forgets a token when it pushes it; pushing never blocks and needs no partition's lock.

use std::collections::BTreeSet;

use millrace_host::sync::atomic::{AtomicBool, Ordering};
use millrace_host::sync::{Mutex, Notify, PoisonError};

/// The waiting side of one sessionless fetch, or of one session for all its life.
#[derive(Debug, Default)]
pub(crate) struct FetchWaiter {
    ready: Mutex<BTreeSet<u64>>,
    refused: AtomicBool,
    notify: Notify,
}

impl FetchWaiter {
    /// Says that there may be something new at `slot`.
    pub(crate) fn push(&self, slot: u64) {
        self.ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(slot);
        self.notify.notify_one();
    }

    /// Says that there is no place to wait for `slot`: the fetch ends, and its next one looks there.
    pub(crate) fn refuse(&self, slot: u64) {
        self.refused.store(true, Ordering::Release);
        self.push(slot);
    }

    /// Whether a place was refused since the last call.
    pub(crate) fn take_refusal(&self) -> bool {
        self.refused.swap(false, Ordering::AcqRel)
    }

    /// Takes all slots pushed since the last call.
    pub(crate) fn take(&self) -> BTreeSet<u64> {
        std::mem::take(&mut *self.ready.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Completes when something was pushed since the last completion. Cancel-safe.
    pub(crate) async fn pushed(&self) {
        self.notify.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn a_refusal_ends_the_wait_once_and_leaves_its_slot_to_the_next_fetch() {
        let waiter = FetchWaiter::default();
        let mut pushed = std::pin::pin!(waiter.pushed());
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(pushed.as_mut().poll(&mut cx), Poll::Pending);
        waiter.refuse(7);
        assert_eq!(pushed.as_mut().poll(&mut cx), Poll::Ready(()));
        assert!(waiter.take_refusal());
        assert!(!waiter.take_refusal());
        assert_eq!(waiter.take(), BTreeSet::from([7]));
    }
}
