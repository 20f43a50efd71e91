//! The way of replies from the reading side of a connection to its sending side, in one task.
//!
//! What always holds: both sides are polled in one task, the reading side first. So whatever is put
//! here is found in the same poll, and nobody is woken for it: a channel would wake the task that is
//! running, which costs each request a second poll, often on another processor. Replies are taken in
//! the order they were put; once the sending side has ended nothing is kept.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use super::writer::Entry;

/// A queue with more places than these is given back when it is empty.
const IDLE_PLACES_MAX: usize = 8;

/// Replies that the sending side has not taken yet. As many as a connection has places for requests.
#[derive(Default)]
pub(super) struct Replies(Mutex<State>);

#[derive(Default)]
struct State {
    queue: VecDeque<Entry>,
    /// No more are put.
    complete: bool,
    /// No more are taken.
    closed: bool,
}

impl Replies {
    /// Puts one behind the others; `false` once the sending side has ended.
    pub(super) fn put(&self, entry: Entry) -> bool {
        let mut state = self.state();
        if state.closed {
            // What it holds may wake others: without the lock.
            drop(state);
            return false;
        }
        state.queue.push_back(entry);
        true
    }

    /// The reading side ends: what was put is still taken.
    pub(super) fn complete(&self) {
        self.state().complete = true;
    }

    /// The sending side ends: what was put goes, and with it what it holds.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let dropped = std::mem::take(&mut state.queue);
        drop(state);
        drop(dropped);
    }

    /// The next one, if it is there.
    pub(super) fn try_next(&self) -> Option<Entry> {
        self.state().queue.pop_front()
    }

    /// The next one; `None` when there can be no more.
    pub(super) async fn next(&self) -> Option<Entry> {
        poll_fn(|_| {
            let mut state = self.state();
            match state.queue.pop_front() {
                Some(entry) => Poll::Ready(Some(entry)),
                None if state.complete => Poll::Ready(None),
                // Whatever puts the next polls this one behind it.
                None => {
                    if state.queue.capacity() > IDLE_PLACES_MAX {
                        state.queue = VecDeque::new();
                    }
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// A queue and two flags: a panic elsewhere cannot leave them half changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
