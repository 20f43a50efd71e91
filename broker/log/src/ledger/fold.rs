//! The fold of durable marks (L1): a deterministic function of the commits in their order.
//!
//! What always holds: folding a suffix twice gives the same ledger (a start repeats the last commit
//! of the generation before, J4); an incarnation has an entry exactly if it was ever written and
//! its deletion isn't done (L2).

use std::collections::BTreeMap;

use millrace_probe::{Bug, planted};

use crate::journal::commit::CommitId;
use crate::ledger::entry::{LedgerEntry, PendingCut, SealedEntry, SegmentEntry, push};
use crate::mark::{Incarnation, Mark, Position, SegmentId, SnapshotName};

/// Producer snapshots remembered per partition.
const SNAPSHOTS_MAX: usize = 3;

/// Bytes that nobody knows the writer of are older than every generation: of another boot (R3).
pub(crate) const UNKNOWN_GENERATION: u64 = 0;

/// Which boot and mount a generation of the journal ran under. `None`: it could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) generation: u64,
    pub(crate) boot: Option<String>,
    pub(crate) mount: Option<String>,
}

/// What a log directory knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    /// The last commit folded.
    pub(crate) last: CommitId,
    /// Everything journaled up to here is settled in segment files.
    pub(crate) settled_through: CommitId,
    /// The newest run known.
    pub(crate) run: Run,
    /// The oldest generation since which boot and mount have been those of `run` (R3).
    pub(crate) same_since: u64,
    /// The latest wall time stamped into a commit, milliseconds (A4).
    pub(crate) wall_ms: i64,
    pub(crate) entries: BTreeMap<Incarnation, LedgerEntry>,
    /// Bytes that all entries take in the ledger file.
    pub(crate) entries_len: usize,
}

impl Ledger {
    /// A generation begins under this boot and mount. What differs or is unknown is another boot.
    pub(crate) fn start(&mut self, run: Run) {
        if run.generation == self.run.generation && run == self.run {
            return;
        }
        let known = run.boot.is_some() && run.mount.is_some();
        if !(known && run.boot == self.run.boot && run.mount == self.run.mount) {
            self.same_since = run.generation;
        } else if planted(Bug::RecoveryDebtForgotten) {
            self.same_since = UNKNOWN_GENERATION;
        }
        self.run = run;
    }

    /// Record bytes up to `end` became durable in the journal.
    pub(crate) fn data(&mut self, incarnation: Incarnation, generation: u64, end: Position) {
        if let Some(entry) = self.entries.get_mut(&incarnation) {
            entry.soil(generation);
            entry.flushed = entry.flushed.max(Some(end));
        }
    }

    /// A partition's bytes in the journal were damaged: it stays offline (R1).
    pub(crate) fn damage(&mut self, incarnation: Incarnation) {
        self.change(incarnation, |entry| entry.damaged = true);
    }

    /// One durable mark.
    pub(crate) fn apply(&mut self, incarnation: Incarnation, generation: u64, mark: &Mark) {
        if *mark == Mark::DeleteDone {
            if let Some(entry) = self.entries.remove(&incarnation) {
                self.entries_len -= entry.encoded_len();
            }
            return;
        }
        if !self.entries.contains_key(&incarnation) {
            let (Mark::Segment { topic, .. } | Mark::TakenIn { topic, .. }) = mark else {
                // Behind a finished deletion, or of a partition whose first mark was damaged.
                tracing::debug!(%incarnation, ?mark, "mark of a partition that isn't known");
                return;
            };
            self.change(incarnation, |entry| {
                entry.topic = topic.clone();
                entry.since_generation = generation;
            });
        }
        self.change(incarnation, |entry| entry.apply(generation, mark));
    }

    /// Puts a partition in that was found without a ledger.
    pub(crate) fn put(&mut self, incarnation: Incarnation, entry: LedgerEntry) {
        self.change(incarnation, |place| *place = entry);
    }

    fn change(&mut self, incarnation: Incarnation, change: impl FnOnce(&mut LedgerEntry)) {
        let mut added = 0;
        let entry = self.entries.entry(incarnation).or_insert_with(|| {
            let entry = LedgerEntry {
                log_start: -1,
                high_watermark: -1,
                ..LedgerEntry::default()
            };
            added = entry.encoded_len();
            entry
        });
        let before = entry.encoded_len();
        change(entry);
        self.entries_len = self.entries_len + added + entry.encoded_len() - before;
    }
}

impl LedgerEntry {
    /// Bytes were written: no longer clean, and if it was, this is the oldest unverified write.
    fn soil(&mut self, generation: u64) {
        if self.close.take().is_some() {
            self.since_generation = generation;
        }
    }

