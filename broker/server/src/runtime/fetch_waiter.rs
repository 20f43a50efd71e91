//! A fetch that waits: one object, told which of its partitions have something new.
//!
//! What always holds: a slot is pushed at most once between two looks at the partition, because the
//! partition forgets a token when it pushes it; pushing never blocks and needs no partition's lock.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// The waiting side of one sessionless fetch, or of one session for all its life.
#[derive(Debug, Default)]
pub(crate) struct FetchWaiter {
    ready: Mutex<BTreeSet<u64>>,
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

    /// Takes all slots pushed since the last call.
    pub(crate) fn take(&self) -> BTreeSet<u64> {
        std::mem::take(&mut *self.ready.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Completes when something was pushed since the last completion. Cancel-safe.
    pub(crate) async fn pushed(&self) {
        self.notify.notified().await;
    }
}
