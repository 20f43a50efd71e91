//! What became of batches, on its way from the lanes to whoever reads it.
//!
//! What always holds: each batch is handed on once, in the order in which it was left; none is kept
//! once nobody reads.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crate::Error;
use crate::cluster::lock;

/// The records of one batch.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) tags: Vec<u64>,
    /// The first record's offset, if it is known.
    pub(super) result: Result<Option<i64>, Error>,
    /// What they hold of the buffer.
    pub(super) bytes: usize,
}

/// Where lanes leave what is to be reported.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    told: VecDeque<Told>,
    waker: Option<Waker>,
    /// Nothing more comes.
    ended: bool,
    /// Nobody reads it.
    dropped: bool,
}

impl Queue {
    /// Leaves a batch. Gives it back if nobody reads it.
    pub(super) fn push(&self, told: Told) -> Result<(), Told> {
        let mut state = lock(&self.0);
        if state.dropped {
            return Err(told);
        }
        state.told.push_back(told);
        wake(&mut state);
        Ok(())
    }

    /// Takes the next batch; `None` at the end.
    pub(super) fn poll_next(&self, context: &Context<'_>) -> Poll<Option<Told>> {
        let mut state = lock(&self.0);
        let next = state.told.pop_front();
        if next.is_none() && !state.ended {
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(next)
    }

    /// Batches that weren't taken yet.
    pub(super) fn len(&self) -> usize {
        lock(&self.0).told.len()
    }

    #[cfg(test)]
    pub(super) fn drain(&self) -> Vec<Told> {
        lock(&self.0).told.drain(..).collect()
    }

    /// Nobody reads it any more; what is left in it.
    pub(super) fn close(&self) -> VecDeque<Told> {
        let mut state = lock(&self.0);
        state.dropped = true;
        std::mem::take(&mut state.told)
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        let mut state = lock(&self.0);
        state.ended = true;
        wake(&mut state);
    }
}

fn wake(state: &mut State) {
    if let Some(waker) = state.waker.take() {
        waker.wake();
    }
}
