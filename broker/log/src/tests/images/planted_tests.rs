//! That the judge finds what a broken broker would do: faults that it was not written for, planted
//! on the disk.

use super::disk::Plant;
use super::history::{Stage, record};
use super::judge::every_image;
use super::rule_tests;

/// The history is whole by itself (other tests say so) and found broken with the fault.
fn found(plant: Plant, script: impl AsyncFnOnce(&mut Stage<'_>)) -> String {
    let history = record(Some(plant), script);
    every_image(&history, history.from).expect_err("the fault is found")
}

#[test]
fn a_flusher_that_does_not_sync_the_journal() {
    let plant = Plant::NoSync(|path| path.contains("journal."));
    let wrong = found(plant, rule_tests::first_appends);
    assert!(wrong.contains("below acknowledged"), "{wrong}");
}

#[test]
fn a_mark_that_is_made_before_its_data_are_synced() {
    let plant = Plant::EarlySync(|path| path.contains(".log"));
    found(plant, rule_tests::direct_sync);
}

#[test]
fn names_of_a_directly_synced_segment_that_are_not_synced() {
    let plant = Plant::NoSync(|path| path.ends_with("t-0/"));
    found(plant, rule_tests::direct_sync);
}

#[test]
fn a_journal_file_reused_before_the_ledger_is_durable() {
    let plant = Plant::NoSync(|path| path.contains("ledger."));
    found(plant, rule_tests::journal_round);
}

#[test]
fn a_snapshot_of_producers_that_is_named_before_it_is_synced() {
    let plant = Plant::EarlySync(|path| path.ends_with(".producers"));
    let wrong = found(plant, rule_tests::retirement);
    assert!(wrong.contains("last sequence"), "{wrong}");
}

#[test]
fn a_removal_whose_rename_is_not_synced() {
    let plant = Plant::NoSync(|path| path.ends_with("/log/"));
    found(plant, rule_tests::removal);
}

#[test]
fn a_switch_to_fsync_that_does_not_sync_what_was_written_before() {
    let plant = Plant::NoSync(|path| path.contains(".log"));
    found(plant, rule_tests::durability_switched);
}
