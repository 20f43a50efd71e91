//! Two partitions append, by the journal and directly, one of them is cut back meanwhile, and
//! whoever waits for durability is told: everything, nothing too early, nothing of before the cut.

use std::sync::Arc;

use millrace_probe::{Bug, arm};
use millrace_sim::schedules::shuttle::future::{block_on, spawn, yield_now};
use millrace_sim::schedules::{Length, caught, explore};

use super::node::{DIRECT_BYTES, Node, Partition};

/// Larger than all of it: nothing rolls.
const ONE_SEGMENT: u64 = 1 << 20;

fn appends_and_a_cut() {
    block_on(async {
        let node = Node::start().await;
        let one = node.open(0, ONE_SEGMENT).await;
        let other = node.open(1, ONE_SEGMENT).await;
        let appender = {
            let one = one.clone();
            spawn(async move {
                for mark in [1, 2, 3, 4] {
                    // The second goes directly, and so does what comes behind it until it is synced.
                    let payload = if mark == 2 { DIRECT_BYTES as usize } else { 10 };
                    // Refused while the cut is under way.
                    one.append(mark, payload).ok();
                }
            })
        };
        let neighbour = {
            let other = other.clone();
            spawn(async move {
                other.append(11, 10).expect("nobody cuts it");
                other
                    .append(12, DIRECT_BYTES as usize)
                    .expect("nobody cuts it");
                other.lock().flush_now();
            })
        };
        let cutter = {
            let one = one.clone();
            spawn(async move {
                one.cut().await.expect("the directory is sound");
                one.append(5, 30).expect("the cut is done");
                one.append(6, 10).expect("the cut is done");
            })
        };
        for task in [appender, neighbour, cutter] {
            task.await.expect("no task is ended");
        }
        assert!(one.witness.all_flushed().await && other.witness.all_flushed().await);
        node.stop().await.expect("the directory is sound");
    });
}

/// What follows a batch that is synced directly is small, and could be in the journal before it: each of
/// them has somebody waiting.
fn appends_behind_direct_ones() {
    block_on(async {
        let node = Node::start().await;
        let one = node.open(0, ONE_SEGMENT).await;
        let other = node.open(1, ONE_SEGMENT).await;
        let waited_for = |partition: Arc<Partition>, direct: &'static [i64]| {
            spawn(async move {
                for mark in 1..=6 {
                    let payload = if direct.contains(&mark) {
                        DIRECT_BYTES as usize
                    } else {
                        10
                    };
                    partition.append(mark, payload).expect("nobody cuts it");
                    partition.lock().flush_now();
                    yield_now().await;
                }
            })
        };
        // The other's keep commits going.
        for task in [
            waited_for(one.clone(), &[2, 4]),
            waited_for(other.clone(), &[]),
        ] {
            task.await.expect("no task is ended");
        }
        assert!(one.witness.all_flushed().await && other.witness.all_flushed().await);
        node.stop().await.expect("the directory is sound");
    });
}

/// Whoever has to wait for room goes on once there is some.
fn appends_within_the_limit() {
    block_on(async {
        let node = Node::limited(DIRECT_BYTES).await;
        let one = node.open(0, ONE_SEGMENT).await;
        let tasks: Vec<_> = (0..3)
            .map(|task| {
                let (one, dir) = (one.clone(), node.dir.clone());
                spawn(async move {
                    for mark in 0..2 {
                        one.append(task * 10 + mark, 300)
                            .expect("the directory is sound");
                        dir.below_unflushed_limit().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no task is ended");
        }
        assert!(one.witness.all_flushed().await);
        assert_eq!(node.dir.unflushed_bytes(), 0, "everything is flushed");
        node.stop().await.expect("the directory is sound");
    });
}

#[test]
fn what_is_told_as_flushed_is_durable_and_nothing_stays_untold() {
    explore("log.flushing", Length::Long, appends_and_a_cut);
}

#[test]
fn what_follows_a_direct_sync_is_not_told_before_it() {
    explore(
        "log.behind_direct",
        Length::Long,
        appends_behind_direct_ones,
    );
}

#[test]
fn who_waits_below_the_limit_of_unflushed_bytes_goes_on() {
    explore("log.limit", Length::Long, appends_within_the_limit);
}

#[test]
fn a_completion_from_before_a_cut_is_found() {
    let _armed = arm(Bug::FlushCompletionFromBeforeCut);
    caught(
        "log.flushing",
        "FlushCompletionFromBeforeCut",
        appends_and_a_cut,
    );
}

#[test]
fn a_suffix_acked_before_its_prefix_is_found() {
    let _armed = arm(Bug::SuffixAckedBeforePrefix);
    caught(
        "log.behind_direct",
        "SuffixAckedBeforePrefix",
        appends_behind_direct_ones,
    );
}

#[test]
fn who_looks_before_asking_to_be_told_of_room_is_found() {
    let _armed = arm(Bug::LimitWakeUpLost);
    caught("log.limit", "LimitWakeUpLost", appends_within_the_limit);
}
