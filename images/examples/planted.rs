//! Bugs planted in the product, hunted by the crash images as the gate judges them: every history,
//! recorded and judged with the bug in it, until one is found broken. `cargo xtask planted` builds
//! and runs it.
//!
//! Prints a line for each bug, with tabs between: its name, the run, the history and image that
//! caught it or nothing, runs tried, times it fired, and what was said.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use millrace_images::{Broken, HISTORIES, History, Plan, Scale, judge};
use millrace_probe::Bug;

/// Processes end by virtual time; a history that takes this long stands still.
const STILL_AFTER: Duration = Duration::from_mins(4);

/// Bugs hunted side by side.
const HUNTERS: usize = 2;

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
];

fn known(bug: Bug) -> Option<(&'static History, u64)> {
    let (_, name, image) = KNOWN.iter().find(|(known, ..)| *known == bug)?;
    let history = HISTORIES.iter().find(|history| history.name == *name)?;
    Some((history, *image))
}

/// What a hunter says.
enum Event {
    Begins(Bug, &'static str),
    Ends(Caught),
}

/// What hunting one bug came to.
struct Caught {
    bug: Bug,
    by: Option<Broken>,
    tried: u64,
    fired: u64,
}

impl Caught {
    /// Judges a history with the bug in it. `true`: caught.
    fn hunted(&mut self, history: &'static History, plan: Plan, tell: &SyncSender<Event>) -> bool {
        tell.send(Event::Begins(self.bug, history.name)).ok();
        let _armed = millrace_probe::arm(self.bug);
        let judged = judge(history, plan);
        let fired = millrace_probe::fired();
        self.tried += 1;
        self.fired += fired;
        let broken = judged
            .err()
            .filter(|broken| !broken.what.contains(NO_PROOF));
        self.by = broken.filter(|_| fired > 0);
        self.by.is_some()
    }
}

/// Tries the image that is known, then its whole history, then all of them.
fn hunt(bug: Bug, tell: &SyncSender<Event>) -> Caught {
    let mut caught = Caught {
        bug,
        by: None,
        tried: 0,
        fired: 0,
    };
    let plan = Plan::of(Scale::SMOKE);
    let first = known(bug);
    if let Some((history, image)) = first {
        let only = Some(image);
        if caught.hunted(history, Plan { only, ..plan }, tell) || caught.hunted(history, plan, tell)
        {
            return caught;
        }
    }
    for history in &HISTORIES {
        let again = first.is_some_and(|(known, _)| known.name == history.name);
        if !again && caught.hunted(history, plan, tell) {
            return caught;
        }
    }
    caught
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let all = Bug::ALL.iter().copied();
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
    let next = Mutex::new(bugs.into_iter());
    let (tell, told) = sync_channel(64);
    std::thread::scope(|scope| {
        for _ in 0..HUNTERS {
            let (tell, next) = (tell.clone(), &next);
            scope.spawn(move || {
                loop {
                    let bug = next.lock().ok().and_then(|mut next| next.next());
                    let Some(bug) = bug else { return };
                    tell.send(Event::Ends(hunt(bug, &tell))).ok();
                }
            });
        }
        drop(tell);
        let mut last = Vec::new();
        loop {
            match told.recv_timeout(STILL_AFTER) {
                Ok(Event::Begins(bug, history)) => {
                    last.push(format!("{bug:?} in {history}"));
                    last.drain(..last.len().saturating_sub(HUNTERS));
                }
                Ok(Event::Ends(caught)) => print(&caught),
                Err(RecvTimeoutError::Disconnected) => return ExitCode::SUCCESS,
                Err(RecvTimeoutError::Timeout) => {
                    // The hunters can't be ended otherwise.
                    eprintln!("planted: a run stands still, one of: {}", last.join(", "));
                    std::process::exit(1);
                }
            }
        }
    })
}

#[expect(clippy::print_stdout, reason = "the output of a developer's tool")]
fn print(caught: &Caught) {
    let Caught {
        bug,
        by,
        tried,
        fired,
    } = caught;
    let (at, what) = match by {
        Some(broken) => {
            let image = broken.image.map_or("played".to_owned(), |n| n.to_string());
            let what = broken.what.rsplit(": ").take(2).collect::<Vec<_>>();
            let what: String = what.into_iter().rev().collect::<Vec<_>>().join(": ");
            (format!("{} {image}", broken.history), what)
        }
        None => (String::new(), String::new()),
    };
    let what: String = what.chars().filter(|c| !c.is_control()).take(160).collect();
    println!("{bug:?}\timages\t{at}\t{tried}\t{fired}\t{what}");
}
