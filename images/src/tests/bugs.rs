//! Bugs planted in the product, hunted by the 18 sequences as they are. `cargo xtask planted` runs it.
//!
//! Prints a line for each bug, with tabs between: its name, the run, the sequence that caught it or
//! nothing, scenarios tried, times it fired, and what was said.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use millrace_probe::Bug;

use super::SEQUENCES;
use crate::Wrong;

/// Hunters side by side.
const HUNTERS: usize = 2;

/// One scenario with one bug in it: what was broken if anything was, and how often it bit.
fn hunt(bug: Bug, scenario: fn() -> Result<(), Wrong>) -> (Option<Wrong>, u64) {
    let _armed = millrace_probe::arm(bug);
    // What panics could not be played as it is meant, and proves nothing.
    let played = catch_unwind(AssertUnwindSafe(scenario)).unwrap_or(Ok(()));
    (played.err(), millrace_probe::fired())
}

fn hunt_all(bug: Bug) {
    let (mut tried, mut fired) = (0, 0);
    for sequence in &SEQUENCES {
        for scenario in sequence.scenarios {
            let (wrong, bit) = hunt(bug, *scenario);
            tried += 1;
            fired += bit;
            if let Some(wrong) = wrong.filter(|_| bit > 0) {
                let told = wrong.chars().filter(|c| !c.is_control());
                let told: String = told.take(160).collect();
                let number = sequence.number;
                println!("{bug:?}\tsequences\tsequence {number}\t{tried}\t{fired}\t{told}");
                return;
            }
        }
    }
    println!("{bug:?}\tsequences\t\t{tried}\t{fired}\t");
}

/// `PLANTED` names the bugs, with commas between; all of them without it.
#[test]
#[ignore = "minutes of a machine: cargo xtask planted runs it"]
fn every_planted_bug_is_hunted() {
    let named = std::env::var("PLANTED").ok();
    let is_named = |bug: &&Bug| {
        let name = format!("{bug:?}");
        let mut named = named.as_ref().map(|named| named.split(','));
        named
            .as_mut()
            .is_none_or(|named| named.any(|one| one == name))
    };
    let next = Mutex::new(Bug::ALL.iter().filter(is_named));
    std::thread::scope(|scope| {
        for _ in 0..HUNTERS {
            scope.spawn(|| {
                loop {
                    let bug = next.lock().unwrap().next();
                    let Some(bug) = bug else { return };
                    hunt_all(*bug);
                }
            });
        }
    });
}
