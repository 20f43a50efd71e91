//! What the oracle is worth: bugs planted around a sound broker, and the rule that catches each.

use millrace_tests::planted::Bug;
use millrace_tests::simulation::{Setup, run_setup};

/// Each bug is caught by one of so many seeds.
const SEEDS: u64 = 12;

/// Parts that run side by side.
const PARTS: usize = 3;

/// Each bug, and the rules of which one must catch it; which of several does depends on what comes
/// first in the seed.
const TABLE: [(Bug, &[&str]); 26] = [
    (Bug::SyncsLie, &["lost", "other value"]),
    (Bug::SyncErrorsAreHidden, &["after sync error"]),
    (Bug::ReadsAlter, &["altered"]),
    (Bug::KillTakesThePageCache, &["lost", "other value"]),
    (Bug::AcknowledgesBeforeTheSync, &["lost", "other value"]),
    (Bug::RetainsTooShortly, &["start too far"]),
    (Bug::RetainsTooLittle, &["start too far"]),
    (Bug::RetainsUnasked, &["start too far"]),
    (Bug::AnswersWhatItDropped, &["lost", "other value"]),
    (Bug::ForgetsProducers, &["doubled"]),
    (Bug::AltersRecords, &["altered"]),
    (Bug::ReversesBatches, &["reordered"]),
    (Bug::AnswersTheNextOffset, &["other value"]),
    (Bug::ShowsTheNextOffset, &["other value"]),
    (Bug::MixesPartitions, &["altered"]),
    (Bug::KeepsTheOldTopic, &["old topic"]),
    (Bug::ForgetsTheLogStart, &["start moved back"]),
    (Bug::ForgetsTheEnd, &["end moved back"]),
    (Bug::SkipsABatch, &["skipped"]),
    (Bug::ShowsNothing, &["starved"]),
    (Bug::RefusesWhatIsThere, &["refused"]),
    (Bug::AnswersALaterTime, &["time"]),
    (Bug::EndsAnEpochEarly, &["epoch"]),
    (Bug::ChangesTheEpoch, &["other bytes"]),
    (Bug::AnswersNoOffset, &["no offset"]),
    (Bug::LosesATopic, &["topic"]),
];

/// `Ok` when a seed breaks one of the rules; else what came of every seed.
fn is_caught(bug: Bug, rules: &[&str]) -> Result<(), String> {
    let mut outcomes = Vec::new();
    for seed in 0..SEEDS {
        let setup = Setup {
            seed,
            row: Some(bug.row()),
            bug: Some(bug),
            ..Setup::default()
        };
        match run_setup(setup) {
            Err(failure) if failure.rules.iter().any(|rule| rules.contains(rule)) => return Ok(()),
            Err(failure) => outcomes.push(failure.reason),
            Ok(_) => outcomes.push(format!("seed {seed}: nothing")),
        }
    }
    Err(format!("{bug:?}: not caught by {rules:?}: {outcomes:#?}"))
}

fn every_third(first: usize) {
    for (bug, rules) in TABLE.iter().skip(first).step_by(PARTS) {
        if let Err(reason) = is_caught(*bug, rules) {
            panic!("{reason}");
        }
    }
}

#[test]
fn every_planted_bug_is_in_the_table() {
    assert!(Bug::ALL.iter().eq(TABLE.iter().map(|(bug, _)| bug)));
}

#[test]
fn every_planted_bug_is_caught_by_its_rule_first_part() {
    every_third(0);
}

#[test]
fn every_planted_bug_is_caught_by_its_rule_second_part() {
    every_third(1);
}

#[test]
fn every_planted_bug_is_caught_by_its_rule_third_part() {
    every_third(2);
}
