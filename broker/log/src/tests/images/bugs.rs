//! Bugs planted in this room, hunted by the crash images as they are: every history, recorded and
//! judged with the bug in it, until one is found broken. `cargo xtask planted` runs it.
//!
//! Prints a line for each bug, with tabs between: its name, the run, the history that caught it or
//! nothing, histories tried, times it fired, and what was said.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use millrace_probe::Bug;

use super::history::{Recorded, record};
use super::judge::{every_image, without_ledger};
use super::{rule_tests, start_tests};

/// Hunters side by side.
const HUNTERS: usize = 2;

/// The histories that caught a bug last: tried first. What is not here is left to the simulation.
const KNOWN: &[(Bug, &str)] = &[];

type Judge = fn() -> Result<usize, String>;

fn images(history: &Recorded) -> Result<usize, String> {
    every_image(history, history.from)
}

/// Every history of the images, and how it is judged.
const HISTORIES: &[(&str, Judge)] = &[
    ("first appends", || images(&record(None, rule_tests::first_appends))),
    ("direct sync", || images(&record(None, rule_tests::direct_sync))),
    ("roll", || images(&record(None, rule_tests::rolls))),
    ("cut back", || images(&record(None, rule_tests::cut_back))),
    ("log start", || images(&record(None, rule_tests::log_start))),
    ("retirement", || images(&record(None, rule_tests::retirement))),
    ("removal", || images(&record(None, rule_tests::removal))),
    ("journal round", || images(&record(None, rule_tests::journal_round))),
    ("clean stop", || images(&record(None, rule_tests::clean_stop))),
    ("starts", || images(&record(None, rule_tests::kill_and_power_cut))),
    ("durability", || images(&record(None, rule_tests::durability_switched))),
    ("page cache", || images(&record(None, rule_tests::page_cache_killed))),
    ("retention, killed", || images(&record(None, start_tests::killed_behind_retention))),
    ("without ledger", || without_ledger(&record(None, rule_tests::direct_sync))),
];

/// One history with one bug in it: what was broken, and how often it bit.
fn hunt(bug: Bug, judge: Judge) -> (Option<String>, u64) {
    let _armed = millrace_probe::arm(bug);
    let judged = catch_unwind(AssertUnwindSafe(judge));
    let wrong = match judged {
        Ok(judged) => judged.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Some(format!("panicked: {}", text.unwrap_or_default()))
        }
    };
    (wrong, millrace_probe::fired())
}

fn hunt_all(bug: Bug) -> bool {
    let known = KNOWN.iter().find(|(known, _)| *known == bug);
    let known = |name: &str| known.is_some_and(|(_, first)| *first == name);
    let first = HISTORIES.iter().filter(|(name, _)| known(name));
    let rest = HISTORIES.iter().filter(|(name, _)| !known(name));
    let (mut tried, mut fired) = (0, 0);
    for (name, judge) in first.chain(rest) {
        let (wrong, bit) = hunt(bug, *judge);
        tried += 1;
        fired += bit;
        if let Some(wrong) = wrong {
            let wrong: String = wrong.chars().filter(|c| !c.is_control()).take(200).collect();
            println!("{bug:?}\timages\t{name}\t{tried}\t{fired}\t{wrong}");
            return true;
        }
    }
    println!("{bug:?}\timages\t\t{tried}\t{fired}\t");
    false
}

/// `PLANTED` names the bugs; all of them without it.
#[test]
#[ignore = "takes minutes: cargo xtask planted"]
fn every_planted_bug_is_hunted() {
    let named = std::env::var("PLANTED").ok();
    let named: Option<Vec<&str>> = named.as_ref().map(|named| named.split(',').collect());
    let is_named = |bug: &&Bug| {
        let name = format!("{bug:?}");
        named.as_ref().is_none_or(|named| named.contains(&name.as_str()))
    };
    let next = Mutex::new(Bug::ALL.iter().filter(is_named));
    std::thread::scope(|scope| {
        for _ in 0..HUNTERS {
            scope.spawn(|| loop {
                let bug = next.lock().unwrap().next();
                let Some(bug) = bug else { return };
                hunt_all(*bug);
            });
        }
    });
}
