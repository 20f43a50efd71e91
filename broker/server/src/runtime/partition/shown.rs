//! What metrics show of one partition, kept for the next scrape: of ten thousand partitions few have
//! changed since the last one, and the state behind their locks is in nobody's cache.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A partition's ends and size at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    /// First offset that may be read.
    pub(crate) log_start: i64,
    /// Every record below is committed.
    pub(crate) high_watermark: i64,
    /// Offset of the next record.
    pub(crate) log_end: i64,
    /// Bytes of its segments.
    pub(crate) log_bytes: u64,
}

/// The last [`Shown`], and whether the state was in anybody's hands since.
#[derive(Debug)]
pub(super) struct LastShown {
    /// Set and cleared under the lock of the state alone.
    is_old: AtomicBool,
    last: Mutex<Shown>,
}

impl LastShown {
    /// Nothing was shown yet.
    pub(super) fn new() -> Self {
        Self {
            is_old: AtomicBool::new(true),
            last: Mutex::default(),
        }
    }

    /// The state may change: under its lock.
    pub(super) fn touch(&self) {
        // The lock orders it before the next `keep`.
        self.is_old.store(true, Ordering::Relaxed);
    }

    /// What the state says now: under its lock.
    pub(super) fn keep(&self, shown: Shown) {
        *self.lock() = shown;
        // Whoever sees this sees what was kept.
        self.is_old.store(false, Ordering::Release);
    }

    /// What was kept, unless the state was touched since. A change that is under way meanwhile may
    /// be missed: it was not over when it was asked.
    pub(super) fn get(&self) -> Option<Shown> {
        let is_old = self.is_old.load(Ordering::Acquire);
        (!is_old).then(|| *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_shown_is_good_until_the_state_is_touched() {
        let last = LastShown::new();
        assert_eq!(last.get(), None);
        let shown = Shown {
            log_start: 1,
            high_watermark: 2,
            log_end: 3,
            log_bytes: 4,
        };
        last.keep(shown);
        assert_eq!(last.get(), Some(shown));
        last.touch();
        assert_eq!(last.get(), None);
        last.keep(Shown::default());
        assert_eq!(last.get(), Some(Shown::default()));
    }
}
