//! What the simulations of the client are worth: bugs of the client's own, planted in it, and caught by
//! the very runs that its tests make, of seeds that are green without them.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "runs/grouping.rs"]
mod grouping;
mod node;
#[path = "runs/producing.rs"]
mod producing;

use std::panic::{AssertUnwindSafe, catch_unwind};

use millrace_probe::Bug;

/// What is planted, the run that catches it, and the seeds of that.
type Planted = (Bug, fn(u64), std::ops::Range<u64>);

/// Each of them, with the run that catches it and the first seed of so many that it is hunted with: those
/// of the tests beside.
const PLANTED: [Planted; 4] = [
    (Bug::RetriedUnderNewNumber, producing::store, 100..120),
    (Bug::RetriedBehindOthers, producing::store, 100..120),
    (Bug::CommitAheadOfDelivery, grouping::group, 300..312),
    (Bug::LostPositionKept, grouping::group, 300..312),
];

#[test]
fn the_clients_own_bugs_are_all_planted() {
    let of_clients = Bug::ALL.iter().filter(|bug| bug.is_of_clients());
    assert!(of_clients.eq(PLANTED.iter().map(|(bug, ..)| bug)));
}

#[test]
fn the_clients_own_bugs_are_caught() {
    for (bug, run, seeds) in PLANTED {
        let catches = |seed: &u64| {
            let _armed = millrace_probe::arm(bug);
            let before = millrace_probe::fired();
            let failed = catch_unwind(AssertUnwindSafe(|| run(*seed))).is_err();
            failed && millrace_probe::fired() > before
        };
        let caught = seeds.clone().find(catches);
        assert!(caught.is_some(), "{bug:?} is not caught by {seeds:?}");
        println!("{bug:?} is caught by seed {}", caught.unwrap());
    }
}
