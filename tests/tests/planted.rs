//! What the oracle is worth: bugs planted around a sound broker, and the rule that catches each. A few
//! here, with debug assertions; all of them by `cargo xtask planted`.

use millrace_tests::planted::{Bug, TABLE};
use millrace_tests::simulation::{Setup, run_setup};

/// Each bug is caught by one of so many seeds.
const SEEDS: u64 = 12;

/// A lie of the disk, one of the wire, and one of the configuration.
const HERE: [Bug; 3] = [
    Bug::SyncErrorsAreHidden,
    Bug::MixesPartitions,
    Bug::RetainsTooLittle,
];

/// `Ok` when a seed breaks one of the rules; else what came of every seed.
fn is_caught(bug: Bug) -> Result<(), String> {
    let mut outcomes = Vec::new();
    for seed in 0..SEEDS {
        let setup = Setup {
            seed,
            row: Some(bug.row()),
            bug: Some(bug),
            ..Setup::default()
        };
        match run_setup(setup) {
            Err(failure) if failure.rules.iter().any(|rule| bug.rules().contains(rule)) => {
                return Ok(());
            }
            Err(failure) => outcomes.push(failure.reason),
            Ok(_) => outcomes.push(format!("seed {seed}: nothing")),
        }
    }
    Err(format!(
        "{bug:?}: not caught by {:?}: {outcomes:#?}",
        bug.rules()
    ))
}

#[test]
fn every_planted_bug_is_in_the_table() {
    assert!(Bug::ALL.iter().eq(TABLE.iter().map(|(bug, _)| bug)));
}

#[test]
fn planted_bugs_are_caught_by_their_rules() {
    for bug in HERE {
        if let Err(reason) = is_caught(bug) {
            panic!("{reason}");
        }
    }
}
