//! What many runs came to together: the table at the end of a suite, and what it must show.
//!
//! What always holds: faults are counted once they took effect, records once they were acknowledged
//! or shown and then read back, hours only of runs that were busy.

use std::collections::BTreeMap;
use std::fmt::Write;

use millrace_probe::Branch;
use millrace_sim::faults;
use serde_json::{Value, json};

use crate::simulation::Outcome;

/// Operations in a simulated second below which time does not count.
const BUSY_PER_SECOND: f64 = 100.0;

/// Branches without which a suite proves nothing; each of the others that is not taken is a finding,
/// and the table says so.
pub const MUST_REACH: &[Branch] = &[
    Branch::DirectoryFormatted,
    Branch::DirectoryLoaded,
    Branch::LastCommitRepeated,
    Branch::CommitTorn,
    Branch::CommitInLedger,
    Branch::ReplayBelowSettled,
    Branch::BytesReplayed,
    Branch::ReplayMadeFile,
    Branch::ReplayMadeDirectory,
    Branch::IdentityReplayed,
    Branch::GenerationRetired,
    Branch::OpenedClean,
    Branch::PartitionRecovered,
    Branch::RecoveredSameBoot,
    Branch::RecoveredOtherBoot,
    Branch::SealedSegmentTrusted,
    Branch::CutBadBatch,
    Branch::SnapshotLoaded,
    Branch::SnapshotSwept,
    Branch::IndexRebuilt,
    Branch::MetadataSnapshotLoaded,
    Branch::MetadataDirectoryFailed,
    Branch::DirectoryGone,
    Branch::GroupRemovalsLoaded,
    Branch::GroupMembersLoaded,
    Branch::GroupAskedWhileLoading,
    Branch::GroupAppendRefused,
    Branch::MemberIdGiven,
    Branch::NewMemberGone,
    Branch::SessionLapsed,
    Branch::StaticMemberReplaced,
    Branch::GroupOffsetExpired,
    Branch::GroupEndedByItself,
];

/// Branches that the crash images take (`cargo xtask images` names all of theirs): where no seed takes
/// one of them, it is not untried.
const BY_IMAGES: &[Branch] = &[
    Branch::FormatCutShort,
    Branch::LedgerBroken,
    Branch::OlderGenerationSettled,
    Branch::CutFolded,
    Branch::ReplayOfRemoved,
    Branch::ReplayEndedByCut,
    Branch::JournalFileGivenBack,
    Branch::ClosedOtherLength,
    Branch::ClosedThenRolled,
    Branch::IdentityWrittenAgain,
    Branch::CutFinished,
    Branch::DirectoryMadeAnew,
    Branch::ChainBrokenAboveMark,
    Branch::CutIncompleteBatch,
    Branch::CutZeros,
    Branch::SegmentAdopted,
    Branch::AdoptedSegmentCut,
    Branch::PageCacheBelieved,
    Branch::SegmentSetAside,
    Branch::RetainedFileRemoved,
    Branch::CutBytesKept,
    Branch::CutOverSegments,
    Branch::DirectoryTakenIn,
    Branch::StraySetAside,
    Branch::RemovalFinished,
    Branch::RemovedBefore,
    Branch::DeletedSwept,
];

/// Sums over runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Sums by name.
    sums: BTreeMap<String, u64>,
    /// Faults by kind.
    faults: BTreeMap<String, u64>,
    /// Branches by name.
    reached: BTreeMap<String, u64>,
    /// What became of rotten partitions.
    fates: BTreeMap<String, u64>,
}

/// What a suite must show at least.
#[derive(Clone, Copy, Debug)]
pub struct Least {
    /// Records acknowledged or shown, and read back.
    pub records: u64,
    /// Faults that took effect.
    pub faults: u64,
}

impl Tally {
    /// Adds one run.
    pub fn add(&mut self, outcome: &Outcome) {
        let [power_cuts, kills, stops] = outcome.ends;
        let seconds = outcome.elapsed.as_secs_f64();
        let is_busy = outcome.operations as f64 >= BUSY_PER_SECOND * seconds;
        let ms = u64::try_from(outcome.elapsed.as_millis()).unwrap_or(u64::MAX);
        let sums = [
            ("runs", 1),
            ("power cuts", u64::from(power_cuts)),
            ("kills", u64::from(kills)),
            ("stops", u64::from(stops)),
            ("records acknowledged", outcome.acknowledged),
            ("records owed", outcome.owed as u64),
            ("records read back", outcome.read_back as u64),
            (
                "records that power cuts took, as they may",
                outcome.taken as u64,
            ),
            ("operations", outcome.operations),
            ("simulated ms", ms),
            ("busy simulated ms", if is_busy { ms } else { 0 }),
        ];
        for (name, sum) in sums {
            add(&mut self.sums, name, sum);
        }
        for name in faults::ALL {
            let count = outcome.trace.counts.get(name).copied();
            add(&mut self.faults, name, count.unwrap_or(0));
        }
        for (branch, times) in &outcome.reached {
            add(&mut self.reached, &format!("{branch:?}"), *times);
        }
        for (fate, times) in &outcome.fates {
            add(&mut self.fates, &format!("{fate:?}"), u64::from(*times));
        }
    }

