//! What handles, directory and flusher task share.

use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::task::Waker;
use std::time::Duration;

use millrace_host::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use millrace_host::sync::{Arc, Mutex, MutexGuard, Notify, Weak, lock};
use millrace_host::{File, Host, LockGuard, Mono, Pool, Vouched};
use millrace_probe::{Branch, Bug, planted, reached};
use tokio::sync::oneshot;

use crate::error::Error;
use crate::flusher::Durable;
use crate::flusher::gather::{Gather, State};
use crate::ledger::Ledger;
use crate::ledger::file::LedgerFiles;
use crate::sink::DurabilitySink;

/// The ledger's room is kept this far ahead, and grows in multiples of it.
const LEDGER_MARGIN: u64 = 64 * 1024;

/// Why a directory that isn't where it was opened is offline (F5).
const GONE: &str = "it is no longer where it was opened: somebody removed, renamed or replaced it, \
                    or mounted something over it";

/// What a directory that failed leaves in its in-use file.
pub(crate) const FAILED: &str = "failed=yes\n";

/// One log directory's flusher, seen from outside.
pub(crate) struct Shared {
    pub(crate) host: Host,
    pub(crate) path: PathBuf,
    pub(super) lag: Duration,
    pub(super) gather: Mutex<Gather>,
    /// The fold of what is durable. Taken after `gather` is let go, never with it.
    pub(crate) ledger: Mutex<Ledger>,
    /// Room promised to the ledger in its files.
    pub(crate) ledger_room: AtomicU64,
    pub(crate) ledger_files: LedgerFiles,
    in_use: Arc<dyn File>,
    /// Of the directory, while it is open.
    lock: Weak<dyn LockGuard>,
    /// Of what its segments hold: withdrawn when the directory fails.
    pub(crate) vouched: Vouched,
    pub(super) unflushed: AtomicU64,
    unflushed_max: u64,
    /// Files that hold unsettled bytes.
    unsettled: AtomicUsize,
    unsettled_max: usize,
    /// Also told when the directory ends.
    below_limit: Notify,
    pub(super) counts: Counts,
}

/// What the flusher has done since the start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) commits: AtomicU64,
    pub(super) journal_bytes: AtomicU64,
    pub(super) direct_syncs: AtomicU64,
    pub(super) ledgers: AtomicU64,
    clock_doubted: AtomicBool,
}

/// Figures of one directory's flusher since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlusherCounts {
    /// Commits written to the journal, closing ones included.
    pub commits: u64,
    /// Bytes written to the journal, padding included.
    pub journal_bytes: u64,
    /// Syncs of partitions' files.
    pub direct_syncs: u64,
    /// Ledgers written.
    pub ledgers: u64,
    /// The wall clock was doubted at the last commit, or at the start: it stepped, or lies far from
    /// the last stamp (A4).
    pub clock_doubted: bool,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flusher")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// What [`Shared::new`] is made of.
