//! Room for requests and for answers in progress, on all connections together: a budget for each.
//!
//! A frame longer than [`FREE_BYTES`] reserves its whole length before more of its body is read: a
//! reservation, not an allocation. First come, first served, so that a large frame is not starved
//! by small ones; whoever waits has a deadline of its own. Shorter frames need no room here: they
//! are bounded by the number of connections and of requests in progress on each, and so half-sent
//! frames never stop a short one. Answers are reserved likewise ([`super::Room`]). What is reserved
//! never exceeds the size given at the start.
//!
//! Why nobody waits for ever: room is asked for in one order. A frame asks its connection's own
//! limit, then the budget of requests; a request, its frame whole, asks the budget of answers once,
//! before its effect begins. Who holds room for an answer asks no budget again: it waits for locks,
//! disks and acknowledgements, within the request's deadline (a fetch doesn't wait while others
//! want its room), and for its client to take the answer, which has a deadline too. So answers end
//! by themselves, then the frames that wait for answers do, then those that wait for frames.

use std::pin::pin;

use millrace_host::sync::atomic::{AtomicU32, Ordering};
use millrace_host::sync::{Arc, Mutex, Notify, PoisonError};
use prometheus::{IntCounter, IntGauge};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of a frame that are read, and of an answer that are built, without a reservation.
pub(crate) const FREE_BYTES: usize = 64 * 1024;

/// Reservations are counted in units of this many bytes, rounded up.
const UNIT_BYTES: u64 = 1024;

/// The budget of a node.
#[derive(Debug)]
pub(crate) struct Budget {
    units: Arc<Semaphore>,
    units_total: u32,
    waiting: AtomicU32,
    wanted: Notify,
    reserved_bytes: IntGauge,
    waits: IntCounter,
}

/// Room that is held until this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    permit: Mutex<OwnedSemaphorePermit>,
    reserved_bytes: IntGauge,
}

impl Reservation {
    /// Gives back what is more than `bytes`.
    pub(crate) fn shrink_to(&self, bytes: u64) {
        let units = usize::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(usize::MAX);
        let mut permit = self.permit.lock().unwrap_or_else(PoisonError::into_inner);
        let excess = permit.num_permits().saturating_sub(units);
        if let Some(freed) = permit.split(excess) {
            self.reserved_bytes.sub(bytes_of(&freed));
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let permit = self
            .permit
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        self.reserved_bytes.sub(bytes_of(permit));
    }
}

fn bytes_of(permit: &OwnedSemaphorePermit) -> i64 {
    let bytes = (permit.num_permits() as u64).saturating_mul(UNIT_BYTES);
    i64::try_from(bytes).unwrap_or(i64::MAX)
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
            wanted: Notify::new(),
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
        self.reserved_bytes.add(bytes_of(&permit));
        Reservation {
            permit: Mutex::new(permit),
            reserved_bytes: self.reserved_bytes.clone(),
        }
    }

    /// Whether anyone waits for room now.
    pub(crate) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Completes when someone waits for room. Cancel-safe.
    pub(crate) async fn wanted(&self) {
        let mut wanted = pin!(self.wanted.notified());
        // From here on no one who begins to wait is missed.
        wanted.as_mut().enable();
        if !self.is_wanted() {
            wanted.await;
        }
    }

    async fn wait_for(&self, units: u32) -> OwnedSemaphorePermit {
        self.waits.inc();
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        self.wanted.notify_waiters();
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
    fn what_is_given_back_early_lets_the_next_one_in() {
        let budget = budget(8 * 1024);
        let Poll::Ready(first) = poll(pin!(budget.reserve(8 * 1024))) else {
            panic!("free")
        };
        let mut wanted = pin!(budget.wanted());
        assert!(poll(wanted.as_mut()).is_pending());
        let mut second = pin!(budget.reserve(6 * 1024));
        assert!(poll(second.as_mut()).is_pending());
        assert!(poll(wanted).is_ready());
        assert!(poll(pin!(budget.wanted())).is_ready(), "still wanted");
        first.shrink_to(2 * 1024 - 1);
        first.shrink_to(3 * 1024);
        let Poll::Ready(second) = poll(second) else {
            panic!("there is room for both")
        };
        assert_eq!(budget.reserved_bytes.get(), 8 * 1024);
        assert!(poll(pin!(budget.wanted())).is_pending());
        drop((first, second));
        assert_eq!(budget.reserved_bytes.get(), 0);
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
