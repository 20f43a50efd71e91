//! What became of records, as a stream.
//!
//! What always holds: each record that was taken in is told of once, those of a partition in the order
//! in which their fates were known. What wasn't read yet holds the records' room in the producer's
//! buffer, so that what waits here is bounded by it; nothing is held once the stream was dropped.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use futures_core::stream::FusedStream;

use super::Delivered;
use super::sender::Shared;
use crate::Error;
use crate::cluster::lock;

/// What became of one record.
#[derive(Clone, Debug)]
pub struct Report {
    /// What the record was [tagged](crate::Record::tag) with.
    pub tag: u64,
    /// Where it was stored, or why it was given up.
    pub result: Result<Delivered, Error>,
}

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

    #[cfg(test)]
    pub(super) fn drain(&self) -> Vec<Told> {
        lock(&self.0).told.drain(..).collect()
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

/// What becomes of a producer's records, as a stream beside the [`Delivery`](crate::Delivery) of each:
/// of [`Producer::reporting`](crate::Producer::reporting). It ends behind the last record once the
/// producer was dropped.
///
/// A record holds its room in the buffer until its report was read, so read them while you send.
/// Dropping the stream gives all of that room back, and nothing is reported any more.
pub struct Reports {
    queue: Arc<Queue>,
    shared: Weak<Shared>,
    /// The batch that is read, and its next record.
    current: Option<(Told, usize)>,
    ended: bool,
}

impl Reports {
    pub(super) fn new(queue: Arc<Queue>, shared: &Arc<Shared>) -> Self {
        Self {
            queue,
            shared: Arc::downgrade(shared),
            current: None,
            ended: false,
        }
    }

    /// The next report; `None` at the end. Cancel-safe.
    pub async fn next(&mut self) -> Option<Report> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    fn at_hand(&mut self) -> Option<Report> {
        let (told, at) = self.current.as_mut()?;
        let tag = *told.tags.get(*at)?;
        let index = i64::try_from(*at).expect("a batch has at most 2^31 records");
        let result = told.result.clone().map(|base_offset| Delivered {
            topic: Arc::clone(&told.topic),
            partition: told.partition,
            offset: base_offset.map(|base| base + index),
        });
        *at += 1;
        if *at == told.tags.len() {
            let bytes = told.bytes;
            self.current = None;
            self.give_back(bytes);
        }
        Some(Report { tag, result })
    }

    fn give_back(&self, bytes: usize) {
        if let Some(shared) = self.shared.upgrade() {
            shared.room.add_permits(bytes);
        }
    }
}

impl Stream for Reports {
    type Item = Report;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Report>> {
        loop {
            if let Some(report) = self.at_hand() {
                return Poll::Ready(Some(report));
            }
            let next = {
                let mut state = lock(&self.queue.0);
                let next = state.told.pop_front();
                if next.is_none() && !state.ended {
                    state.waker = Some(context.waker().clone());
                    return Poll::Pending;
                }
                next
            };
            if next.is_none() {
                self.ended = true;
                return Poll::Ready(None);
            }
            self.current = next.map(|told| (told, 0));
        }
    }
}

impl FusedStream for Reports {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        let left = {
            let mut state = lock(&self.queue.0);
            state.dropped = true;
            std::mem::take(&mut state.told)
        };
        let current = self.current.take().map(|(told, _)| told);
        let bytes = left.into_iter().chain(current).map(|told| told.bytes);
        self.give_back(bytes.sum());
    }
}

impl fmt::Debug for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reports")
            .field("waiting", &lock(&self.queue.0).told.len())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
