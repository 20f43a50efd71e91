//! The gathering commit: everything that happened since the last one was sealed.
//!
//! What always holds: record bytes are copied here when they are staged, never read back from a
//! file (J5); the order of entries is the order of the calls; everything in one gathering becomes
//! durable together, or the directory fails.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use millrace_host::{File, Mono};
use tokio::sync::oneshot;

use crate::flusher::Staged;
use crate::flusher::part::{Part, Sync};
use crate::journal::commit::{self, DataPlace, Entry, EntryKind, HEAD_LEN};
use crate::journal::mark_form;
use crate::ledger::{Run, put_run};
use crate::mark::{Incarnation, Mark, Position};

/// One part in so many of a commit may be its list of partitions.
const PARTITION_SHARE: usize = 64;

/// What a durable entry means to the ledger.
#[derive(Clone, Debug)]
pub(crate) enum Fold {
    /// Record bytes up to here.
    Data(Incarnation, Position),
    /// A mark.
    Mark(Incarnation, Mark),
    /// Withdrawn.
    Void,
}

/// One round: what is committed together, in one commit or, when marks abound, in several.
#[derive(Debug, Default)]
pub(crate) struct Round {
    pub(crate) number: u64,
    pub(crate) entries: Vec<u8>,
    pub(crate) partitions: Vec<Incarnation>,
    pub(super) slots: Vec<u32>,
    pub(crate) folds: Vec<Fold>,
    pub(super) waiters: Vec<oneshot::Sender<()>>,
    /// Something in it is claimed to somebody: worth a closing commit behind it (C7).
    pub(crate) content: bool,
}

impl Round {
    fn clear(&mut self) {
        self.entries.clear();
        self.partitions.clear();
        self.slots.clear();
        self.folds.clear();
        self.waiters.clear();
        self.content = false;
    }
}

/// Whether the flusher takes work.
#[derive(Clone, Debug)]
pub(crate) enum State {
    Running,
    /// A clean stop was asked for.
    Stopping,
    /// Stopped cleanly, or failed with a reason.
    Ended(Arc<str>),
}

/// A completion to deliver outside the lock.
pub(super) struct Notice {
    pub(super) sink: Arc<dyn crate::sink::DurabilitySink>,
    pub(super) upto: i64,
    pub(super) cut_count: u32,
}

/// How a partition is opened.
pub(crate) struct Opening {
    pub(crate) incarnation: Incarnation,
    /// Its verified end.
    pub(crate) flushed: Position,
    pub(crate) cut_count: u32,
    pub(crate) sink: Arc<dyn crate::sink::DurabilitySink>,
}

/// Everything the handles and the flusher's task share, under one short lock.
pub(crate) struct Gather {
    pub(super) state: State,
    pub(super) round: Round,
    /// Rounds before it that were full of partitions before a commit could take them.
    backlog: VecDeque<Round>,
    /// Who asked for a clean stop.
    pub(super) stop_waiters: Vec<oneshot::Sender<()>>,
    /// The last round that is durable.
    pub(super) durable_round: u64,
    /// Most bytes of entries in one commit.
    pub(super) len_max: usize,
    /// Unflushed bytes of a partition from which on it syncs directly (C1).
    pub(super) direct_bytes: u64,
    pub(super) parts: Vec<Option<Part>>,
    pub(super) vacant: Vec<u32>,
    pub(super) by_incarnation: BTreeMap<Incarnation, u32>,
    /// Somebody waits: commit as soon as the one before is durable.
    pub(super) urgent: bool,
    /// Commit at this time at the latest.
    pub(super) due: Option<Mono>,
    /// Partitions whose files are to be synced now.
    pub(super) sync_queue: Vec<u32>,
    /// Partitions that turned direct and whose bytes nobody waits for yet.
    pub(super) direct_idle: Vec<u32>,
    /// The task sleeps and has to be told.
    pub(super) waker: Option<Waker>,
    /// A commit is on its way: more entries need no wake-up.
    pub(super) committing: bool,
    pub(super) unflushed: u64,
    pub(super) unsettled_files: usize,
}

impl Gather {
    pub(crate) fn new(len_max: usize, direct_bytes: u64) -> Self {
        Self {
            state: State::Running,
            round: Round {
                number: 1,
                ..Round::default()
            },
            backlog: VecDeque::new(),
            stop_waiters: Vec::new(),
            durable_round: 0,
            len_max,
            direct_bytes,
            parts: Vec::new(),
            vacant: Vec::new(),
            by_incarnation: BTreeMap::new(),
            urgent: false,
            due: None,
            sync_queue: Vec::new(),
            direct_idle: Vec::new(),
            waker: None,
            committing: false,
            unflushed: 0,
            unsettled_files: 0,
        }
    }

