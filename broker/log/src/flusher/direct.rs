//! Syncs of partitions' files beside the journal (C2): who needs one, its start and its end.
//!
//! What always holds: at most one at a time per partition; what it makes durable is what was staged
//! before it started; one from before a cut counts for nothing (C6).

use std::sync::Arc;

use millrace_host::File;
use millrace_probe::{Bug, planted};
use tokio::sync::oneshot;

use crate::flusher::gather::{Fold, Gather, Notice, notice};
use crate::flusher::part::Sync;
use crate::flusher::settle::Work;
use crate::journal::commit;
use crate::mark::{Mark, Position};

impl Gather {
    /// The end moves back (C6): what was staged and isn't flushed goes by a sync of the files, and
    /// completions under way count for nothing.
    pub(super) fn cut(&mut self, slot: u32, to: Position) -> u32 {
        self.turn_direct(slot, 0);
        let part = self.part(slot);
        part.cut_count += 1;
        part.in_flight = None;
        part.synced = None;
        part.direct_bytes = 0;
        let gone = std::mem::take(&mut part.unflushed);
        part.end = part.end.min(to);
        part.flushed = part.flushed.min(to);
        let before = part.files.len();
        part.files
            .retain(|one| one.segment.base_offset <= to.segment.base_offset);
        let dropped = before - part.files.len();
        let rest = part.flushed < part.end;
        part.direct = rest || part.sync.is_some();
        let cut_count = part.cut_count;
        self.unflushed -= gone;
        self.unsettled_files -= dropped;
        if rest {
            self.want_sync(slot);
        }
        cut_count
    }

    /// Withdraws what the partition has in the gathering round: its files will be synced (C2).
    pub(super) fn turn_direct(&mut self, slot: u32, more: u64) {
        let number = self.round.number;
        let part = self.part(slot);
        part.direct = true;
        let withdrawn = part.gathered.take().map_or(0, |(_, bytes)| bytes);
        part.direct_bytes += withdrawn + more;
        let incarnation = part.incarnation;
        for file in &mut part.files {
            if file.round == Some(number) {
                file.round = None;
            }
        }
        if withdrawn > 0
            && let Some((round, index)) = part.place
            && round == number
        {
            commit::void_data(&mut self.round.entries, index);
            for fold in &mut self.round.folds {
                if matches!(fold, Fold::Data(whose, _) if *whose == incarnation) {
                    *fold = Fold::Void;
                }
            }
        }
    }

    /// The partition's files are to be synced: at once, or when the lag is over.
    pub(super) fn want_direct(&mut self, slot: u32, urgent: bool) {
        let number = self.round.number;
        let part = self.part(slot);
        part.urgent |= urgent;
        if urgent {
            // Its existence rides in the gathering commit: that has to hurry too (C4).
            self.urgent |= part.needs_round >= number;
            self.want_sync(slot);
        } else if part.sync.is_none() && !part.queued {
            self.wait_for_lag(slot);
        }
    }

    /// Somebody waits for what the partition has staged.
    pub(super) fn flush_now(&mut self, slot: u32) {
        let part = self.part(slot);
        if part.direct_bytes > 0 {
            self.want_direct(slot, true);
        } else if part.gathered.is_some() || part.synced.is_some() {
            self.urgent = true;
        }
    }

    /// Queues a sync of the partition's files, unless one waits in the queue.
    pub(super) fn want_sync(&mut self, slot: u32) {
        let part = self.part(slot);
        if !part.queued {
            part.queued = true;
            self.sync_queue.push(slot);
        }
    }

    /// Nobody waits for the partition's bytes: they go when the lag is over.
    fn wait_for_lag(&mut self, slot: u32) {
        let part = self.part(slot);
        if !part.idle {
            part.idle = true;
            self.direct_idle.push(slot);
        }
    }

    /// The lag is over: what turned direct goes now.
    pub(super) fn release_idle_direct(&mut self) {
        for slot in std::mem::take(&mut self.direct_idle) {
            let Some(part) = &mut self.parts[slot as usize] else {
                continue;
            };
            part.idle = false;
            if part.direct_bytes > 0 {
                self.want_sync(slot);
            }
        }
    }

    /// A waiter for everything staged so far to be durable in the segment files.
    pub(super) fn settle(&mut self, slot: u32, tell: oneshot::Sender<()>) {
        let part = self.part(slot);
        part.waiters.push(tell);
        self.want_sync(slot);
    }

    /// Bytes nobody waits for.
    pub(super) fn sync_later(&mut self, slot: u32, file: &Arc<dyn File>, upto: Position) {
        let part = self.part(slot);
        let before = part.files.len();
        part.dirty(upto.segment, file, None);
        part.end = part.end.max(upto);
        part.again |= part.sync.is_some();
        let added = part.files.len() - before;
        self.unsettled_files += added;
        self.want_sync(slot);
    }

