//! Room for requests in progress, on all connections together.
//!
//! A frame longer than [`FREE_BYTES`] reserves its whole length before more of its body is read: a
//! reservation, not an allocation. First come, first served, so that a large frame is not starved
//! by small ones; whoever waits has a deadline of its own. Shorter frames need no room here: they
//! are bounded by the number of connections and of requests in progress on each, and so half-sent
//! frames never stop a short one. What is reserved never exceeds the size given at the start.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use prometheus::{IntCounter, IntGauge};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of a frame that are read without a reservation.
pub(crate) const FREE_BYTES: usize = 64 * 1024;

/// Reservations are counted in units of this many bytes, rounded up.
const UNIT_BYTES: u64 = 1024;

/// The budget of a node.
#[derive(Debug)]
pub(crate) struct Budget {
    units: Arc<Semaphore>,
    units_total: u32,
    waiting: AtomicU32,
    reserved_bytes: IntGauge,
    waits: IntCounter,
}

/// Room that is held until this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    _permit: OwnedSemaphorePermit,
    bytes: i64,
    reserved_bytes: IntGauge,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.reserved_bytes.sub(self.bytes);
    }
}

/// Counts who waits for as long as it lives, also when the wait is given up.
struct Waiting<'a>(&'a AtomicU32);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Budget {
    /// A budget of `bytes`, which is not less than the longest frame that will ask.
    pub(crate) fn new(bytes: u64, reserved_bytes: IntGauge, waits: IntCounter) -> Self {
        let units = bytes
            .div_ceil(UNIT_BYTES)
            .clamp(1, Semaphore::MAX_PERMITS as u64);
        let units_total = u32::try_from(units).unwrap_or(u32::MAX);
        Self {
            units: Arc::new(Semaphore::new(units_total as usize)),
            units_total,
            waiting: AtomicU32::new(0),
            reserved_bytes,
            waits,
        }
    }

    /// Reserves `bytes`, waiting for room in the order of asking. More than all there is counts as
    /// all there is: such a request is served alone. Cancel-safe; the place in the order is lost.
    pub(crate) async fn reserve(&self, bytes: u64) -> Reservation {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let units = units.min(self.units_total);
        let permit = match Arc::clone(&self.units).try_acquire_many_owned(units) {
            Ok(permit) => permit,
            Err(_) => self.wait_for(units).await,
        };
        let bytes = i64::from(units) * UNIT_BYTES as i64;
        self.reserved_bytes.add(bytes);
        Reservation {
            _permit: permit,
            bytes,
            reserved_bytes: self.reserved_bytes.clone(),
        }
    }

    /// Whether anyone waits for room now.
    pub(crate) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    async fn wait_for(&self, units: u32) -> OwnedSemaphorePermit {
        self.waits.inc();
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        Arc::clone(&self.units)
            .acquire_many_owned(units)
            .await
            .expect("the budget's semaphore is never closed")
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn budget(bytes: u64) -> Budget {
        Budget::new(
            bytes,
            IntGauge::new("g", "g").unwrap(),
            IntCounter::new("c", "c").unwrap(),
        )
    }

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn room_is_given_in_the_order_of_asking() {
        let budget = budget(10 * 1024);
        let Poll::Ready(first) = poll(pin!(budget.reserve(8 * 1024))) else {
            panic!("free")
        };
        let mut large = pin!(budget.reserve(9 * 1024));
        assert!(poll(large.as_mut()).is_pending());
        let mut small = pin!(budget.reserve(1024));
        assert!(
            poll(small.as_mut()).is_pending(),
            "a later, smaller request must not overtake"
        );
        assert!(budget.is_wanted());
        drop(first);
        let Poll::Ready(large) = poll(large.as_mut()) else {
            panic!("the large one is next")
        };
        let Poll::Ready(_small) = poll(small.as_mut()) else {
            panic!("there is room for both")
        };
        assert!(!budget.is_wanted());
        assert_eq!(budget.reserved_bytes.get(), 10 * 1024);
        drop(large);
        assert_eq!(budget.reserved_bytes.get(), 1024);
    }

    #[test]
    fn a_wait_that_is_given_up_leaves_its_place() {
        let budget = budget(1024);
        let Poll::Ready(first) = poll(pin!(budget.reserve(1))) else {
            panic!("free")
        };
        {
            let mut given_up = pin!(budget.reserve(1));
            assert!(poll(given_up.as_mut()).is_pending());
        }
        assert!(!budget.is_wanted());
        drop(first);
        assert!(poll(pin!(budget.reserve(1))).is_ready());
    }

    #[test]
    fn more_than_all_there_is_is_served_alone() {
        let budget = budget(4096);
        let Poll::Ready(all) = poll(pin!(budget.reserve(1 << 40))) else {
            panic!("free")
        };
        assert!(poll(pin!(budget.reserve(1))).is_pending());
        drop(all);
        assert!(poll(pin!(budget.reserve(1))).is_ready());
    }
}
