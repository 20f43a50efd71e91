//! The synchronisation primitives of every room that has threads.
//!
//! In whatever ships they are std's, tokio's and arc-swap's own, under their own names. With the
//! feature `schedules`, which only `cargo xtask schedules` turns on, the locks and atomics are those
//! of shuttle, which runs a model of several tasks in one thread and decides at every one of them
//! who goes on; what waits (`Notify`) and what is swapped ([`ArcSwap`]) stays the real thing, one
//! step each, with a place before it where another task may come in. What always holds: names,
//! signatures and meaning are the same, so that no other code knows of it. Not modelled: memory
//! orders weaker than sequential consistency (`ThreadSanitizer` watches those), the insides of
//! tokio and arc-swap, which their own authors check, and `Arc`'s counts.

#[cfg(not(feature = "schedules"))]
pub use arc_swap::ArcSwap;
#[cfg(not(feature = "schedules"))]
pub use std::sync::{Mutex, MutexGuard, atomic};
#[cfg(not(feature = "schedules"))]
pub use tokio::sync::Notify;

pub use std::sync::{Arc, PoisonError, Weak};

#[cfg(feature = "schedules")]
pub use modelled::{ArcSwap, Notify};
#[cfg(feature = "schedules")]
pub use shuttle::sync::{Mutex, MutexGuard, atomic};

/// Locks a mutex whose holders leave nothing half done behind when they panic.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(feature = "schedules")]
mod modelled {
    use std::sync::Arc;

    use arc_swap::{DefaultStrategy, Guard};
    use shuttle::sync::atomic::{AtomicBool, Ordering};
    use tokio::sync::futures::Notified;

    /// A place where another task may come in. An atomic's load is one, and, unlike a yield, takes
    /// nothing from the task's standing with the scheduler.
    #[derive(Debug)]
    struct Place(AtomicBool);

    impl Place {
        const fn new() -> Self {
            Self(AtomicBool::new(false))
        }

        fn pass(&self) {
            self.0.load(Ordering::SeqCst);
        }
    }

    /// tokio's, one step at a time.
    #[derive(Debug)]
    pub struct Notify {
        place: Place,
        inner: tokio::sync::Notify,
    }

    impl Default for Notify {
        fn default() -> Self {
            Self::new()
        }
    }

    impl Notify {
        /// As tokio's.
        pub const fn new() -> Self {
            Self {
                place: Place::new(),
                inner: tokio::sync::Notify::const_new(),
            }
        }

        /// As tokio's.
        pub fn notify_one(&self) {
            self.place.pass();
            self.inner.notify_one();
        }

        /// As tokio's.
        pub fn notify_waiters(&self) {
            self.place.pass();
            self.inner.notify_waiters();
        }

        /// As tokio's.
        pub fn notified(&self) -> Notified<'_> {
            self.place.pass();
            self.inner.notified()
        }
    }

    /// arc-swap's, one step at a time.
    #[derive(Debug)]
    pub struct ArcSwap<T> {
        place: Place,
        inner: arc_swap::ArcSwap<T>,
    }

    impl<T> ArcSwap<T> {
        /// As arc-swap's.
        pub fn new(value: Arc<T>) -> Self {
            Self {
                place: Place::new(),
                inner: arc_swap::ArcSwap::new(value),
            }
        }

        /// As arc-swap's.
        pub fn from_pointee(value: T) -> Self {
            Self::new(Arc::new(value))
        }

        /// As arc-swap's.
        pub fn load(&self) -> Guard<Arc<T>, DefaultStrategy> {
            self.place.pass();
            self.inner.load()
        }

        /// As arc-swap's.
        pub fn load_full(&self) -> Arc<T> {
            self.place.pass();
            self.inner.load_full()
        }

        /// As arc-swap's.
        pub fn store(&self, value: Arc<T>) {
            self.place.pass();
            self.inner.store(value);
        }

        /// As arc-swap's, which begins again when somebody else was faster: here nobody is.
        pub fn rcu(&self, change: impl FnMut(&Arc<T>) -> T) {
            self.place.pass();
            self.inner.rcu(change);
        }
    }
}
