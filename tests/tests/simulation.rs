//! The whole broker in the simulation on seeds that never change: power cuts that lose un-synced
//! writes, kills, stops, syncs that fail; every promise of every row held against what is there.
//! Fresh seeds are tried by `cargo xtask sim`.

use millrace_tests::shape::Row;
use millrace_tests::simulation::{Outcome, Setup, run, run_setup};

/// Seeds of every run of the tests, in four parts that run side by side.
const SEEDS: u64 = 48;

fn again(seed: u64) -> String {
    format!("again: cargo xtask sim --seed {seed}")
}

fn run_every_fourth(first: u64) {
    let mut ends = [0; 3];
    for seed in (first..SEEDS).step_by(4) {
        let outcome = run(seed, false).unwrap_or_else(|reason| panic!("{reason}\n{}", again(seed)));
        assert!(outcome.owed > 0, "seed {seed} proves nothing");
        ends.iter_mut()
            .zip(outcome.ends)
            .for_each(|(sum, n)| *sum += n);
    }
    assert!(
        ends.iter().all(|n| *n > 0),
        "power cuts, kills, stops: {ends:?}"
    );
}

/// Every seed that ever failed, with what it found when it was drawn. (A change of what is drawn
/// makes another run of a seed; what it found has a test of its own beside the code.)
const ONCE_FAILED: [u64; 4] = [
    // A full disk refused a producer's first batch; the one behind it overtook it.
    3_966_469_980,
    // The workload itself did not see a topic that was made while it stopped.
    16,
    // Retention passed the newest named snapshot of producers, and a power cut followed.
    25,
    // What a kill left in the page cache counted as settled at the next roll; a power cut followed.
    2_022,
];

/// The same of page-cache topics: that, and an oracle that took for a survivor what was sent again.
const ONCE_FAILED_CACHED: [u64; 5] = [3, 9, 14, 18, 73];

/// The same of seeds that were run with a topic that is removed and made again. Of the first three,
/// removals of several topics of one name took the directory away that had been made since, or names
/// that a removal had taken away were still to be synced; in the others the workload took a change
/// whose outcome is unknown for refused.
const ONCE_FAILED_OF_CHURN: [u64; 8] = [1202, 1209, 1220, 1207, 1225, 1238, 1254, 1282];

/// The same of every kind of `acks`: a producer id that could not be had was an error for good.
const ONCE_FAILED_MIXED: [u64; 2] = [25, 38];

fn sound(seed: u64, row: Row) -> Outcome {
    run_setup(of_row(seed, row))
        .unwrap_or_else(|failure| panic!("seed {seed} of {row:?}: {}", failure.reason))
}

#[test]
fn seeds_that_once_failed_hold() {
    for seed in ONCE_FAILED {
        if let Err(reason) = run(seed, false) {
            panic!("{reason}\n{}", again(seed));
        }
    }
    for seed in ONCE_FAILED_OF_CHURN {
        sound(seed, Row::Churn);
    }
    for seed in ONCE_FAILED_MIXED {
        sound(seed, Row::AcksMixed);
    }
}

#[test]
fn promises_outlive_crashes_first_part() {
    run_every_fourth(0);
}

#[test]
fn promises_outlive_crashes_second_part() {
    run_every_fourth(1);
}

#[test]
fn promises_outlive_crashes_third_part() {
    run_every_fourth(2);
}

#[test]
fn promises_outlive_crashes_fourth_part() {
    run_every_fourth(3);
}

fn of_row(seed: u64, row: Row) -> Setup {
    Setup {
        seed,
        row: Some(row),
        ..Setup::default()
    }
}

#[test]
fn seeds_of_page_cache_topics_that_once_failed_hold() {
    for seed in ONCE_FAILED_CACHED {
        sound(seed, Row::PageCache);
    }
}

/// A row that nothing happens in judges nothing.
#[test]
fn every_row_meets_what_it_judges() {
    type Met = fn(&Outcome) -> bool;
    let met: [(Row, Met); 6] = [
        (Row::AcksMixed, |outcome| outcome.taken > 0),
        (Row::PageCache, |outcome| outcome.taken > 0),
        (Row::RetentionMs, |outcome| outcome.retired > 0),
        (Row::RetentionBytes, |outcome| outcome.retired > 0),
        (Row::Churn, |outcome| outcome.removals > 1),
        (Row::SyncError, |outcome| {
            outcome
                .trace
                .counts
                .contains_key(millrace_sim::faults::SYNC_ERROR)
        }),
    ];
    for (row, met) in met {
        let outcome = (0..6).map(|seed| sound(seed, row)).find(met);
        assert!(outcome.is_some(), "{row:?}");
    }
}

/// Whatever the row, and the faults that it has of its own.
#[test]
fn a_seed_is_the_same_run_every_time() {
    for (seed, row) in (0..).zip(Row::ALL) {
        assert_eq!(sound(seed, row), sound(seed, row), "{row:?}");
    }
}