    /// Nothing waits to be committed.
    pub(super) fn is_empty(&self) -> bool {
        self.round.entries.is_empty() && self.backlog.is_empty()
    }

    /// The commit's header names its partitions: so many, that it never outgrows a file.
    fn is_full_of_partitions(&self) -> bool {
        self.round.partitions.len() >= (self.len_max / PARTITION_SHARE).max(1)
    }

    /// Turns to the next round when a partition more would make this one's header too long.
    fn make_room(&mut self) {
        if self.is_full_of_partitions() {
            let number = self.round.number + 1;
            let full = std::mem::replace(
                &mut self.round,
                Round {
                    number,
                    ..Round::default()
                },
            );
            self.backlog.push_back(full);
        }
    }

    /// The partition has bytes in the journal that keep a file with this round from being reused.
    pub(super) fn holds_back(&self, slot: u32, round: u64) -> bool {
        let part = self.parts.get(slot as usize).and_then(Option::as_ref);
        part.and_then(Part::oldest_round)
            .is_some_and(|oldest| oldest <= round)
    }

    /// Whoever waits learns that it will not happen.
    pub(super) fn drop_waiters(&mut self) {
        self.round.waiters.clear();
        self.backlog.clear();
        self.stop_waiters.clear();
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

    pub(super) fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    pub(super) fn part(&mut self, slot: u32) -> &mut Part {
        self.parts[slot as usize]
            .as_mut()
            .expect("a handle's slot holds its partition")
    }

    /// Opens a partition. One that was let go and isn't idle yet is taken up again.
    pub(super) fn open(&mut self, opening: Opening) -> u32 {
        let Opening {
            incarnation,
            flushed,
            cut_count,
            sink,
        } = opening;
        if let Some(&slot) = self.by_incarnation.get(&incarnation) {
            let part = self.part(slot);
            part.released = false;
            part.sink = sink;
            part.cut_count = part.cut_count.max(cut_count);
            part.flushed = flushed;
            part.end = part.end.max(flushed);
            return slot;
        }
        let part = Part::new(incarnation, flushed, cut_count, sink);
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.parts.push(None);
            (self.parts.len() - 1) as u32
        });
        self.parts[slot as usize] = Some(part);
        self.by_incarnation.insert(incarnation, slot);
        slot
    }

    /// The partition's handle is gone.
    pub(super) fn release(&mut self, slot: u32) {
        if self.is_ended() {
            return;
        }
        let part = self.part(slot);
        part.released = true;
        if part.is_unsettled() && part.sync.is_none() {
            self.want_sync(slot);
        }
        self.forget_if_idle(slot);
    }

    /// A waiter for the gathering round: commit it at once.
    pub(crate) fn hurry(&mut self, tell: oneshot::Sender<()>) {
        self.round.waiters.push(tell);
        self.round.content = true;
        self.urgent = true;
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
        let added = part.files.len() - before;
        self.unsettled_files += added;
        self.want_sync(slot);
    }

    /// Forgets a partition whose handle is gone once nothing of it is outstanding.
    pub(super) fn forget_if_idle(&mut self, slot: u32) {
        let Some(part) = &self.parts[slot as usize] else {
            return;
        };
        if part.released && part.is_idle() && !part.queued {
            let incarnation = part.incarnation;
            if self.by_incarnation.get(&incarnation) == Some(&slot) {
                self.by_incarnation.remove(&incarnation);
            }
            self.parts[slot as usize] = None;
            self.vacant.push(slot);
        }
    }

    /// The partition's index in the gathering round's list.
    fn join(&mut self, slot: u32) -> u32 {
        let number = self.round.number;
        let next = self.round.partitions.len() as u32;
        let part = self.part(slot);
        if let Some((round, index)) = part.place
            && round == number
        {
            return index;
        }
        part.place = Some((number, next));
        let incarnation = part.incarnation;
        self.round.partitions.push(incarnation);
        self.round.slots.push(slot);
        next
    }

    /// Takes record bytes that were just written.
    pub(super) fn stage(&mut self, slot: u32, staged: &Staged<'_>) {
        let len: usize = staged.bytes.iter().map(|piece| piece.len()).sum();
        let end = Position {
            segment: staged.segment,
            bytes: staged.position + len as u64,
            offset: staged.next_offset,
        };
        self.unflushed += len as u64;
        let number = self.round.number;
        let full = self.round.entries.len() + len + HEAD_LEN + commit::DATA_LEN > self.len_max
            || self.is_full_of_partitions();
        let (direct_bytes, files_before) = (self.direct_bytes, self.part(slot).files.len());
        let part = self.part(slot);
        part.unflushed += len as u64;
        part.end = end;
        // What it has in a round of the backlog can't grow any more.
        let split = part.gathered.is_some() && part.place.is_none_or(|(round, _)| round != number);
        let gathered = part.gathered.map_or(0, |(_, bytes)| bytes) + len as u64;
        if part.direct {
            part.direct_bytes += len as u64;
            part.dirty(staged.segment, staged.file, None);
        } else if full || split || gathered >= direct_bytes {
            part.dirty(staged.segment, staged.file, None);
            self.turn_direct(slot, len as u64);
        } else {
            part.dirty(staged.segment, staged.file, Some(number));
            part.gathered = Some((end, gathered));
            self.add_data(slot, staged, end);
        }
        self.unsettled_files += self.part(slot).files.len() - files_before;
        if self.part(slot).direct {
            self.want_direct(slot, staged.urgent);
        } else {
            self.urgent |= staged.urgent;
            self.round.content = true;
        }
    }

    fn add_data(&mut self, slot: u32, staged: &Staged<'_>, end: Position) {
        let index = self.join(slot);
        let start = commit::begin_entry(&mut self.round.entries, EntryKind::Data, Some(index));
        let place = DataPlace {
            segment: staged.segment,
            position: staged.position,
            first_offset: staged.first_offset,
            next_offset: staged.next_offset,
        };
        place.encode(&mut self.round.entries);
        for piece in staged.bytes {
            self.round.entries.extend_from_slice(piece);
        }
        commit::end_entry(&mut self.round.entries, start);
        let incarnation = self.part(slot).incarnation;
        self.round.folds.push(Fold::Data(incarnation, end));
    }

    /// Withdraws what the partition has in the gathering round: its files will be synced (C2).
    fn turn_direct(&mut self, slot: u32, more: u64) {
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
    fn want_direct(&mut self, slot: u32, urgent: bool) {
        let number = self.round.number;
        let part = self.part(slot);
        part.urgent |= urgent;
        if urgent {
            // Its existence rides in the gathering commit: that has to hurry too (C4).
            self.urgent |= part.needs_round >= number;
            self.want_sync(slot);
        } else if part.sync.is_none() && !part.queued {
            self.direct_idle.push(slot);
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

    /// The lag is over: what turned direct goes now.
    pub(super) fn release_idle_direct(&mut self) {
        for slot in std::mem::take(&mut self.direct_idle) {
            if self.parts[slot as usize]
                .as_ref()
                .is_some_and(|part| part.direct_bytes > 0)
            {
                self.want_sync(slot);
            }
        }
    }

    /// Adds a mark.
    pub(super) fn mark(&mut self, slot: u32, mark: Mark) {
        self.make_room();
        let index = self.join(slot);
        let number = self.round.number;
        let part = self.part(slot);
        if matches!(mark, Mark::Segment { .. } | Mark::CutDone { .. }) {
            part.needs_round = number;
        }
        let incarnation = part.incarnation;
        self.add_mark(incarnation, Some(index), mark);
    }

    /// Adds a mark of a partition that need not be open.
    pub(crate) fn mark_closed(&mut self, incarnation: Incarnation, mark: Mark) {
        if let Some(slot) = self.by_incarnation.get(&incarnation) {
            return self.mark(*slot, mark);
        }
        self.make_room();
        let index = self.round.partitions.len() as u32;
        self.round.partitions.push(incarnation);
        self.add_mark(incarnation, Some(index), mark);
    }

    fn add_mark(&mut self, incarnation: Incarnation, index: Option<u32>, mark: Mark) {
        let start = commit::begin_entry(&mut self.round.entries, EntryKind::Mark, index);
        mark_form::encode(&mark, &mut self.round.entries);
        commit::end_entry(&mut self.round.entries, start);
        self.round.folds.push(Fold::Mark(incarnation, mark));
    }

    /// The journal's generation begins under this boot and mount (R3).
    pub(crate) fn start(&mut self, run: &Run) {
        let start = commit::begin_entry(&mut self.round.entries, EntryKind::Start, None);
        put_run(&mut self.round.entries, run);
        commit::end_entry(&mut self.round.entries, start);
    }

    /// Repeats the last commit of the generation before (J4). It is folded already.
    pub(crate) fn repeat(&mut self, entries: &[Entry<'_>]) {
        let mut indexes = BTreeMap::new();
        for entry in entries {
            let (whose, kind) = match entry {
                Entry::Data(whose, ..) => (*whose, EntryKind::Data),
                Entry::Mark(whose, _) => (*whose, EntryKind::Mark),
                Entry::Start(_) => continue,
            };
            let index = *indexes.entry(whose).or_insert_with(|| {
                self.round.partitions.push(whose);
                (self.round.partitions.len() - 1) as u32
            });
            let out = &mut self.round.entries;
            let start = commit::begin_entry(out, kind, Some(index));
            match entry {
                Entry::Data(_, place, bytes) => {
                    place.encode(out);
                    out.extend_from_slice(bytes);
                }
                Entry::Mark(_, payload) => out.extend_from_slice(payload),
                Entry::Start(_) => {}
            }
            commit::end_entry(out, start);
        }
    }

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

    /// Seals the gathering round into `sealed`, whose buffers become the next one's.
    pub(super) fn seal(&mut self, sealed: &mut Round) {
        sealed.clear();
        if let Some(full) = self.backlog.pop_front() {
            *sealed = full;
            self.urgent = true;
        } else {
            sealed.number = self.round.number + 1;
            std::mem::swap(sealed, &mut self.round);
            self.urgent = false;
            self.due = None;
        }
        for &slot in &sealed.slots {
            if let Some(part) = &mut self.parts[slot as usize] {
                part.in_flight = part.gathered.take().or(part.in_flight.take());
            }
        }
    }

    /// A round is durable: advances its partitions.
    pub(super) fn round_durable(&mut self, sealed: &mut Round, notices: &mut Vec<Notice>) {
        self.durable_round = sealed.number;
        for &slot in &sealed.slots {
            let Some(part) = &mut self.parts[slot as usize] else {
                continue;
            };
            let mut advanced = false;
            if let Some((end, bytes)) = part.in_flight.take() {
                let bytes = bytes.min(part.unflushed);
                part.unflushed -= bytes;
                self.unflushed -= bytes;
                advanced |= end > part.flushed;
                part.flushed = part.flushed.max(end);
            }
            if part.needs_round <= sealed.number
                && let Some(end) = part.synced.take()
            {
                advanced |= end > part.flushed;
                part.flushed = part.flushed.max(end);
            }
            if advanced {
                notices.push(notice(part));
            }
            self.forget_if_idle(slot);
        }
        for waiter in sealed.waiters.drain(..) {
            // A receiver that is gone needs no answer.
            let _gone = waiter.send(());
        }
    }

    /// Starts a sync of a partition's files: what to sync, or nothing when there is nothing.
    pub(super) fn begin_sync(&mut self, slot: u32) -> Option<super::settle::Work> {
        let part = self.parts[slot as usize].as_mut()?;
        part.queued = false;
        if part.sync.is_some() {
            // One at a time: its end queues the next.
            return None;
        }
        part.urgent = false;
        let mut work = super::settle::Work::default();
        for one in &mut part.files {
            one.dirty = false;
            one.round_in_sync = one.round.take();
            work.files.push(Arc::clone(&one.file));
        }
        work.files.append(&mut part.beside);
        work.dirs.append(&mut part.names);
        part.sync = Some(Sync {
            upto: part.end,
            bytes: std::mem::take(&mut part.direct_bytes),
            cut_count: part.cut_count,
            waiters: std::mem::take(&mut part.waiters),
        });
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
        self.unsettled_files -= before - part.files.len();
        let valid = sync.cut_count == part.cut_count;
        let mut settled = None;
        if valid {
            let bytes = sync.bytes.min(part.unflushed);
            part.unflushed -= bytes;
            self.unflushed -= bytes;
            settled = Some(sync.upto);
            if part.needs_round > durable_round {
                part.synced = part.synced.max(Some(sync.upto));
            } else if sync.upto > part.flushed {
                part.flushed = sync.upto;
                notices.push(notice(part));
            }
        }
        let again = part.direct_bytes > 0 || (part.direct && part.flushed < part.end && !valid);
        part.direct = again;
        let idle = again && !part.urgent;
        let wanted = (again && part.urgent)
            || !part.waiters.is_empty()
            || (part.released && part.is_unsettled());
        if let Some(upto) = settled {
            self.mark(slot, Mark::Settled(upto));
        }
        if wanted {
            self.want_sync(slot);
        } else if idle {
            self.direct_idle.push(slot);
        }
        for waiter in sync.waiters {
            let _gone = waiter.send(());
        }
        self.forget_if_idle(slot);
    }
}

fn notice(part: &Part) -> Notice {
    Notice {
        sink: Arc::clone(&part.sink),
        upto: part.flushed.offset,
        cut_count: part.cut_count,
    }
}
