//! The syncs that a flusher has under way: at most one commit's, and partitions' beside it.
//!
//! What always holds: of what ended at one look, a sync that failed is told first and the commit last, so
//! that no commit is told durable once a sync is known to have failed (F1); each look tells of the commit,
//! however many partitions sync; at most [`SYNCS_MAX`] of them do at a time.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use millrace_host::BoxFuture;

use crate::error::Error;

/// Syncs of partitions' files under way at the same time, at most.
const SYNCS_MAX: usize = 32;

type Sync = BoxFuture<'static, Result<(), Error>>;

/// What ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The commit's sync.
    Commit(Result<(), Error>),
    /// That of the partition in this slot.
    Partition(u32, Result<(), Error>),
}

/// See the file's head.
#[derive(Default)]
pub(super) struct UnderWay {
    commit: Option<Sync>,
    partitions: Vec<(u32, Sync)>,
    /// Ended at the last look, and not told yet: partitions', those that failed first.
    heard: VecDeque<(u32, Result<(), Error>)>,
    /// The same of the commit.
    committed: Option<Result<(), Error>>,
}

impl UnderWay {
    /// The commit was written; the next waits until this has ended (J3).
    pub(super) fn commit(&mut self, sync: Sync) {
        debug_assert!(self.takes_commit(), "one commit at a time");
        self.commit = Some(sync);
    }

    /// No commit is on its way; one whose end was not told yet still is.
    pub(super) fn takes_commit(&self) -> bool {
        self.commit.is_none() && self.committed.is_none()
    }

    /// One more partition's files sync.
    pub(super) fn partition(&mut self, slot: u32, sync: Sync) {
        debug_assert!(self.takes_partition(), "not more than SYNCS_MAX");
        self.partitions.push((slot, sync));
    }

    /// One more may.
    pub(super) fn takes_partition(&self) -> bool {
        self.partitions.len() + self.heard.len() < SYNCS_MAX
    }

    /// Some partition syncs.
    pub(super) fn has_partitions(&self) -> bool {
        !self.partitions.is_empty() || !self.heard.is_empty()
    }

    /// The next that ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        if self.heard.is_empty() && self.committed.is_none() {
            self.look(cx);
        }
        if let Some((slot, result)) = self.heard.pop_front() {
            return Poll::Ready(Ended::Partition(slot, result));
        }
        match self.committed.take() {
            Some(result) => Poll::Ready(Ended::Commit(result)),
            None => Poll::Pending,
        }
    }

    /// Partitions before the commit: what is known when the commit is seen to have ended, is heard.
    fn look(&mut self, cx: &mut Context<'_>) {
        let mut index = 0;
        while index < self.partitions.len() {
            let Poll::Ready(result) = self.partitions[index].1.as_mut().poll(cx) else {
                index += 1;
                continue;
            };
            let (slot, _) = self.partitions.swap_remove(index);
            if result.is_err() {
                self.heard.push_front((slot, result));
            } else {
                self.heard.push_back((slot, result));
            }
        }
        if let Some(commit) = &mut self.commit
            && let Poll::Ready(result) = commit.as_mut().poll(cx)
        {
            self.commit = None;
            self.committed = Some(result);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::io;
    use std::path::Path;
    use std::task::Waker;

    use super::*;

    fn failed() -> Sync {
        let error = io::Error::other("lost pages");
        Box::pin(ready(Err(Error::io("sync", Path::new("t-1"))(error))))
    }

    /// All had ended when the task came by: the order in which it hears of them decides.
    #[test]
    fn a_sync_that_failed_is_heard_before_a_commit_that_succeeded() {
        let mut under_way = UnderWay::default();
        under_way.partition(3, Box::pin(pending()));
        under_way.partition(5, Box::pin(ready(Ok(()))));
        under_way.partition(7, failed());
        under_way.commit(Box::pin(ready(Ok(()))));
        let mut cx = Context::from_waker(Waker::noop());
        let mut told = Vec::new();
        while let Poll::Ready(ended) = under_way.poll(&mut cx) {
            told.push(match ended {
                Ended::Partition(slot, result) => (Some(slot), result.is_ok()),
                Ended::Commit(result) => (None, result.is_ok()),
            });
            assert_eq!(
                under_way.takes_commit(),
                told.len() == 3,
                "until it is told"
            );
        }
        assert_eq!(told, [(Some(7), false), (Some(5), true), (None, true)]);
        assert!(under_way.has_partitions());
    }

    /// Partitions that sync all the time don't keep a commit from being told.
    #[test]
    fn a_commit_is_told_however_many_partitions_sync() {
        let mut under_way = UnderWay::default();
        under_way.commit(Box::pin(ready(Ok(()))));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..=SYNCS_MAX {
            while under_way.takes_partition() {
                under_way.partition(1, Box::pin(ready(Ok(()))));
            }
            if let Poll::Ready(Ended::Commit(_)) = under_way.poll(&mut cx) {
                return;
            }
        }
        panic!("the commit is not told");
    }
}
