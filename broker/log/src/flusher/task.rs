//! The flusher's task: one per log directory.
//!
//! What always holds: at most one commit is on its way, and the next is written only after its sync
//! returned (J3); after an error nothing more is written (F1–F3); nothing is told durable in a
//! directory that is no longer where it was opened (F5); nobody is called under a lock.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use millrace_host::sync::lock;
use millrace_host::{Alarm, Mono};
use millrace_probe::{Branch, Bug, planted, reached};

use crate::error::Error;
use crate::flusher::gather::{Fold, Notice, Round, State};
use crate::flusher::reclaim::Reclaim;
use crate::flusher::settle::Work;
use crate::flusher::state::Shared;
use crate::flusher::under_way::{Ended, UnderWay};
use crate::flusher::wall::Believed;
use crate::journal::commit::CommitId;
use crate::journal::commit::{self, Header, Place};
use crate::journal::file::{Commit, Journal};

/// Gather buffers larger than this are given back when the directory falls idle.
const IDLE_BUFFER_MAX: usize = 256 * 1024;

/// What a sync said (F1).
fn heard(result: Result<(), Error>) -> Result<(), Error> {
    if result.is_err() && planted(Bug::PageCacheTrustedAfterError) {
        return Ok(());
    }
    result
}

/// What the task was woken by.
enum Event {
    /// Something was staged or asked for.
    Work,
    /// The flush lag is over.
    Due,
    /// A sync ended.
    Ended(Ended),
    /// A step of giving a journal file back ended.
    Reclaimed(Result<(), Error>),
}

/// The task's own state.
pub(crate) struct Flusher {
    pub(super) shared: Arc<Shared>,
    pub(super) journal: Journal,
    round: Round,
    /// Bytes of the sealed round's entries that are in commits already.
    round_at: usize,
    header: Header,
    pub(super) under_way: UnderWay,
    pub(super) reclaim: Reclaim,
    timer: Alarm,
    notices: Vec<Notice>,
    /// The last commit has content and nothing behind it yet (C7).
    unproven: bool,
    /// When the closing commit is due.
    closing_due: Option<Mono>,
    /// Neither journal file takes the next commit: what holds the other back settles first.
    pub(super) blocked: bool,
    stop_seen: bool,
    pub(super) journal_len_max: u64,
    pub(super) unsettled_files_max: usize,
    /// What commits are stamped with.
    wall: Believed,
}

/// Limits of the task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Size a journal file grows to.
    pub(crate) journal_len_max: u64,
    /// Files that may hold unsettled bytes.
    pub(crate) unsettled_files_max: usize,
}

impl Flusher {
    pub(crate) fn new(
        shared: Arc<Shared>,
        journal: Journal,
        reclaim: Reclaim,
        limits: Limits,
    ) -> Self {
        let place = Place {
            dir_id: [0; 16],
            generation: 0,
            number: 0,
        };
        let header = Header {
            place,
            closing: false,
            previous_crc: 0,
            wall_ms: 0,
            partitions: Vec::new(),
            entries_len: 0,
            entry_count: 0,
        };
        let last_stamp_ms = lock(&shared.ledger).wall_ms;
        let clock = Arc::clone(&shared.host.clock);
        let wall = Believed::new(shared.host.clock.now(), last_stamp_ms);
        shared.tell_of_clock(wall.is_doubted());
        Self {
            wall,
            shared,
            journal,
            round: Round::default(),
            round_at: 0,
            header,
            under_way: UnderWay::default(),
            reclaim,
            timer: Alarm::new(clock),
            notices: Vec::new(),
            unproven: false,
            closing_due: None,
            blocked: false,
            stop_seen: false,
            journal_len_max: limits.journal_len_max,
            unsettled_files_max: limits.unsettled_files_max,
        }
    }

    /// Runs until a clean stop or the first failure.
    pub(crate) async fn run(mut self) {
        if let Err(error) = self.serve().await {
            self.shared.fail(&error.to_string());
            if planted(Bug::CleanCloseOfOfflineDirectory) {
                self.write_down().await.ok();
            }
        }
    }

