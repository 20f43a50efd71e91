//! That the judge finds what a broken broker would do: faults that it was not written for, planted
//! on the disk.

use crate::cut_off::Scale;
use crate::directory::Directory;
use crate::disk::Plant;
use crate::judge::{Plan, every_image};
use crate::{HISTORIES, Wrong};

/// The history is whole by itself (other tests say so) and found broken with the fault.
fn found(name: &str, plant: Plant) -> Wrong {
    let found = HISTORIES.iter().find(|history| history.name == name);
    let plan = Plan {
        scale: Scale {
            one_in: 1,
            ..Scale::TEST
        },
        ..Plan::of(Scale::TEST)
    };
    match found.expect("a history of that name").record(Some(plant)) {
        Ok(recorded) => match every_image(&Directory, &recorded, plan) {
            Ok(counts) => panic!("not found in {counts}"),
            Err(failure) => failure.wrong,
        },
        Err(wrong) => wrong,
    }
}

#[test]
fn a_flusher_that_does_not_sync_the_journal() {
    let plant = Plant::NoSync(|path| path.contains("journal."));
    let wrong = found("first_appends", plant);
    assert!(wrong.contains("below acknowledged"), "{wrong}");
}

#[test]
fn a_mark_that_is_made_before_its_data_are_synced() {
    let plant = Plant::EarlySync(|path| path.contains(".log"));
    found("direct_sync", plant);
}

#[test]
fn names_of_a_directly_synced_segment_that_are_not_synced() {
    let plant = Plant::NoSync(|path| path.ends_with("t-0/"));
    found("direct_sync", plant);
}

#[test]
fn a_journal_file_reused_before_the_ledger_is_durable() {
    let plant = Plant::NoSync(|path| path.contains("ledger."));
    found("journal_round", plant);
}

#[test]
fn a_snapshot_of_producers_that_is_named_before_it_is_synced() {
    let plant = Plant::EarlySync(|path| path.contains(".producers"));
    let wrong = found("retirement", plant);
    assert!(wrong.contains("last sequence"), "{wrong}");
}

#[test]
fn a_removal_whose_rename_is_not_synced() {
    let plant = Plant::NoSync(|path| path.ends_with("/log/"));
    found("removal", plant);
}

#[test]
fn a_switch_to_fsync_that_does_not_sync_what_was_written_before() {
    let plant = Plant::NoSync(|path| path.contains(".log"));
    found("durability_switched", plant);
}
