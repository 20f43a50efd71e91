//! Bugs planted in the product, and lies told around it, hunted by the general runs: the
//! simulation's own seeds, drawn as the gate draws them. `cargo xtask planted` builds and runs it.
//!
//! Prints a line for each bug, with tabs between: its name, the run, the seed that caught it or
//! nothing, seeds tried, times it fired, and the rules that caught it.

use std::process::ExitCode;

use millrace_probe::Bug;
use millrace_probe::hunt::{Caught, Tell, hunt_all, say};
use millrace_tests::planted::Bug as Lie;
use millrace_tests::simulation::{Failure, Setup, run_setup};

/// What is planted.
#[derive(Clone, Copy, Debug)]
enum Planted {
    /// In the product.
    Bug(Bug),
    /// Around it.
    Lie(Lie),
}

/// The seeds that caught a bug last, of the gate or right behind its last: tried first. What is not
/// here is not caught by the simulation, and is left to the crash images.
const KNOWN: &[(&str, u64)] = &[
    ("StaleIndexTrusted", 1307),
    ("UnreadableLedgerTakenAsEmpty", 1016),
    ("NoClosingCommit", 1025),
    ("GoneDirectoryBelieved", 1022),
    ("BaseOffsetFlipAccepted", 1047),
    ("CutBelowMark", 1193),
    ("CommitsShareBlock", 1075),
    ("DescriptorClosedUnsettled", 1040),
    ("DuplicateAckedAtOnce", 1065),
    ("EmptyDirectoryTakenForNew", 1042),
    ("FrameBudgetDeadlock", 1057),
    ("HalfReplyAfterShortRegion", 1013),
    ("OldDataUnderRecreatedName", 1060),
    ("PartitionRecreatedElsewhere", 1015),
    ("ConfigAckedBeforeCommit", 1152),
    ("ConfigChangedInPart", 1004),
    ("ValidateOnlyApplied", 1004),
    ("ConfigsLeftOutOfSnapshot", 1004),
    ("AddedPartitionLeftOutOfSnapshot", 1000),
    ("ConfigInherited", 1015),
    ("TopicConfigResolvedOnce", 1015),
    ("FetchWakeUpLost", 1005),
    ("HighWatermarkOverUnflushed", 1001),
    ("ReadPastHighWatermark", 1000),
    ("SequenceAdvancedOnFailedWrite", 1002),
    ("WindowOfOneAfterRestart", 1005),
    ("MoveBeforeCopyIsDurable", 1006),
    ("AppendsDuringHandover", 1006),
    ("OldCopyServedAfterMove", 1007),
    ("LatestRecordDropped", 1024),
    ("TombstoneDroppedAtOnce", 1036),
    ("FullMapTakenForWhole", 1089),
    ("GroupDecidesOnCommitted", 1000),
    ("GroupReplyBeforeCommit", 1000),
    ("UncommittedOffsetShown", 1009),
    ("GroupTimerLostOnReload", 1293),
    ("GenerationReused", 1000),
    ("FencedCommitAccepted", 1001),
    ("StaticMemberDoubled", 1006),
    ("OffsetExpiredInUse", 1009),
    ("GroupReplayDiffers", 1001),
    ("OffsetsOutliveTopic", 1009),
    ("OffsetsInherited", 1033),
];

impl Planted {
    fn all() -> Vec<Self> {
        let general =
            |bug: &Bug| !bug.is_of_threads() && !bug.is_of_histories() && !bug.is_of_clients();
        let bugs = Bug::ALL.iter().copied().filter(general);
        let bugs = bugs.map(Self::Bug);
        bugs.chain(Lie::ALL.into_iter().map(Self::Lie)).collect()
    }

    fn name(self) -> String {
        match self {
            Self::Bug(bug) => format!("{bug:?}"),
            Self::Lie(lie) => format!("{lie:?}"),
        }
    }

    fn known(self) -> Option<u64> {
        let name = self.name();
        let known = KNOWN.iter().find(|(known, _)| *known == name);
        known.map(|(_, seed)| *seed)
    }

    /// One seed with it: what it broke, and how often it bit.
    fn run(self, seed: u64) -> (Option<Failure>, u64) {
        let mut setup = Setup {
            seed,
            ..Setup::default()
        };
        match self {
            Self::Bug(bug) => {
                let _armed = millrace_probe::arm(bug);
                let failure = run_setup(setup).err();
                (failure, millrace_probe::fired())
            }
            Self::Lie(lie) => {
                setup.bug = Some(lie);
                let by_its_rule = |failure: &Failure| {
                    let mut rules = failure.rules.iter();
                    rules.any(|rule| lie.rules().contains(rule))
                };
                (run_setup(setup).err().filter(by_its_rule), 1)
            }
        }
    }
}

/// The same run without any bug is green.
fn is_sound(seed: u64) -> bool {
    let setup = Setup {
        seed,
        ..Setup::default()
    };
    run_setup(setup).is_ok()
}

/// Tries the seed that is known, then the rest.
fn hunt(planted: Planted, seeds: &[u64], tell: &Tell) -> Caught {
    let first = planted.known();
    let rest = seeds.iter().copied().filter(|seed| Some(*seed) != first);
    let mut caught = Caught::none_yet(planted.name());
    for seed in first.into_iter().chain(rest) {
        tell.begins(format!("{} with seed {seed}", planted.name()));
        let (failure, fired) = planted.run(seed);
        caught.tried += 1;
        caught.fired += fired;
        // A run that fails though nothing bit, or fails without the bug too, proves nothing.
        if let Some(failure) = failure.filter(|_| fired > 0 && is_sound(seed)) {
            caught.by = Some((seed.to_string(), rules(&failure)));
            break;
        }
    }
    caught
}

/// The rules that were broken, or the first words of what else went wrong.
fn rules(failure: &Failure) -> String {
    if failure.rules.is_empty() {
        let line = failure.reason.lines().next().unwrap_or_default();
        return line.chars().take(160).collect();
    }
    failure.rules.join(", ")
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["list"] => {
            for planted in Planted::all() {
                say(&planted.name());
            }
            Ok(())
        }
        ["known", first, count] => seeds(first, count).map(|seeds| {
            let all = Planted::all().into_iter();
            let known = all.filter(|one| matches!(one, Planted::Lie(_)) || one.known().is_some());
            hunted(&known.collect::<Vec<_>>(), &seeds);
        }),
        ["all", first, count] => seeds(first, count).map(|seeds| hunted(&Planted::all(), &seeds)),
        ["some", first, count, ref names @ ..] => seeds(first, count).map(|seeds| {
            let all = Planted::all().into_iter();
            let some = all.filter(|one| names.contains(&one.name().as_str()));
            hunted(&some.collect::<Vec<_>>(), &seeds);
        }),
        _ => Err(
            "usage: planted list | (known | all) FIRST COUNT | some FIRST COUNT BUG...".to_owned(),
        ),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("planted: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn seeds(first: &str, count: &str) -> Result<Vec<u64>, String> {
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    let first = number(first)?;
    Ok((first..first + number(count)?).collect())
}

fn hunted(all: &[Planted], seeds: &[u64]) {
    hunt_all("simulation", all, |planted, tell| {
        hunt(planted, seeds, tell)
    });
}