pub(crate) struct Parts {
    pub(crate) host: Host,
    pub(crate) path: PathBuf,
    pub(crate) lag: Duration,
    pub(crate) unflushed_max: u64,
    /// How many files may hold unsettled bytes before appends wait: each is held open (S2).
    pub(crate) unsettled_max: usize,
    pub(crate) ledger: Ledger,
    pub(crate) ledger_files: LedgerFiles,
    pub(crate) gather: Gather,
    /// The in-use file.
    pub(crate) in_use: Arc<dyn File>,
    /// What holds it.
    pub(crate) lock: Weak<dyn LockGuard>,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            host: parts.host,
            path: parts.path,
            lag: parts.lag,
            gather: Mutex::new(parts.gather),
            ledger: Mutex::new(parts.ledger),
            ledger_room: AtomicU64::new(0),
            ledger_files: parts.ledger_files,
            in_use: parts.in_use,
            lock: parts.lock,
            vouched: Vouched::default(),
            unflushed: AtomicU64::new(0),
            unflushed_max: parts.unflushed_max,
            unsettled: AtomicUsize::new(0),
            unsettled_max: parts.unsettled_max,
            below_limit: Notify::new(),
            counts: Counts::default(),
        }
    }

    pub(super) fn now(&self) -> Mono {
        self.host.clock.now().mono
    }

    /// Changes the gathering state and tells the task what it has to know.
    pub(super) fn with<R>(&self, change: impl FnOnce(&mut Gather) -> R) -> R {
        let mut gather = lock(&self.gather);
        let out = change(&mut gather);
        if gather.due.is_none() && (!gather.is_empty() || !gather.direct_idle.is_empty()) {
            gather.due = Some(self.now() + self.lag);
            // A sleeping task has no timer yet.
            if !gather.committing && !gather.urgent {
                let waker = gather.waker.take();
                self.leave(gather, waker);
                return out;
            }
        }
        let act = !gather.sync_queue.is_empty() || (gather.urgent && !gather.committing);
        let waker = if act || !matches!(gather.state, State::Running) {
            gather.waker.take()
        } else {
            None
        };
        self.leave(gather, waker);
        out
    }

    fn leave(&self, gather: MutexGuard<'_, Gather>, waker: Option<Waker>) {
        let before = self.unflushed.swap(gather.unflushed, Ordering::Relaxed);
        let after = gather.unflushed;
        let files = gather.unsettled_files;
        let files_before = self.unsettled.swap(files, Ordering::Relaxed);
        drop(gather);
        let fewer_bytes = before > self.unflushed_max && after <= self.unflushed_max;
        let fewer_files = files_before > self.unsettled_max && files <= self.unsettled_max;
        if fewer_bytes || fewer_files {
            self.below_limit.notify_waiters();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Bytes staged and not flushed.
    pub(crate) fn unflushed_bytes(&self) -> u64 {
        self.unflushed.load(Ordering::Relaxed)
    }

    /// Completes once they are under their limit, and so are the files with unsettled bytes, or the
    /// directory has ended.
    pub(crate) async fn below_unflushed_limit(&self) {
        let files = || self.unsettled.load(Ordering::Relaxed);
        let is_over = || {
            (self.unflushed_bytes() > self.unflushed_max || files() > self.unsettled_max)
                && self.ended().is_none()
        };
        loop {
            if planted(Bug::LimitWakeUpLost) && is_over() {
                self.below_limit.notified().await;
            }
            let mut told = std::pin::pin!(self.below_limit.notified());
            told.as_mut().enable();
            if !is_over() {
                return;
            }
            told.await;
        }
    }

    /// Why nothing is written any more, if so.
    pub(crate) fn ended(&self) -> Option<Arc<str>> {
        match &lock(&self.gather).state {
            State::Ended(reason) => Some(Arc::clone(reason)),
            State::Running | State::Stopping => None,
        }
    }

    /// Completes when nothing is written any more, with the reason.
    pub(crate) async fn until_ended(&self) -> Arc<str> {
        loop {
            let mut told = std::pin::pin!(self.below_limit.notified());
            told.as_mut().enable();
            if let Some(reason) = self.ended() {
                return reason;
            }
            told.await;
        }
    }

    /// What a caller gets whose change will not become durable.
    pub(crate) fn offline(&self) -> Error {
        let reason = self.ended().unwrap_or_else(|| "stopped".into());
        Error::Offline {
            path: self.path.clone(),
            reason,
        }
    }

    /// A future that resolves with the sender's word.
    pub(crate) fn durable(self: &Arc<Self>, told: oneshot::Receiver<()>) -> Durable {
        let shared = Arc::clone(self);
        Box::pin(async move { told.await.map_err(|_| shared.offline()) })
    }

    /// Takes the directory offline (F1, F2, F3). The first reason stays. Tells every partition, so
    /// the caller holds no partition's lock.
    pub(crate) fn fail(&self, reason: &str) {
        if let Some(sinks) = self.end(reason) {
            self.leave_word();
            tell_failed(&sinks, reason);
        }
    }

    /// The same for a caller that holds a partition's lock: the partitions, that one among them,
    /// are told by a task.
    pub(crate) fn fail_under_lock(&self, reason: &str) {
        if let Some(sinks) = self.end(reason) {
            self.leave_word();
            let reason = reason.to_owned();
            let task = Box::pin(async move { tell_failed(&sinks, &reason) });
            self.host.spawn.spawn(Pool::Data, "directory-failed", task);
        }
    }

    /// The result of a sync: a failed one is terminal for the directory (F1).
    pub(crate) fn synced(&self, path: &Path, result: io::Result<()>) -> Result<(), Error> {
        result.map_err(|error| {
            self.fail(&format!("sync of {}: {error}", path.display()));
            Error::io("sync", path)(error)
        })
    }

    /// An error, and the directory offline, unless it is where it was opened: what is written to
    /// files that no name leads to any more is found by no start (F5). Not under a partition's lock.
    pub(crate) fn look(&self) -> Result<(), Error> {
        let in_place = self.lock.upgrade().is_none_or(|lock| lock.is_in_place());
        if in_place || planted(Bug::GoneDirectoryBelieved) {
            return Ok(());
        }
        reached(Branch::DirectoryGone);
        self.fail(GONE);
        Err(self.offline())
    }

    /// One line when the wall clock begins to be doubted (A4), and one when it is believed again.
    pub(super) fn tell_of_clock(&self, doubted: bool) {
        let before = self.counts.clock_doubted.swap(doubted, Ordering::Relaxed);
        let path = self.path.display();
        if doubted && !before {
            tracing::warn!(%path, "the wall clock stepped, or lies far from the last time that the \
                log directory knows: it is doubted for a day, and retention by time waits; set the \
                clock if it is wrong");
        } else if before && !doubted {
            tracing::info!(%path, "the wall clock is believed again");
        }
    }

    /// Tells the next start on the same boot that the directory failed (R5). To the page cache, and
    /// as far as it goes: without it that start takes what a failed sync dropped for damage.
    fn leave_word(&self) {
        let told = self.in_use.len().and_then(|at| {
            let word = [IoSlice::new(FAILED.as_bytes())];
            self.in_use.write_vectored_at(&word, at)
        });
        if let Err(error) = told {
            tracing::debug!(path = %self.path.display(), %error, "the next start isn't told");
        }
    }

    /// Ends the directory, unless it has ended: whom to tell.
    fn end(&self, reason: &str) -> Option<Vec<Arc<dyn DurabilitySink>>> {
        let mut gather = lock(&self.gather);
        if gather.is_ended() {
            return None;
        }
        // A failed sync may have dropped pages: no reply under way goes on with what is read now.
        self.vouched.withdraw();
        gather.state = State::Ended(reason.into());
        tracing::error!(path = %self.path.display(), reason,
            "log directory is offline; nothing more is written to it");
        gather.drop_waiters();
        let parts = gather.parts.iter().flatten();
        let sinks = parts.map(|part| Arc::clone(&part.sink)).collect();
        let waker = gather.waker.take();
        drop(gather);
        self.below_limit.notify_waiters();
        if let Some(waker) = waker {
            waker.wake();
        }
        Some(sinks)
    }

    /// Takes room for twice the ledger of now in both its files, so that writing the next can't
    /// meet a full disk (F4).
    pub(crate) fn make_ledger_room(&self) -> Result<(), Error> {
        let need = lock(&self.ledger).encoded_len() as u64;
        if need + LEDGER_MARGIN <= self.ledger_room.load(Ordering::Relaxed) {
            return Ok(());
        }
        let room = (need * 2 + LEDGER_MARGIN).next_multiple_of(LEDGER_MARGIN);
        self.ledger_files.allocate(room).map_err(|error| {
            Error::access(&self.path, "make room for the ledger in", &self.path, error)
        })?;
        self.ledger_room.store(room, Ordering::Relaxed);
        Ok(())
    }

    /// Asks the task to commit, settle and write everything down, then to end.
    pub(crate) fn stop(self: &Arc<Self>) -> Durable {
        let (tell, told) = oneshot::channel();
        self.with(|gather| {
            if !gather.is_ended() {
                gather.state = State::Stopping;
                gather.stop_waiters.push(tell);
            }
        });
        self.durable(told)
    }

    /// Everything is settled and in the ledger.
    pub(super) fn end_cleanly(&self) {
        let waiters = self.with(|gather| {
            gather.state = State::Ended("stopped".into());
            std::mem::take(&mut gather.stop_waiters)
        });
        self.below_limit.notify_waiters();
        for waiter in waiters {
            let _gone = waiter.send(());
        }
    }

    /// Nobody has the directory any more: whoever still holds a handle gets errors instead of waiting.
    pub(crate) fn abandon(&self) {
        let mut gather = lock(&self.gather);
        if !gather.is_ended() {
            gather.state = State::Ended("closed".into());
            gather.drop_waiters();
        }
        drop(gather);
        self.below_limit.notify_waiters();
    }

    /// Figures since the start.
    pub(crate) fn counts(&self) -> FlusherCounts {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        FlusherCounts {
            commits: get(&self.counts.commits),
            journal_bytes: get(&self.counts.journal_bytes),
            direct_syncs: get(&self.counts.direct_syncs),
            ledgers: get(&self.counts.ledgers),
            clock_doubted: self.counts.clock_doubted.load(Ordering::Relaxed),
        }
    }
}

fn tell_failed(sinks: &[Arc<dyn DurabilitySink>], reason: &str) {
    for sink in sinks {
        sink.directory_failed(reason);
    }
}