    fn apply(&mut self, generation: u64, mark: &Mark) {
        match mark {
            Mark::Segment { id, holes, .. } => {
                self.soil(generation);
                self.add_segment(*id, *holes);
            }
            Mark::TakenIn { id, .. } => {
                self.close = None;
                self.since_generation = UNKNOWN_GENERATION;
                self.add_segment(*id, false);
            }
            Mark::Sealed {
                end,
                max_timestamp_ms,
            } => self.seal(end, *max_timestamp_ms),
            Mark::SegmentRemoved(id) => self.segments.retain(|segment| segment.id != *id),
            Mark::Replaced {
                old,
                new,
                max_timestamp_ms,
                clean_upto,
            } => {
                let new = SegmentEntry {
                    id: new.segment,
                    holes: true,
                    sealed: Some(sealed(new, *max_timestamp_ms)),
                    cleaned: Some(*clean_upto),
                    swapping: true,
                };
                self.replace(old, new);
            }
            Mark::Cleaned { segment, upto } => self.cleaned(*segment, *upto),
            Mark::Flushed(position) => {
                self.soil(generation);
                self.flushed = self.flushed.max(Some(*position));
            }
            Mark::Settled(position) => {
                self.settled = self.settled.max(Some(*position));
                self.flushed = self.flushed.max(Some(*position));
            }
            Mark::Recovered(position) => {
                self.settled = Some(*position);
                self.flushed = Some(*position);
                self.close = None;
                self.since_generation = generation;
            }
            Mark::LogStart(offset) => self.set_log_start(*offset),
            Mark::HighWatermark(offset) => self.high_watermark = self.high_watermark.max(*offset),
            Mark::Epoch {
                epoch,
                start_offset,
            } => self.add_epoch(*epoch, *start_offset),
            Mark::Mode(mode) => self.mode = *mode,
            Mark::Snapshot(name) => self.add_snapshot(*name),
            Mark::CutIntent { to, cut_count } => self.cut(generation, *to, *cut_count),
            Mark::CutDone { cut_count } => self.cut_done(*cut_count),
            Mark::DeleteIntent => self.deleting = true,
            Mark::DeleteDone => {}
            Mark::Close(position) => {
                self.settled = Some(*position);
                self.flushed = Some(*position);
                self.close = Some(*position);
                self.since_generation = generation;
            }
            Mark::Damaged => self.damaged = true,
        }
    }

    fn seal(&mut self, end: &Position, max_timestamp_ms: i64) {
        if let Some(segment) = self.segments.iter_mut().find(|one| one.id == end.segment) {
            segment.sealed = Some(sealed(end, max_timestamp_ms));
        }
    }

    /// The files of a cleaned segment are in their place.
    fn cleaned(&mut self, id: SegmentId, upto: i64) {
        if let Some(segment) = self.segments.iter_mut().find(|one| one.id == id) {
            segment.holes = true;
            segment.cleaned = Some(upto);
            segment.swapping = false;
        }
    }

    fn add_segment(&mut self, id: SegmentId, holes: bool) {
        match self
            .segments
            .iter_mut()
            .find(|one| one.id.base_offset == id.base_offset)
        {
            Some(segment) if segment.id == id => segment.holes = holes,
            Some(segment) => {
                *segment = SegmentEntry {
                    id,
                    holes,
                    ..SegmentEntry::default()
                }
            }
            None => {
                let segment = SegmentEntry {
                    id,
                    holes,
                    ..SegmentEntry::default()
                };
                push(&mut self.segments, segment);
                self.segments.sort_by_key(|one| one.id.base_offset);
            }
        }
    }

    /// Folded twice it finds nothing to replace.
    fn replace(&mut self, old: &[SegmentId], new: SegmentEntry) {
        let is_known = |id: &SegmentId| self.segments.iter().any(|one| one.id == *id);
        if old.is_empty() || !old.iter().all(is_known) {
            return;
        }
        self.segments.retain(|one| !old.contains(&one.id));
        push(&mut self.segments, new);
        self.segments.sort_by_key(|one| one.id.base_offset);
    }

    fn set_log_start(&mut self, offset: i64) {
        self.log_start = self.log_start.max(offset);
        let start = self.log_start;
        // The epoch that holds the log start stays; those wholly below it say nothing any more.
        let first = self
            .epochs
            .iter()
            .rposition(|(_, at)| *at <= start)
            .unwrap_or(0);
        self.epochs.drain(..first);
    }

    fn add_epoch(&mut self, epoch: i32, start_offset: i64) {
        self.epochs
            .retain(|(known, at)| *known < epoch && *at < start_offset);
        push(&mut self.epochs, (epoch, start_offset));
    }

    fn add_snapshot(&mut self, name: SnapshotName) {
        self.snapshots.retain(|one| one.offset != name.offset);
        push(&mut self.snapshots, name);
        self.snapshots.sort_by_key(|one| one.offset);
        let excess = self.snapshots.len().saturating_sub(SNAPSHOTS_MAX);
        self.snapshots.drain(..excess);
    }

    fn cut_done(&mut self, cut_count: u32) {
        let is_done = |cut: &PendingCut| cut.cut_count <= cut_count;
        if self.pending_cut.as_ref().is_some_and(is_done) && !planted(Bug::OldCutReplayed) {
            self.pending_cut = None;
        }
    }

    fn cut(&mut self, generation: u64, to: Position, cut_count: u32) {
        self.soil(generation);
        if cut_count < self.cut_count {
            return;
        }
        self.cut_count = cut_count;
        self.pending_cut = Some(PendingCut { to, cut_count });
        self.flushed = self.flushed.min(Some(to));
        self.settled = self.settled.min(Some(to));
        self.segments
            .retain(|segment| segment.id.base_offset <= to.segment.base_offset);
        if let Some(active) = self.segments.last_mut() {
            active.sealed = None;
            active.cleaned = active.cleaned.map(|upto| upto.min(to.offset));
        }
        self.epochs.retain(|(_, at)| *at < to.offset);
        self.snapshots.retain(|name| name.lies_within(to.offset));
    }
}

#[cfg(test)]
#[path = "fold_tests.rs"]
mod tests;

/// How a segment ended.
fn sealed(end: &Position, max_timestamp_ms: i64) -> SealedEntry {
    SealedEntry {
        bytes: end.bytes,
        next_offset: end.offset,
        max_timestamp_ms,
    }
}
