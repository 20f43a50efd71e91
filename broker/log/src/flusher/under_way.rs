//! The syncs that a flusher has under way: at most one commit's, and partitions' beside it.
//!
//! What always holds: a partition's sync is heard before a commit that ended meanwhile, so that no
//! commit is told durable once a sync is known to have failed (F1); at most [`SYNCS_MAX`] partitions
//! sync at a time.

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
}

impl UnderWay {
    /// The commit was written; the next waits until this has ended (J3).
    pub(super) fn commit(&mut self, sync: Sync) {
        debug_assert!(self.commit.is_none(), "one commit at a time");
        self.commit = Some(sync);
    }

    /// No commit is on its way.
    pub(super) fn takes_commit(&self) -> bool {
        self.commit.is_none()
    }

    /// One more partition's files sync.
    pub(super) fn partition(&mut self, slot: u32, sync: Sync) {
        debug_assert!(self.takes_partition(), "not more than SYNCS_MAX");
        self.partitions.push((slot, sync));
    }

    /// One more may.
    pub(super) fn takes_partition(&self) -> bool {
        self.partitions.len() < SYNCS_MAX
    }

    /// Some partition syncs.
    pub(super) fn has_partitions(&self) -> bool {
        !self.partitions.is_empty()
    }

    /// The next that ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        for index in 0..self.partitions.len() {
            if let Poll::Ready(result) = self.partitions[index].1.as_mut().poll(cx) {
                let (slot, _) = self.partitions.swap_remove(index);
                return Poll::Ready(Ended::Partition(slot, result));
            }
        }
        if let Some(commit) = &mut self.commit
            && let Poll::Ready(result) = commit.as_mut().poll(cx)
        {
            self.commit = None;
            return Poll::Ready(Ended::Commit(result));
        }
        Poll::Pending
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

    /// Both had ended when the task came by: the order in which it asks decides.
    #[test]
    fn a_sync_that_failed_is_heard_before_a_commit_that_succeeded() {
        let mut under_way = UnderWay::default();
        under_way.partition(3, Box::pin(pending()));
        under_way.partition(7, failed());
        under_way.commit(Box::pin(ready(Ok(()))));
        let mut cx = Context::from_waker(Waker::noop());
        let first = under_way.poll(&mut cx);
        assert!(
            matches!(first, Poll::Ready(Ended::Partition(7, Err(_)))),
            "{first:?}"
        );
        assert!(!under_way.takes_commit(), "its end was not told yet");
        let second = under_way.poll(&mut cx);
        assert!(
            matches!(second, Poll::Ready(Ended::Commit(Ok(())))),
            "{second:?}"
        );
        assert!(under_way.takes_commit() && under_way.has_partitions());
        assert!(under_way.poll(&mut cx).is_pending());
    }
}
