//! The images of every history, a few of each; and that what they prove can fail.

use millrace_images::disk::Plant;
use millrace_images::{Plan, Scale};

use super::{HISTORIES, judge, judge_with};

#[test]
fn whatever_a_crash_leaves_of_a_node_nothing_it_acknowledged_is_lost() {
    for history in &HISTORIES {
        let counts = judge(history, Plan::of(Scale::TEST));
        let counts = counts.unwrap_or_else(|broken| panic!("{broken}"));
        println!("{:30} {counts}", history.name);
        assert!(counts.all() > 10, "{}: {counts}", history.name);
    }
}

/// The history is whole by itself and found broken with the fault.
fn found(name: &str, plant: Plant) -> String {
    let found = HISTORIES.iter().find(|history| history.name == name);
    let scale = Scale {
        one_in: 1,
        ..Scale::TEST
    };
    let history = found.expect("a history of that name");
    match judge_with(history, Some(plant), Plan::of(scale)) {
        Ok(counts) => panic!("not found in {counts}"),
        Err(broken) => broken.what,
    }
}

#[test]
fn a_term_that_is_used_before_its_promise_is_durable_is_found() {
    let plant = Plant::NoSync(|path| path.ends_with("quorum-state"));
    let wrong = found("terms", plant);
    assert!(wrong.contains("durable promise"), "{wrong}");
}
