//! One deadline that moves often and is rarely met, at the cost of few timers.
//!
//! Moving the deadline later costs nothing: the timer that is already set fires early, sees that
//! the deadline has moved, and is set again.

use std::sync::Arc;
use std::task::{Context, Poll};

use crate::{BoxFuture, Clock, Mono};

/// Tells when a deadline has passed.
pub struct Alarm {
    clock: Arc<dyn Clock>,
    deadline: Option<Mono>,
    timer: Option<(Mono, BoxFuture<'static, ()>)>,
}

impl std::fmt::Debug for Alarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Alarm")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl Alarm {
    /// No deadline yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            deadline: None,
            timer: None,
        }
    }

    /// Sets or moves the deadline; `None` means never.
    pub fn set(&mut self, deadline: Option<Mono>) {
        self.deadline = deadline;
    }

    /// Whether there is a deadline.
    pub fn is_set(&self) -> bool {
        self.deadline.is_some()
    }

    /// Ready once the deadline has passed, and then until it is moved.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else {
            return Poll::Pending;
        };
        loop {
            let clock = &self.clock;
            let set_later = self.timer.as_ref().is_none_or(|(at, _)| *at > deadline);
            if set_later {
                self.timer = Some((deadline, clock.sleep_until(deadline)));
            }
            let Some((at, sleep)) = &mut self.timer else {
                return Poll::Pending;
            };
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let met = *at >= deadline;
            self.timer = None;
            if met || self.clock.now().mono >= deadline {
                return Poll::Ready(());
            }
        }
    }
}