    /// Adds the runs of another.
    pub fn merge(&mut self, other: &Self) {
        let pairs = [
            (&mut self.sums, &other.sums),
            (&mut self.faults, &other.faults),
            (&mut self.reached, &other.reached),
            (&mut self.fates, &other.fates),
        ];
        for (into, from) in pairs {
            for (name, sum) in from {
                add(into, name, *sum);
            }
        }
    }

    /// One sum.
    pub fn sum(&self, name: &str) -> u64 {
        self.sums.get(name).copied().unwrap_or(0)
    }

    /// Faults that took effect.
    pub fn faults(&self) -> u64 {
        self.faults.values().sum()
    }

    /// Branches that must be taken and never were.
    pub fn unreached(&self) -> Vec<String> {
        let names = MUST_REACH.iter().map(|branch| format!("{branch:?}"));
        names
            .filter(|name| !self.reached.contains_key(name))
            .collect()
    }

    /// Fails unless the runs show enough, by all that they must have been through.
    pub fn shows(&self, least: Least) -> Result<(), String> {
        let records = self.sum("records read back");
        if records < least.records {
            return Err(format!(
                "{records} records read back; it takes {}",
                least.records
            ));
        }
        let faults = self.faults();
        if faults < least.faults {
            return Err(format!(
                "{faults} faults took effect; it takes {}",
                least.faults
            ));
        }
        let unreached = self.unreached();
        if unreached.is_empty() {
            Ok(())
        } else {
            Err(format!("never reached: {}", unreached.join(", ")))
        }
    }

    /// The table.
    pub fn table(&self) -> String {
        let mut table = String::new();
        let mut line = |text: std::fmt::Arguments<'_>| {
            table.write_fmt(text).expect("text takes text");
            table.push('\n');
        };
        for (name, sum) in &self.sums {
            line(format_args!("{sum:>12} {name}"));
        }
        let hours = self.sum("busy simulated ms") as f64 / 3_600_000.0;
        line(format_args!(
            "{hours:>12.2} simulated hours with at least {BUSY_PER_SECOND} operations a second"
        ));
        line(format_args!(
            "faults that took effect, {} in all:",
            self.faults()
        ));
        for name in faults::ALL {
            let count = self.faults.get(name).copied().unwrap_or(0);
            let note = if count == 0 { "  (never)" } else { "" };
            line(format_args!("{count:>12} {name}{note}"));
        }
        line(format_args!("partitions after rot:"));
        for (name, sum) in &self.fates {
            line(format_args!("{sum:>12} {name}"));
        }
        line(format_args!("branches:"));
        for branch in Branch::ALL {
            let name = format!("{branch:?}");
            let times = self.reached.get(&name).copied().unwrap_or(0);
            let note = match times {
                0 if BY_IMAGES.contains(branch) => "  by crash images only",
                0 => "  NEVER REACHED",
                _ => "",
            };
            line(format_args!("{times:>12} {name}{note}"));
        }
        table
    }

    /// For another process.
    pub fn to_json(&self) -> Value {
        json!({
            "sums": self.sums,
            "faults": self.faults,
            "reached": self.reached,
            "fates": self.fates,
        })
    }

    /// What another process gave; `None` when it gave something else.
    pub fn from_json(value: &Value) -> Option<Self> {
        let map = |name: &str| {
            let object = value.get(name)?.as_object()?.iter();
            object
                .map(|(key, sum)| Some((key.clone(), sum.as_u64()?)))
                .collect::<Option<BTreeMap<_, _>>>()
        };
        Some(Self {
            sums: map("sums")?,
            faults: map("faults")?,
            reached: map("reached")?,
            fates: map("fates")?,
        })
    }
}

fn add(sums: &mut BTreeMap<String, u64>, name: &str, sum: u64) {
    if sum > 0 {
        *sums.entry(name.to_owned()).or_default() += sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_outlives_the_way_to_another_process_and_adds_up() {
        let mut tally = Tally::default();
        add(&mut tally.sums, "runs", 3);
        add(&mut tally.faults, faults::KILL, 2);
        let again = Tally::from_json(&tally.to_json()).unwrap();
        assert_eq!(again, tally);
        tally.merge(&again);
        assert_eq!((tally.sum("runs"), tally.faults()), (6, 4));
        let least = Least {
            records: 0,
            faults: 5,
        };
        assert!(tally.shows(least).is_err());
    }
}
