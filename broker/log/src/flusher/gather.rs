//! The gathering commit: everything that happened since the last one was sealed.
//!
//! What always holds: record bytes are copied here when they are staged, never read back from a
//! file (J5); the order of entries is the order of the calls; everything in one gathering becomes
//! durable together, or the directory fails.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use millrace_host::Mono;
use millrace_probe::{Bug, planted};
use tokio::sync::oneshot;

use crate::flusher::Staged;
use crate::flusher::part::Part;
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
    /// By slot. Boxed, so that the slots of partitions that are gone take next to nothing.
    pub(super) parts: Vec<Option<Box<Part>>>,
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

    /// Drops an empty buffer larger than `max`.
    pub(super) fn give_back_buffer(&mut self, max: usize) {
        if self.round.entries.is_empty() && self.round.entries.capacity() > max {
            self.round.entries = Vec::new();
        }
    }

    /// Whoever waits learns that it will not happen.
    pub(super) fn drop_waiters(&mut self) {
        self.round.waiters.clear();
        self.backlog.clear();
        self.stop_waiters.clear();
        for part in self.parts.iter_mut().flatten() {
            part.waiters.clear();
            // Its files stay open (S2), but nobody will sync them.
            part.sync = None;
        }
    }

    pub(super) fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    /// Whether bytes and marks of the partition are taken: the directory goes on, and no removal of
    /// the partition has begun.
    pub(super) fn takes(&mut self, slot: u32) -> bool {
        !self.is_ended() && !self.part(slot).removing
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
            let shared = part.handles > 0;
            part.handles += 1;
            if shared {
                // What its first handle knows is newer, and whoever waits, waits there.
                return slot;
            }
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
        self.parts[slot as usize] = Some(Box::new(part));
        self.by_incarnation.insert(incarnation, slot);
        slot
    }

    /// The partition's handle is gone.
    pub(super) fn release(&mut self, slot: u32) {
        if self.is_ended() {
            return;
        }
        let part = self.part(slot);
        part.handles -= 1;
        if part.handles > 0 {
            return;
        }
        part.released = true;
        if part.is_unsettled() && part.sync.is_none() {
            self.want_sync(slot);
        }
        self.forget_if_idle(slot);
    }

    /// A waiter for the gathering round, in which it has something.
    pub(super) fn tell(&mut self, tell: oneshot::Sender<()>) {
        self.round.waiters.push(tell);
    }

    /// A waiter for the gathering round: commit it at once.
    pub(crate) fn hurry(&mut self, tell: oneshot::Sender<()>) {
        self.tell(tell);
        self.round.content = true;
        self.urgent = true;
    }

    /// Forgets a partition whose handle is gone once nothing of it is outstanding.
    pub(super) fn forget_if_idle(&mut self, slot: u32) {
        let Some(part) = &self.parts[slot as usize] else {
            return;
        };
        // Whoever opens it next has to wait for that round too.
        let needed = part.needs_round > self.durable_round;
        if part.released && part.is_idle() && !part.queued && !needed {
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
        let split = part.gathered.is_some() && part.gathered_round != number;
        let gathered = part.gathered.map_or(0, |(_, bytes)| bytes) + len as u64;
        if part.direct && !planted(Bug::SuffixAckedBeforePrefix) {
            part.direct_bytes += len as u64;
            part.dirty(staged.segment, staged.file, None);
        } else if full || split || gathered >= direct_bytes {
            part.dirty(staged.segment, staged.file, None);
            self.turn_direct(slot, len as u64);
        } else {
            part.dirty(staged.segment, staged.file, Some(number));
            part.gathered = Some((end, gathered));
            part.gathered_round = number;
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

    /// Adds a mark.
    pub(super) fn mark(&mut self, slot: u32, mark: Mark) {
        self.make_room();
        let index = self.join(slot);
        let number = self.round.number;
        let part = self.part(slot);
        if matches!(
            mark,
            Mark::Segment { .. } | Mark::TakenIn { .. } | Mark::CutDone { .. }
        ) {
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

    /// Repeats the last commit of the generation before, which ran as `run` (J4). It is folded
    /// already. Where it begins a generation that is said again too: what it holds stays that
    /// generation's, and of its boot (R3).
    pub(crate) fn repeat(&mut self, run: &Run, entries: &[Entry<'_>]) {
        let mut indexes = BTreeMap::new();
        self.start(run);
        for entry in entries {
            let (whose, kind) = match entry {
                Entry::Data(whose, ..) => (Some(*whose), EntryKind::Data),
                Entry::Mark(whose, _) => (Some(*whose), EntryKind::Mark),
                Entry::Start(_) => (None, EntryKind::Start),
            };
            let index = whose.map(|whose| {
                *indexes.entry(whose).or_insert_with(|| {
                    self.round.partitions.push(whose);
                    (self.round.partitions.len() - 1) as u32
                })
            });
            let out = &mut self.round.entries;
            let start = commit::begin_entry(out, kind, index);
            match entry {
                Entry::Data(_, place, bytes) => {
                    place.encode(out);
                    out.extend_from_slice(bytes);
                }
                Entry::Mark(_, payload) | Entry::Start(payload) => out.extend_from_slice(payload),
            }
            commit::end_entry(out, start);
        }
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
            if let Some(part) = &mut self.parts[slot as usize]
                && part.gathered_round == sealed.number
            {
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
}

pub(super) fn notice(part: &Part) -> Notice {
    Notice {
        sink: Arc::clone(&part.sink),
        upto: part.flushed.offset,
        cut_count: part.cut_count,
    }
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
