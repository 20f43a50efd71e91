//! The end of a run whose disk rots: what is durable is harmed while the broker is away and while it
//! serves, over some lives, with somebody who writes and reads, and an operator who does what a
//! refusal says.
//!
//! What always holds: each partition is read after every start, and owes what was acknowledged or
//! shown before; where only such files rot as stand elsewhere too, nobody misses anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use millrace_client::Topic;
use millrace_log::check;
use millrace_sim::{DiskEffect, DiskFault, DiskOp, FlipAt, When};

use super::{BROKER, Failure, Run};
use crate::faults::aim::Aim;
use crate::faults::commits::is_journal;
use crate::faults::rot::{self, Fate};
use crate::faults::watched::{Allowed, Watched};
use crate::faults::{End, What};
use crate::shape::Row;

/// For how long writes rot before the workload ends.
const WRITE_ROT_MS: u64 = 300;
/// Nothing more comes for so long before a life ends: what was committed last is proven by then (C7).
/// Without that a bit of it that flips later makes it a commit that was never whole.
const IDLE_MS: u64 = 100;
/// How much a reader asks for: each batch by itself, a few, or all at once.
const READ_BYTES: [i32; 4] = [1, 700, 20_000, 8 << 20];
/// The first start, and one behind what an operator did.
const STARTS: u32 = 2;

/// What rots, and who watches it.
#[derive(Debug, Default)]
pub(super) struct Rotting {
    watched: Vec<Watched>,
    fates: BTreeMap<Fate, u32>,
    /// A kind of file was struck that stands nowhere else.
    may_be_missed: bool,
    /// Bytes of a ledger were struck.
    ledgers: BTreeSet<PathBuf>,
    /// So were some of a journal, or of what may be one.
    journals: bool,
    /// The directories whose journal was struck since they were read.
    struck: BTreeSet<PathBuf>,
    /// Something was struck since it was read.
    unread: bool,
}

impl Run {
    /// Lets writes rot from now on if the list says so; whether anything will rot.
    pub(super) async fn begin_rot(&mut self) -> bool {
        for fault in &self.faults {
            let What::WriteRot {
                misdirected,
                per_mille,
            } = fault.what
            else {
                continue;
            };
            let effect = if misdirected {
                DiskEffect::Misdirect
            } else {
                DiskEffect::FlipBit
            };
            let fault = DiskFault {
                op: DiskOp::Write,
                path_contains: String::new(),
                when: When::PerMille(per_mille),
                effect,
            };
            self.world.inject(BROKER, fault);
        }
        let rots = !self.faults.is_empty();
        if rots {
            self.pause_ms(WRITE_ROT_MS).await;
        }
        rots
    }

    /// The rest of the list: strikes, ends of lives, and starts in between, each judged. What became
    /// of the partitions, each time that they were read.
    pub(super) async fn rot(&mut self, topic: &Topic) -> Result<BTreeMap<Fate, u32>, Failure> {
        let mut rotting = self.watch(topic).await?;
        let mut faults = std::mem::take(&mut self.faults);
        while let Some(fault) = faults.pop() {
            self.world.note(&format!("fault {fault}"));
            match fault.what {
                What::WriteRot { .. } => {
                    rotting.may_be_missed = true;
                    rotting.journals = true;
                    rotting.unread = true;
                }
                What::End(end, away_ms) => {
                    self.work(&mut rotting).await?;
                    self.pause_ms(IDLE_MS).await;
                    self.end(end, away_ms).await;
                    // A failed sync takes from the page cache until the next boot (R5).
                    if matches!(end, End::PowerCut { .. }) || self.errors().syncs > 0 {
                        rotting.watched.iter_mut().for_each(Watched::lost_power);
                    }
                }
                What::Flip { away, .. } => {
                    if !away && !self.serve(&mut rotting).await? {
                        break;
                    }
                    if away == self.broker.is_none() {
                        self.strike(fault.what, &mut rotting);
                    }
                }
                What::RotBegins
                | What::StartCut(..)
                | What::Disk(_)
                | What::DiskAtStart(_)
                | What::SyncError { .. }
                | What::Cut
                | What::Partition { .. }
                | What::Drip { .. }
                | What::Clock(_)
                | What::Absent { .. }
                | What::Gone { .. } => {}
            }
            let is_next = |what: Option<What>| !matches!(what, Some(What::Flip { away: true, .. }));
            if is_next(faults.last().map(|fault| fault.what)) && !self.serve(&mut rotting).await? {
                break;
            }
        }
        if self.broker.is_some() {
            self.work(&mut rotting).await?;
        }
        Ok(rotting.fates)
    }

    /// Reads everything before anything shows.
    async fn watch(&self, topic: &Topic) -> Result<Rotting, Failure> {
        let leaves = [Row::RetentionMs, Row::RetentionBytes, Row::DeleteRecords];
        let own = Allowed {
            page_cache: self.plan.terms.page_cache,
            front_leaves: leaves.contains(&self.row),
        };
        let witnessed = self
            .witness
            .topic()
            .map(|topic| (topic, Allowed::default()));
        let mut rotting = Rotting::default();
        for (topic, allowed) in [Some((topic, own)), witnessed].into_iter().flatten() {
            for partition in 0..topic.partitions {
                let all = READ_BYTES[3];
                let reading = rot::read(&self.witness, topic, partition, all).await;
                match &reading.broken {
                    None => rotting
                        .watched
                        .push(Watched::new(topic, partition, allowed, reading)),
                    // Its front leaves while it is read.
                    Some(_) if allowed.front_leaves => {}
                    Some(why) => {
                        let place = format!("{}-{partition}", topic.name);
                        let why = format!("{place} can't be read before anything shows: {why}");
                        return Err(why.into());
                    }
                }
            }
        }
        Ok(rotting)
    }

