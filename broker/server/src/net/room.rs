//! Room for the answer of one request, from the budget of all answers in progress.
//!
//! What always holds: room is taken once, before the request's effect begins; it is held until the
//! answer was sent or given up; once the answer is encoded, no more of it is held than its bytes.

use std::sync::{Arc, OnceLock};

use super::budget::{Budget, FREE_BYTES, Reservation};

/// What the answer of one request holds; nothing at first.
#[derive(Debug)]
pub(crate) struct Room {
    answers: Arc<Budget>,
    held: OnceLock<Reservation>,
}

impl Room {
    /// Of `answers`, nothing yet.
    pub(crate) fn of(answers: &Arc<Budget>) -> Arc<Self> {
        Arc::new(Self {
            answers: Arc::clone(answers),
            held: OnceLock::new(),
        })
    }

    /// Takes `bytes`, waiting for room in the order of asking; up to [`FREE_BYTES`] need none. More
    /// than all there is counts as all there is: such an answer is built alone. Once per request.
    /// Cancel-safe; the place in the order is lost.
    pub(crate) async fn take(&self, bytes: u64) {
        if bytes > FREE_BYTES as u64 {
            let reserved = self.answers.reserve(bytes).await;
            let again = self.held.set(reserved).is_err();
            debug_assert!(!again, "a request's answer is reserved once");
        }
    }

    /// Gives back what is more than the `bytes` of the answer.
    pub(crate) fn shrink_to(&self, bytes: u64) {
        if let Some(held) = self.held.get() {
            held.shrink_to(bytes);
        }
    }

    /// Whether anything is held.
    pub(crate) fn is_held(&self) -> bool {
        self.held.get().is_some()
    }

    /// Whether others wait for what is held.
    pub(crate) fn is_wanted(&self) -> bool {
        self.is_held() && self.answers.is_wanted()
    }

    /// Completes when others wait for what is held; never when nothing is. Cancel-safe.
    pub(crate) async fn wanted(&self) {
        if self.is_held() {
            self.answers.wanted().await;
        } else {
            std::future::pending::<()>().await;
        }
    }
}
