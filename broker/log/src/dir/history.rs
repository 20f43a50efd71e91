//! Folding what earlier generations journaled, before anything is written (R1, R2).
//!
//! What always holds: marks count in the order of their commits; of a torn last commit nothing
//! counts; what is broken before the last is said and hurts exactly the partitions it may have
//! touched; a commit whose header is gone while a later one is there stops the start.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use millrace_probe::{Branch, Bug, planted, reached};

use crate::codec::Take;
use crate::error::Error;
use crate::journal::commit::CommitId;
use crate::journal::commit::{DataPlace, Entry, Opened};
use crate::journal::mark_form;
use crate::journal::reader::{Generation, Located, Scan};
use crate::ledger::{Ledger, take_run};
use crate::mark::{Incarnation, Mark, Position, SegmentId};

/// The place of an entry in the order of all entries: commit, index.
pub(crate) type Sequence = (CommitId, usize);

/// What the journals of earlier generations say.
pub(crate) struct History {
    /// Everything folded.
    pub(crate) ledger: Ledger,
    /// Commits that count, in order, for replay.
    pub(crate) commits: Vec<(CommitId, Located)>,
    /// Every cut, with its place in the order.
    pub(crate) cuts: BTreeMap<Incarnation, Vec<(Sequence, Position)>>,
    /// Partitions with damaged entries.
    pub(crate) damaged: BTreeSet<Incarnation>,
    /// The last commit found, whole, if the ledger on disk doesn't know it: it may have missed the
    /// disk, so it is to be repeated (J4).
    pub(crate) repeat: Option<Bytes>,
    /// Generations with record bytes that may not be settled.
    pub(crate) generations: usize,
}

impl History {
    /// Folds everything after the ledger's last commit.
    pub(crate) async fn fold(ledger: Ledger, scan: Scan) -> Result<Self, Error> {
        let known = ledger.last;
        let mut history = Self {
            ledger,
            commits: Vec::new(),
            cuts: BTreeMap::new(),
            damaged: BTreeSet::new(),
            repeat: None,
            generations: 0,
        };
        for (generation, commits) in scan.generations {
            if !commits.is_empty() {
                history.generations += 1;
                history.fold_generation(generation, commits, known).await?;
            }
        }
        for incarnation in &history.damaged {
            history.ledger.damage(*incarnation);
        }
        Ok(history)
    }

    async fn fold_generation(
        &mut self,
        generation: u64,
        mut commits: Generation,
        known: CommitId,
    ) -> Result<(), Error> {
        let settled = self.ledger.settled_through;
        let first = if settled.generation == generation {
            settled.number + 1
        } else {
            1
        };
        let last = commits.last_key_value().map_or(0, |(number, _)| *number);
        let mut previous_crc = (first == 1).then_some(0);
        for number in first..=last {
            let id = CommitId { generation, number };
            let Some(located) = commits.remove(&number) else {
                reached(Branch::CommitMissing);
                return Err(Error::Corrupt {
                    what: format!(
                        "journal commit {number} of generation {generation} can't be read, and \
                         commit {last} after it is there"
                    ),
                });
            };
            let bytes = located.load().await?;
            let opened = located.open(&bytes);
            if !opened.is_whole() {
                if number == last {
                    reached(Branch::CommitTorn);
                    tracing::info!(
                        place = located.place(),
                        number,
                        "the last commit is torn: \
                        nothing of it counts"
                    );
                    return Ok(());
                }
                self.hurt(&located, &opened, number);
            }
            if previous_crc.is_some_and(|crc| crc != located.header.previous_crc) {
                return Err(Error::Corrupt {
                    what: format!(
                        "journal commit at {} follows another than the one before it",
                        located.place()
                    ),
                });
            }
            previous_crc = opened.crc_all;
            self.fold_commit(id, &opened, id > known)?;
            self.ledger.wall_ms = self.ledger.wall_ms.max(located.header.wall_ms);
            self.ledger.last = self.ledger.last.max(id);
            self.repeat = (number == last && id > known)
                .then(|| bytes.clone())
                .filter(|_| !planted(Bug::JournalContinuedAfterTornCommit));
            self.commits.push((id, located));
        }
        Ok(())
    }