    /// Bytes before `upto` were never staged, later ones will be: a sync of the files stands between
    /// them, so that the durable prefix stays contiguous (C2).
    pub(super) fn stage_from(&mut self, slot: u32, file: &Arc<dyn File>, upto: Position) {
        self.sync_later(slot, file, upto);
        let part = self.part(slot);
        part.direct = true;
        part.urgent = true;
        // Counts as one byte: a sync that is under way does not cover it, and another follows.
        part.direct_bytes += 1;
        part.unflushed += 1;
        self.unflushed += 1;
    }

    /// The partition has bytes in the journal that keep a file with this round from being reused.
    pub(super) fn holds_back(&self, slot: u32, round: u64) -> bool {
        let part = self.parts.get(slot as usize).and_then(Option::as_ref);
        part.and_then(|part| part.oldest_round())
            .is_some_and(|oldest| oldest <= round)
    }

    /// Queues a sync for every partition that isn't settled; `true` if there is one.
    pub(super) fn want_sync_of_all(&mut self) -> bool {
        let mut any = false;
        for slot in 0..self.parts.len() as u32 {
            let Some(part) = &self.parts[slot as usize] else {
                continue;
            };
            if part.is_unsettled() {
                any = true;
                if part.sync.is_none() {
                    self.want_sync(slot);
                }
            }
        }
        any
    }

    /// Starts a sync of a partition's files: what to sync, or nothing when there is nothing.
    pub(super) fn begin_sync(&mut self, slot: u32) -> Option<Work> {
        let part = self.parts[slot as usize].as_mut()?;
        part.queued = false;
        if part.sync.is_some() {
            // One at a time: its end queues the next.
            return None;
        }
        part.urgent = false;
        let mut work = Work::default();
        let active = part.end.segment.base_offset;
        for one in &mut part.files {
            one.dirty = false;
            one.round_in_sync = one.round.take();
            if one.segment.base_offset < active && planted(Bug::RollWithoutSync) {
                continue;
            }
            work.files.push(Arc::clone(&one.file));
        }
        work.files.append(&mut std::mem::take(&mut part.beside));
        work.dirs = std::mem::take(&mut part.names);
        if !work.dirs.is_empty() && planted(Bug::DirectorySyncLost) {
            work.dirs.clear();
        }
        let upto = part.end;
        part.sync = Some(Sync {
            upto,
            bytes: std::mem::take(&mut part.direct_bytes),
            cut_count: part.cut_count,
            waiters: std::mem::take(&mut part.waiters),
        });
        if planted(Bug::MarkBeforeSync) {
            self.mark(slot, Mark::Settled(upto));
        }
        Some(work)
    }

    /// A sync of a partition's files ended well.
    pub(super) fn end_sync(&mut self, slot: u32, notices: &mut Vec<Notice>) {
        let durable_round = self.durable_round;
        let Some(part) = self.parts[slot as usize].as_mut() else {
            return;
        };
        let Some(sync) = part.sync.take() else { return };
        let before = part.files.len();
        for one in &mut part.files {
            one.round_in_sync = None;
        }
        part.files.retain(|one| one.dirty);
        if part.files.is_empty() {
            // Most partitions are idle behind their first sync.
            part.files = Vec::new();
        }
        self.unsettled_files -= before - part.files.len();
        let valid = sync.cut_count == part.cut_count || planted(Bug::FlushCompletionFromBeforeCut);
        let mut settled = None;
        if valid {
            let bytes = sync.bytes.min(part.unflushed);
            part.unflushed -= bytes;
            self.unflushed -= bytes;
            let ahead = part.end > sync.upto && planted(Bug::MarkAheadOfData);
            settled = Some(if ahead { part.end } else { sync.upto });
            if part.needs_round > durable_round && !planted(Bug::AckBeforeMark) {
                part.synced = part.synced.max(Some(sync.upto));
            } else if sync.upto > part.flushed {
                part.flushed = sync.upto;
                notices.push(notice(part));
            }
        }
        let again = part.direct_bytes > 0 || (part.direct && part.flushed < part.end && !valid);
        part.direct = again;
        let idle = again && !part.urgent;
        let wanted = std::mem::take(&mut part.again)
            || (again && part.urgent)
            || !part.waiters.is_empty()
            || (part.released && part.is_unsettled());
        if let Some(upto) = settled {
            self.mark(slot, Mark::Settled(upto));
        }
        if wanted {
            self.want_sync(slot);
        } else if idle {
            self.wait_for_lag(slot);
        }
        for waiter in sync.waiters {
            let _gone = waiter.send(());
        }
        self.forget_if_idle(slot);
    }
}