    async fn serve(&mut self) -> Result<(), Error> {
        loop {
            self.bound_open_files();
            self.reclaim_step();
            self.start_syncs();
            if self.under_way.takes_commit() && !self.blocked {
                self.start_commit()?;
            }
            if self.shared.ended().is_some() {
                return Ok(());
            }
            if self.under_way.takes_commit() && self.is_stopping() && self.finish().await? {
                return Ok(());
            }
            match self.next_event().await {
                Event::Work | Event::Due => {}
                Event::Ended(Ended::Commit(result)) => {
                    heard(result)?;
                    self.shared.look()?;
                    self.committed();
                }
                Event::Ended(Ended::Partition(slot, result)) => {
                    heard(result)?;
                    self.shared.look()?;
                    self.shared
                        .counts
                        .direct_syncs
                        .fetch_add(1, Ordering::Relaxed);
                    let notices = &mut self.notices;
                    self.shared.with(|gather| gather.end_sync(slot, notices));
                    self.note_settled(slot);
                    self.deliver();
                }
                Event::Reclaimed(result) => {
                    result?;
                    self.reclaimed();
                }
            }
        }
    }

    /// A sealed round has entries that are in no commit yet.
    pub(super) fn has_sealed(&self) -> bool {
        self.round_at < self.round.entries.len()
    }

    fn is_stopping(&self) -> bool {
        matches!(lock(&self.shared.gather).state, State::Stopping)
    }

    /// Starts what waits in the queue of partitions to sync.
    fn start_syncs(&mut self) {
        while self.under_way.takes_partition() {
            let started: Option<(u32, Work)> = {
                let mut gather = lock(&self.shared.gather);
                loop {
                    let Some(slot) = gather.sync_queue.pop() else {
                        break None;
                    };
                    if let Some(work) = gather.begin_sync(slot) {
                        break Some((slot, work));
                    }
                }
            };
            let Some((slot, work)) = started else { return };
            let sync = work.start(self.shared.host.disk.as_ref());
            self.under_way.partition(slot, sync);
        }
    }

    /// Writes the next commit if there is a reason to.
    fn start_commit(&mut self) -> Result<(), Error> {
        if self.has_sealed() {
            return self.write_next(false);
        }
        let now = self.shared.now();
        let sealed = {
            let mut gather = lock(&self.shared.gather);
            if gather.is_ended() {
                return Ok(());
            }
            let stopping = !matches!(gather.state, State::Running);
            let due = stopping || gather.due.is_some_and(|due| due <= now);
            if due {
                gather.release_idle_direct();
            }
            let ready = (gather.urgent || due) && !gather.is_empty();
            if ready {
                gather.seal(&mut self.round);
                gather.committing = true;
            } else if due || gather.is_empty() {
                gather.urgent = false;
                // What turned direct and nobody waits for keeps its time.
                if due || gather.direct_idle.is_empty() {
                    gather.due = None;
                }
            }
            ready
        };
        self.start_syncs();
        if sealed {
            self.round_at = 0;
            let closing = !self.round.content;
            return self.write_next(closing);
        }
        if self.unproven
            && self.closing_due.is_some_and(|due| due <= now)
            && !planted(Bug::NoClosingCommit)
        {
            return self.write_closing();
        }
        Ok(())
    }

    /// Writes as much of the sealed round as one commit takes; nearly always all of it.
    fn write_next(&mut self, closing: bool) -> Result<(), Error> {
        let max = self.journal.commit_len_max();
        let overhead = Header::padded_len(self.round.partitions.len(), 0);
        let rest = &self.round.entries[self.round_at..];
        let (mut len, mut count) = (0, 0);
        while len < rest.len() {
            let next = commit::entry_len(&rest[len..]);
            if count > 0 && len + next + overhead > max {
                break;
            }
            len += next;
            count += 1;
        }
        if !self
            .journal
            .make_fit(Header::padded_len(self.round.partitions.len(), len))
        {
            reached(Branch::JournalFull);
            self.blocked = true;
            return Ok(());
        }
        std::mem::swap(&mut self.header.partitions, &mut self.round.partitions);
        self.header.closing = closing;
        self.header.entry_count = count;
        self.header.wall_ms = self.stamp();
        let entries = &mut self.round.entries[self.round_at..self.round_at + len];
        let commit = Commit {
            header: &mut self.header,
            entries,
            round: self.round.number,
        };
        let sync = self.journal.write(commit);
        std::mem::swap(&mut self.header.partitions, &mut self.round.partitions);
        self.round_at += len;
        self.sent(sync?, len);
        Ok(())
    }

    /// Writes a commit with nothing in it, so that the one before is proven (C7).
    fn write_closing(&mut self) -> Result<(), Error> {
        if !self.journal.make_fit(Header::padded_len(0, 0)) {
            self.blocked = true;
            return Ok(());
        }
        self.header.partitions.clear();
        self.header.closing = true;
        self.header.entry_count = 0;
        self.header.wall_ms = self.stamp();
        let round = self.round.number;
        let commit = Commit {
            header: &mut self.header,
            entries: &mut [],
            round,
        };
        let sync = self.journal.write(commit)?;
        self.round.content = false;
        self.give_back_buffers();
        lock(&self.shared.gather).committing = true;
        self.sent(sync, 0);
        Ok(())
    }