    /// Somebody writes, and reads what was struck.
    async fn work(&mut self, rotting: &mut Rotting) -> Result<(), Failure> {
        for watched in &mut rotting.watched {
            let worked = watched.traffic(&self.witness).await;
            worked.map_err(|why| wrong(watched, &why))?;
        }
        if rotting.unread {
            self.read_all(rotting).await?;
        }
        Ok(())
    }

    /// Sees to it that the broker serves, and reads everything once it does. `false`: it refuses to
    /// serve rather than to serve something else.
    async fn serve(&mut self, rotting: &mut Rotting) -> Result<bool, Failure> {
        if self.broker.is_some() {
            return Ok(true);
        }
        for nth in 1..=STARTS {
            let is_last = nth == STARTS || rotting.ledgers.is_empty();
            match self.try_start().await {
                Ok(broker) => {
                    self.broker = Some(broker);
                    rotting.struck.clear();
                    let whole = self.read_all(rotting).await?;
                    if whole || is_last {
                        return Ok(true);
                    }
                }
                Err(reason) => {
                    self.world.note(&format!("no start: {reason}"));
                    if !rotting.may_be_missed {
                        return Err(format!("what rots is elsewhere too, but: {reason}").into());
                    }
                    if is_last {
                        let count = rotting.watched.len() as u32;
                        *rotting.fates.entry(Fate::Unavailable).or_default() += count;
                        return Ok(false);
                    }
                }
            }
            self.end(End::Kill, 0).await;
            self.rebuild_ledgers(rotting).await;
        }
        Ok(false)
    }

    /// The operator does what the refusal of a directory says; of one that has a ledger nothing is
    /// done.
    async fn rebuild_ledgers(&mut self, rotting: &mut Rotting) {
        let host = self.broker_host();
        let mut rebuilt = false;
        for directory in &self.directories {
            let done = check::rebuild_ledger(&host, Path::new(directory)).await;
            let said = done.as_ref().map(|_| "done").map_err(ToString::to_string);
            self.world.note(&format!("ledger of {directory}: {said:?}"));
            rebuilt |= done.is_ok();
        }
        self.world.kill(BROKER);
        if rebuilt {
            rotting.ledgers.clear();
            let journal_too = rotting.journals;
            let watched = rotting.watched.iter_mut();
            watched.for_each(|one| one.lost_ledger(journal_too));
        }
    }

    /// Reads everything; whether all is there.
    async fn read_all(&mut self, rotting: &mut Rotting) -> Result<bool, Failure> {
        let mut whole = true;
        rotting.unread = false;
        for watched in &mut rotting.watched {
            let bytes = READ_BYTES[self.world.draw(READ_BYTES.len() as u64) as usize];
            let read = watched.read(&self.witness, bytes).await;
            let fate = read.map_err(|why| wrong(watched, &why))?;
            let broken = watched.broken().to_owned();
            self.world
                .note(&format!("{}: {fate:?} {broken}", watched.name()));
            if fate != Fate::Whole && !rotting.may_be_missed {
                let why = format!("{fate:?}, though what rots is elsewhere too: {broken}");
                return Err(wrong(watched, &why));
            }
            whole &= fate == Fate::Whole;
            *rotting.fates.entry(fate).or_default() += 1;
        }
        Ok(whole)
    }

    /// Flips the bits that the list names.
    fn strike(&mut self, what: What, rotting: &mut Rotting) {
        let What::Flip {
            aim,
            choice,
            bit,
            everywhere,
            ..
        } = what
        else {
            return;
        };
        let at = if everywhere {
            FlipAt::Everywhere
        } else {
            FlipAt::Device
        };
        for target in aim.targets(&self.world, BROKER, choice) {
            // Two bits may hurt a commit and the one that proves it: then nobody can tell (R1).
            let journal = Some(&target.path).filter(|path| is_journal(path));
            let directory = journal.and_then(|path| path.parent());
            if directory.is_some_and(|directory| !rotting.struck.insert(directory.to_owned())) {
                continue;
            }
            let flipped = self
                .world
                .flip_bit(BROKER, &target.path, target.byte, bit, at);
            if !flipped {
                continue;
            }
            rotting.unread = true;
            if aim == Aim::Producers {
                rotting.watched.iter_mut().for_each(Watched::lost_snapshots);
            }
            rotting.journals |= [Aim::Any, Aim::Journal].contains(&aim);
            let is_ledger = [Aim::Ledger, Aim::Ledgers].contains(&aim);
            if is_ledger {
                rotting.ledgers.insert(target.path);
            }
            rotting.may_be_missed |= !aim.heals() || rotting.ledgers.len() > 1;
        }
    }
}

fn wrong(watched: &Watched, why: &str) -> Failure {
    Failure {
        rules: vec!["rot"],
        reason: format!("{}: {why}", watched.name()),
    }
}
