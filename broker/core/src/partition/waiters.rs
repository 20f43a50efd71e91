//! Replies that wait for a flush or the high watermark.
//!
//! Always: both queues are sorted by offset, so that what is met stands in front; together they
//! hold at most as many tokens as the named limit; a token leaves exactly once.

use std::collections::VecDeque;

use super::offsets::Bounds;

/// Names one waiting request; chosen by the caller, unique among those that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What has to hold before a reply leaves. Each offset is the one after the last record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing more: the record is in the log.
    Written,
    /// Everything below is on this replica's stable storage.
    Flushed(i64),
    /// Everything below is committed.
    HighWatermark(i64),
    /// Both: acks=all on a page-cache topic where `flush.messages` asked for a flush.
    FlushedHighWatermark(i64),
}

impl Condition {
    pub(super) fn is_met(self, bounds: &Bounds) -> bool {
        match self {
            Self::Written => true,
            Self::Flushed(offset) => bounds.flushed >= offset,
            Self::HighWatermark(offset) => bounds.high_watermark >= offset,
            Self::FlushedHighWatermark(offset) => {
                bounds.flushed >= offset && bounds.high_watermark >= offset
            }
        }
    }

    /// Whether it waits for the high watermark of more records than are committed.
    pub(super) fn waits_for_commit(self, bounds: &Bounds) -> bool {
        match self {
            Self::Written | Self::Flushed(_) => false,
            Self::HighWatermark(offset) | Self::FlushedHighWatermark(offset) => {
                bounds.high_watermark < offset
            }
        }
    }

    /// The offset up to which this replica has to flush for it.
    pub(super) fn flush_upto(self, high_watermark_needs_flush: bool) -> Option<i64> {
        match self {
            Self::Written => None,
            Self::Flushed(offset) | Self::FlushedHighWatermark(offset) => Some(offset),
            Self::HighWatermark(offset) => high_watermark_needs_flush.then_some(offset),
        }
    }

    fn offset(self) -> i64 {
        match self {
            Self::Written => 0,
            Self::Flushed(offset)
            | Self::HighWatermark(offset)
            | Self::FlushedHighWatermark(offset) => offset,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiter {
    condition: Condition,
    token: Token,
    deadline_ns: u64,
}

type Queue = VecDeque<Waiter>;

/// The waiting replies of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AckWaiters {
    for_flush: Queue,
    for_commit: Queue,
    /// No waiter's deadline lies before this.
    due_ns: Option<u64>,
}

fn insert(queue: &mut Queue, waiter: Waiter) {
    let at = queue.partition_point(|other| other.condition.offset() <= waiter.condition.offset());
    queue.insert(at, waiter);
}

impl AckWaiters {
    pub(super) fn len(&self) -> usize {
        self.for_flush.len() + self.for_commit.len()
    }

    /// Adds a waiter whose condition is not met.
    pub(super) fn push(
        &mut self,
        bounds: &Bounds,
        condition: Condition,
        token: Token,
        deadline_ns: u64,
    ) {
        let waiter = Waiter {
            condition,
            token,
            deadline_ns,
        };
        if condition.waits_for_commit(bounds) {
            insert(&mut self.for_commit, waiter);
        } else {
            insert(&mut self.for_flush, waiter);
        }
        self.due_ns = Some(self.due_ns.map_or(deadline_ns, |due| due.min(deadline_ns)));
    }

    /// Takes out every token whose condition is met now.
    pub(super) fn met(&mut self, bounds: &Bounds, mut ready: impl FnMut(Token)) {
        while let Some(waiter) = self.for_commit.front().copied()
            && waiter.condition.offset() <= bounds.high_watermark
        {
            self.for_commit.pop_front();
            if waiter.condition.is_met(bounds) {
                ready(waiter.token);
            } else {
                insert(&mut self.for_flush, waiter);
            }
        }
        while let Some(waiter) = self.for_flush.front().copied()
            && waiter.condition.offset() <= bounds.flushed
        {
            self.for_flush.pop_front();
            ready(waiter.token);
        }
        if self.len() == 0 {
            self.due_ns = None;
        }
    }

    /// Takes out every token that waits for the high watermark.
    pub(super) fn drain_commit(&mut self, mut gone: impl FnMut(Token)) {
        self.for_commit
            .drain(..)
            .for_each(|waiter| gone(waiter.token));
    }

    /// Takes out every token.
    pub(super) fn drain(&mut self, mut gone: impl FnMut(Token)) {
        self.for_flush
            .drain(..)
            .for_each(|waiter| gone(waiter.token));
        self.for_commit
            .drain(..)
            .for_each(|waiter| gone(waiter.token));
        self.due_ns = None;
    }

    /// Takes out every token whose deadline has come.
    pub(super) fn expire(&mut self, now_ns: u64, mut gone: impl FnMut(Token)) {
        if self.due_ns.is_none_or(|due| due > now_ns) {
            return;
        }
        let mut due = None;
        for queue in [&mut self.for_flush, &mut self.for_commit] {
            queue.retain(|waiter| {
                let waits = waiter.deadline_ns > now_ns;
                if waits {
                    due =
                        Some(due.map_or(waiter.deadline_ns, |at: u64| at.min(waiter.deadline_ns)));
                } else {
                    gone(waiter.token);
                }
                waits
            });
        }
        self.due_ns = due;
    }

    /// Forgets a token whose requester has gone.
    pub(super) fn cancel(&mut self, token: Token) {
        self.for_flush.retain(|waiter| waiter.token != token);
        self.for_commit.retain(|waiter| waiter.token != token);
    }

    pub(super) fn due_ns(&self) -> Option<u64> {
        self.due_ns
    }

    /// Panics when a waiter waits for what holds already, or a queue is not sorted.
    pub(super) fn assert_waiting(&self, bounds: &Bounds) {
        for queue in [&self.for_flush, &self.for_commit] {
            if let Some(front) = queue.front() {
                assert!(
                    !front.condition.is_met(bounds),
                    "{front:?} waits, but its condition is met: {bounds:?}"
                );
            }
            let offset = |at: usize| queue[at].condition.offset();
            debug_assert!((1..queue.len()).all(|at| offset(at - 1) <= offset(at)));
        }
    }
}