    /// The wall time for a commit (A4).
    fn stamp(&mut self) -> i64 {
        let stamp_ms = self.wall.stamp(self.shared.host.clock.now());
        self.shared.tell_of_clock(self.wall.is_doubted());
        stamp_ms
    }

    /// Nothing followed for a while: memory that load needed is not kept.
    fn give_back_buffers(&mut self) {
        if self.round.entries.capacity() > IDLE_BUFFER_MAX {
            self.round.entries = Vec::new();
            self.round_at = 0;
        }
        lock(&self.shared.gather).give_back_buffer(IDLE_BUFFER_MAX);
    }

    fn sent(&mut self, sync: millrace_host::Completion<()>, len: usize) {
        let path = self.journal.path();
        self.closing_due = None;
        let counts = &self.shared.counts;
        counts.commits.fetch_add(1, Ordering::Relaxed);
        let len = Header::padded_len(self.round.partitions.len(), len) as u64;
        counts.journal_bytes.fetch_add(len, Ordering::Relaxed);
        let file = self.journal.file();
        self.under_way.commit(Box::pin(async move {
            if planted(Bug::AckBeforeSync) {
                return Ok(());
            }
            let mut synced = sync.await;
            if synced.is_err() && planted(Bug::FailedSyncRetried) {
                synced = file.sync().await;
            }
            synced.map_err(Error::io("sync the journal", &path))
        }));
        if !self.has_sealed() && planted(Bug::SnapshotOfCommitInFlight) {
            self.fold();
        }
    }

    /// The commit on its way is durable: fold it, then tell.
    fn committed(&mut self) {
        if self.has_sealed() {
            return;
        }
        self.unproven = self.round.content;
        if self.unproven {
            self.closing_due = Some(self.shared.now() + self.shared.lag);
        }
        self.fold();
        let len_max = self.journal.commit_len_max();
        let (round, notices) = (&mut self.round, &mut self.notices);
        self.shared.with(|gather| {
            gather.committing = false;
            gather.len_max = len_max.saturating_sub(commit::BLOCK);
            gather.round_durable(round, notices);
        });
        // What was durable is told once: a closing commit repeats this with an empty round.
        self.round.slots.clear();
        self.round.content = false;
        self.deliver();
    }

    /// Takes what the last commit says into the ledger.
    fn fold(&mut self) {
        let generation = self.journal.generation();
        let mut ledger = lock(&self.shared.ledger);
        ledger.last = CommitId {
            generation,
            number: self.journal.last_number(),
        };
        ledger.wall_ms = ledger.wall_ms.max(self.header.wall_ms);
        for fold in self.round.folds.drain(..) {
            match fold {
                Fold::Data(incarnation, end) => ledger.data(incarnation, generation, end),
                Fold::Mark(incarnation, mark) => ledger.apply(incarnation, generation, &mark),
                Fold::Void => {}
            }
        }
    }

    /// Tells who waits, outside the lock.
    fn deliver(&mut self) {
        for notice in self.notices.drain(..) {
            notice.sink.flushed(notice.upto, notice.cut_count);
        }
    }

    /// When the task has to look again by itself.
    fn wake_time(&self) -> Option<Mono> {
        if !self.under_way.takes_commit() || self.blocked {
            return None;
        }
        let closing = if self.unproven && !planted(Bug::NoClosingCommit) {
            self.closing_due
        } else {
            None
        };
        let gather = lock(&self.shared.gather).due;
        closing.into_iter().chain(gather).min()
    }

    async fn next_event(&mut self) -> Event {
        self.timer.set(self.wake_time());
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if let Poll::Ready(ended) = self.under_way.poll(cx) {
            return Poll::Ready(Event::Ended(ended));
        }
        if let Poll::Ready(result) = self.reclaim.poll(cx) {
            return Poll::Ready(Event::Reclaimed(result));
        }
        if self.timer.poll(cx).is_ready() {
            return Poll::Ready(Event::Due);
        }
        let mut gather = lock(&self.shared.gather);
        let free = self.under_way.takes_commit() && !self.blocked;
        let startable = !gather.sync_queue.is_empty() && self.under_way.takes_partition();
        let untimed = gather.due.is_some() && !self.timer.is_set();
        let stop = !matches!(gather.state, State::Running) && !self.stop_seen;
        if startable || (free && (gather.urgent || untimed)) || stop || gather.is_ended() {
            self.stop_seen |= stop;
            return Poll::Ready(Event::Work);
        }
        gather.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