    fn hurt(&mut self, located: &Located, opened: &Opened<'_>, number: u64) {
        reached(Branch::CommitDamaged);
        tracing::error!(place = located.place(), number, partitions = ?opened.damaged,
            "a commit of the journal is damaged, and later ones are there: its intact entries \
             count, the partitions with damaged ones go offline");
        self.damaged.extend(opened.damaged.iter().copied());
    }

    /// What an entry says is of the generation that was begun last: in the first commit of one
    /// stands what is repeated of the one before (J4), and keeps its boot (R3).
    fn fold_commit(&mut self, id: CommitId, opened: &Opened<'_>, new: bool) -> Result<(), Error> {
        if !new {
            reached(Branch::CommitInLedger);
        }
        for (index, entry) in opened.entries.iter().enumerate() {
            match entry {
                Entry::Start(payload) if new => {
                    let run = take_run(&mut Take(payload)).ok_or_else(|| unreadable(id))?;
                    self.ledger.start(run);
                }
                Entry::Data(whose, place, bytes) if new => {
                    let generation = self.ledger.run.generation;
                    self.ledger.data(*whose, generation, end_of(place, bytes));
                }
                Entry::Start(_) | Entry::Data(..) => {}
                Entry::Mark(whose, payload) => {
                    let mark = mark_form::decode(payload).ok_or_else(|| unreadable(id))?;
                    if let Mark::CutIntent { to, .. } = &mark {
                        reached(Branch::CutFolded);
                        self.cuts
                            .entry(*whose)
                            .or_default()
                            .push(((id, index), *to));
                    }
                    if new {
                        let generation = self.ledger.run.generation;
                        self.ledger.apply(*whose, generation, &mark);
                    }
                }
            }
        }
        Ok(())
    }

    /// The part of an entry's bytes that still belongs into its segment file: above what is settled
    /// and below every later cut. `None` when nothing does.
    pub(crate) fn live(
        &self,
        whose: &Incarnation,
        sequence: Sequence,
        place: &DataPlace,
        len: u64,
    ) -> Option<std::ops::Range<u64>> {
        let entry = self.ledger.entries.get(whose)?;
        let known = entry
            .segments
            .iter()
            .any(|segment| is_of(place.segment, segment.id));
        if entry.deleting || !known {
            reached(Branch::ReplayOfRemoved);
            return None;
        }
        let (mut from, mut to) = (place.position, place.position.checked_add(len)?);
        if let Some(settled) = entry.settled {
            if settled.segment.base_offset > place.segment.base_offset {
                return None;
            }
            if settled.segment == place.segment {
                if settled.bytes > from {
                    reached(Branch::ReplayBelowSettled);
                }
                from = from.max(settled.bytes);
            }
        }
        for (at, cut) in self.cuts.get(whose).into_iter().flatten() {
            if *at > sequence && !planted(Bug::ReplayIntoReplacedSegment) {
                if cut.segment.base_offset < place.segment.base_offset {
                    return None;
                }
                if cut.segment.base_offset == place.segment.base_offset {
                    if cut.bytes < to {
                        reached(Branch::ReplayEndedByCut);
                    }
                    to = to.min(cut.bytes);
                }
            }
        }
        (from < to).then_some(from..to)
    }
}

/// Whether bytes of `journaled` belong into the segment as it is now (S4).
fn is_of(journaled: SegmentId, now: SegmentId) -> bool {
    let is_replaced = journaled.generation != now.generation;
    journaled.base_offset == now.base_offset
        && (!is_replaced || planted(Bug::ReplayIntoReplacedSegment))
}

fn end_of(place: &DataPlace, bytes: &[u8]) -> Position {
    Position {
        segment: place.segment,
        bytes: place.position.saturating_add(bytes.len() as u64),
        offset: place.next_offset,
    }
}

fn unreadable(id: CommitId) -> Error {
    Error::Corrupt {
        what: format!(
            "journal commit {} of generation {} holds an entry that this version can't read",
            id.number, id.generation
        ),
    }
}
