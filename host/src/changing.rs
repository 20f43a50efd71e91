//! A value that changes, and those who wait for it to.
//!
//! What always holds: who waits is woken in the order in which the waits began, so that a simulated
//! run is the same each time. tokio's `watch` wakes in an order drawn from the thread's own
//! randomness, which no seed repeats: it is for values that one task waits for.

use crate::sync::{Mutex, Notify, PoisonError};

/// A value under a lock, with its waiters.
#[derive(Debug)]
pub struct Changing<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T> Changing<T> {
    /// A value that nobody waits for yet.
    pub fn new(value: T) -> Self {
        Self {
            value: Mutex::new(value),
            changed: Notify::new(),
        }
    }

    /// Changes the value, then lets every waiter look at it. Gives what `change` gives.
    pub fn modify<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = self.locked(change);
        self.changed.notify_waiters();
        result
    }

    /// Looks at the value; nobody is woken.
    pub fn look<R>(&self, at: impl FnOnce(&T) -> R) -> R {
        self.locked(|value| at(value))
    }

    /// Waits until `settled` gives something for the value, which may be at once. No change is
    /// missed, but of several in a row only the last may be seen. Cancel-safe.
    pub async fn wait_for<R>(&self, mut settled: impl FnMut(&T) -> Option<R>) -> R {
        loop {
            // In line before the value is looked at: a change after the look wakes us.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(result) = self.look(|value| settled(value)) {
                return result;
            }
            changed.await;
        }
    }

    fn locked<R>(&self, at: impl FnOnce(&mut T) -> R) -> R {
        at(&mut self.value.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};

    use super::*;

    /// Writes its number down when it is woken.
    struct Numbered(usize, Arc<Mutex<Vec<usize>>>);

    impl Wake for Numbered {
        fn wake(self: Arc<Self>) {
            self.1.lock().expect("no test panics with it").push(self.0);
        }
    }

    #[test]
    fn waiters_are_woken_in_the_order_of_their_waits() {
        let changing = Changing::new(0);
        let woken = Arc::new(Mutex::new(Vec::new()));
        let mut waits: Vec<_> = (0..50)
            .map(|_| Box::pin(changing.wait_for(|value| (*value == 1).then_some(()))))
            .collect();
        for (number, wait) in waits.iter_mut().enumerate() {
            let waker = Waker::from(Arc::new(Numbered(number, Arc::clone(&woken))));
            assert!(
                wait.as_mut()
                    .poll(&mut Context::from_waker(&waker))
                    .is_pending()
            );
        }
        changing.modify(|value| *value = 1);
        let expected: Vec<usize> = (0..50).collect();
        assert_eq!(*woken.lock().expect("no test panics with it"), expected);
        for wait in &mut waits {
            let waker = Waker::noop();
            let now = wait.as_mut().poll(&mut Context::from_waker(waker));
            assert_eq!(now, Poll::Ready(()));
        }
    }

    #[test]
    fn what_is_settled_is_not_waited_for() {
        let changing = Changing::new(7);
        let wait = std::pin::pin!(changing.wait_for(|value| Some(*value)));
        let now = wait.poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(now, Poll::Ready(7));
    }
}
