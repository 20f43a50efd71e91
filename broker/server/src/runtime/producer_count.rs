//! How many idempotent producers all partitions remember together, and the limit.
//!
//! What always holds: each open partition has told its number, and takes it back when it goes; at
//! the limit a partition makes room among its own or refuses a newcomer, so running adds none above
//! the limit but one for each open partition. An opening may: those that may be sent again stay.

use millrace_host::sync::Arc;
use millrace_host::sync::atomic::{AtomicUsize, Ordering};
use millrace_probe::{Bug, planted};

/// The broker's count (`producer.ids.max`).
#[derive(Debug)]
pub(crate) struct ProducerCount {
    max: usize,
    remembered: AtomicUsize,
}

impl ProducerCount {
    /// None remembered yet, at most `max`.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            remembered: AtomicUsize::new(0),
        }
    }

    /// How many more may be remembered.
    pub(super) fn room(&self) -> usize {
        self.max
            .saturating_sub(self.remembered.load(Ordering::Relaxed))
    }
}

/// One partition's part of it.
#[derive(Debug)]
pub(super) struct Share {
    count: Arc<ProducerCount>,
    own: usize,
}

impl Share {
    /// The share of a partition that remembers `own`.
    pub(super) fn new(count: Arc<ProducerCount>, own: usize) -> Self {
        let mut share = Self { count, own: 0 };
        share.set(own);
        share
    }

    /// The partition remembers `own` now.
    pub(super) fn set(&mut self, own: usize) {
        if own == self.own {
            return;
        }
        let remembered = &self.count.remembered;
        if planted(Bug::ProducersInTwoSteps) {
            let others = remembered.load(Ordering::Relaxed).wrapping_sub(self.own);
            remembered.store(others.wrapping_add(own), Ordering::Relaxed);
        } else if own > self.own {
            remembered.fetch_add(own - self.own, Ordering::Relaxed);
        } else {
            remembered.fetch_sub(self.own - own, Ordering::Relaxed);
        }
        self.own = own;
    }

    /// Whether one more must take the place of another, or be refused.
    pub(super) fn is_crowded(&self) -> bool {
        self.count.room() == 0
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_go_with_their_partitions() {
        let count = Arc::new(ProducerCount::new(5));
        let mut one = Share::new(Arc::clone(&count), 2);
        let other = Share::new(Arc::clone(&count), 2);
        assert_eq!((count.room(), one.is_crowded()), (1, false));
        one.set(3);
        assert!(one.is_crowded() && other.is_crowded());
        one.set(9);
        assert_eq!(count.room(), 0);
        one.set(1);
        drop(other);
        assert_eq!(count.room(), 4);
    }
}
