//! The whole broker in the simulation on a few seeds that never change, with debug assertions: power
//! cuts that lose un-synced writes, kills, stops, syncs that fail; every promise held against what is
//! there. The many are run by `cargo xtask sim`: the gate's, all that ever failed, and fresh ones.

use millrace_tests::seeds::once_failed;
use millrace_tests::shape::Row;
use millrace_tests::shrink::command;
use millrace_tests::simulation::{Outcome, Setup, run_setup};

/// Of so many seeds that once failed one is run here.
const ONE_IN: usize = 7;

fn sound(setup: Setup) -> Outcome {
    let outcome = run_setup(setup);
    outcome.unwrap_or_else(|failure| panic!("{}\nagain: {}", failure.reason, command(setup)))
}

fn of_row(seed: u64, row: Row) -> Setup {
    Setup {
        seed,
        row: Some(row),
        ..Setup::default()
    }
}

/// One seed of each of these rows.
fn hold(rows: &[Row]) {
    for (seed, row) in (0..).zip(rows) {
        let outcome = sound(of_row(seed, *row));
        assert!(outcome.owed > 0, "seed {seed} of {row:?} proves nothing");
    }
}

#[test]
fn promises_outlive_crashes_first_part() {
    hold(&Row::ALL[..4]);
}

#[test]
fn promises_outlive_crashes_second_part() {
    hold(&Row::ALL[4..]);
}

#[test]
fn seeds_that_once_failed_hold() {
    for setup in once_failed().step_by(ONE_IN) {
        sound(setup);
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
        let outcome = (0..6).map(|seed| sound(of_row(seed, row))).find(met);
        assert!(outcome.is_some(), "{row:?}");
    }
}

/// The smoke holds this of every row.
#[test]
fn a_seed_is_the_same_run_every_time() {
    let setup = of_row(5, Row::Churn);
    assert_eq!(sound(setup), sound(setup));
}
