//! Bugs planted in the product, hunted by the crash images as the gate judges them: every history,
//! recorded and judged with the bug in it, until one is found broken. `cargo xtask planted` builds
//! and runs it.
//!
//! Prints a line for each bug, with tabs between: its name, the run, the history and image that
//! caught it or nothing, runs tried, times it fired, and what was said.

use std::process::ExitCode;

use millrace_images::{Broken, HISTORIES, History, Plan, Scale, judge};
use millrace_probe::Bug;
use millrace_probe::hunt::{Caught, Tell, hunt_all};

/// A history that can't be recorded as it is meant proves nothing of what it left.
const NO_PROOF: &str = "no journal file was given back";

/// The histories and images that caught a bug last: tried first. What is not here is not caught by
/// the images, and is left to the simulation.
const KNOWN: &[(Bug, &str, u64)] = &[
    (Bug::MarkBeforeSync, "direct_sync", 48),
    (Bug::AckBeforeMark, "direct_sync", 610),
    (Bug::AckBeforeSync, "first_appends", 408),
    (Bug::DirectorySyncLost, "first_appends", 412),
    (Bug::RecoveredTailNotSynced, "direct_sync", 66),
    (
        Bug::PageCacheTrustedAfterError,
        "segment_sync_fails_and_forgets",
        0,
    ),
    (Bug::FailedSyncRetried, "journal_sync_fails_and_forgets", 0),
    (Bug::RollWithoutSync, "rolls", 443),
    (Bug::OldCutReplayed, "cut_then_direct", 0),
    (Bug::ExistenceMarkAfterAck, "first_appends", 444),
    (Bug::SuffixAckedBeforePrefix, "direct_sync", 70),
    (Bug::ChangeBeforeIntent, "log_start", 6),
    (Bug::JournalFileReusedBeforeSettled, "journal_round", 549),
    (Bug::CleanCloseOfOfflineDirectory, "journal_sync_fails", 0),
    (Bug::SnapshotOfCommitInFlight, "journal_round", 619),
    (Bug::ReplayIntoReplacedSegment, "cut_back", 225),
    (Bug::MarkAheadOfData, "several_partitions", 4513),
    (Bug::RecoveryDebtForgotten, "direct_sync", 556),
    (
        Bug::JournalContinuedAfterTornCommit,
        "killed_behind_retention",
        0,
    ),
    (Bug::FlushCompletionFromBeforeCut, "cut_twice", 0),
    (Bug::ProducerSnapshotAboveCut, "cut_back", 1012),
    (Bug::CleanedNotSynced, "direct_sync", 732),
    (Bug::ReplacedNamesNotSynced, "rolls", 490),
    (Bug::HalfCleanedTaken, "rolls", 496),
    (Bug::UnlinkOfCutSegmentLost, "cut_back_and_closed", 1156),
];

fn known(bug: Bug) -> Option<(&'static History, u64)> {
    let (_, name, image) = KNOWN.iter().find(|(known, ..)| *known == bug)?;
    let history = HISTORIES.iter().find(|history| history.name == *name)?;
    Some((history, *image))
}

/// Judges a history with the bug in it. `true`: caught.
fn hunted(
    bug: Bug,
    caught: &mut Caught,
    (history, plan): (&'static History, Plan),
    tell: &Tell,
) -> bool {
    tell.begins(format!("{bug:?} in {}", history.name));
    let _armed = millrace_probe::arm(bug);
    let judged = judge(history, plan);
    let fired = millrace_probe::fired();
    caught.tried += 1;
    caught.fired += fired;
    let broken = judged
        .err()
        .filter(|broken| !broken.what.contains(NO_PROOF));
    caught.by = broken.filter(|_| fired > 0).map(|broken| told(&broken));
    caught.by.is_some()
}

/// Tries the image that is known, then its whole history, then all of them.
fn hunt(bug: Bug, tell: &Tell) -> Caught {
    let mut caught = Caught::none_yet(format!("{bug:?}"));
    let plan = Plan::of(Scale::SMOKE);
    let first = known(bug);
    if let Some((history, image)) = first {
        let only = Plan {
            only: Some(image),
            ..plan
        };
        if hunted(bug, &mut caught, (history, only), tell)
            || hunted(bug, &mut caught, (history, plan), tell)
        {
            return caught;
        }
    }
    for history in &HISTORIES {
        let again = first.is_some_and(|(known, _)| known.name == history.name);
        if !again && hunted(bug, &mut caught, (history, plan), tell) {
            return caught;
        }
    }
    caught
}

/// The history with its image, and the last of what was said.
fn told(broken: &Broken) -> (String, String) {
    let image = broken.image.map_or("played".to_owned(), |n| n.to_string());
    let what = broken.what.rsplit(": ").take(2).collect::<Vec<_>>();
    let what: String = what.into_iter().rev().collect::<Vec<_>>().join(": ");
    let what = what.chars().filter(|c| !c.is_control()).take(160).collect();
    (format!("{} {image}", broken.history), what)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let general =
        |bug: &Bug| !bug.is_of_threads() && !bug.is_of_histories() && !bug.is_of_clients();
    let all = Bug::ALL.iter().copied().filter(general);
    let bugs: Vec<Bug> = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["all"] => all.collect(),
        ["known"] => all.filter(|bug| known(*bug).is_some()).collect(),
        ["some", ref names @ ..] => all
            .filter(|bug| names.contains(&format!("{bug:?}").as_str()))
            .collect(),
        _ => {
            eprintln!("usage: planted all | known | some BUG...");
            return ExitCode::FAILURE;
        }
    };
    hunt_all("images", &bugs, hunt);
    ExitCode::SUCCESS
}
