//! Replicas that move between log directories: what is served meanwhile and afterwards, what a crash
//! at any time leaves, and what ends a move (`docs/durability.md` M1 to M5).

use std::time::Duration;

use millrace_probe::Branch;
use millrace_protocol::api::Api;
use millrace_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use millrace_sim::{DiskEffect, DiskFault, DiskOp, Sim, When};

use crate::configs::{BROKER, set};
use crate::directories::{BOTH, strike};
use crate::log_dirs::place;
use crate::node::{Node, Topic, batch_from, with};
use crate::topics::delete;

/// So short indexes that every few batches have a segment of their own.
const ROLLS: [(&str, &str); 3] = [
    ("index.interval.bytes", "1"),
    ("segment.index.bytes", "36"),
    ("file.delete.delay.ms", "0"),
];

/// Times at which a crash comes, from the wish on.
const STEPS: u64 = 28;

/// A future log: where it is, its bytes, and how far behind.
type FutureRow = (String, i64, i64);

/// Where partition 0 of a topic lies, and its future log if it has one.
async fn lies(node: &mut Node, name: &str) -> (Vec<String>, Option<FutureRow>) {
    let mut request = DescribeLogDirsRequest::default();
    request.topics = None;
    let told: DescribeLogDirsResponse = node.client.ask(Api::DescribeLogDirs, 5, &request).await;
    let (mut current, mut future) = (Vec::new(), None);
    for dir in &told.results {
        let topic = dir.topics.iter().filter(|topic| &*topic.name == name);
        for row in topic.flat_map(|topic| &topic.partitions) {
            let path = dir.log_dir.to_string();
            if row.is_future_key {
                assert!(future.is_none());
                future = Some((path, row.partition_size, row.offset_lag));
            } else {
                assert_eq!(row.offset_lag, 0);
                current.push(path);
            }
        }
    }
    (current, future)
}

/// Notes of moves on the disk.
fn notes(node: &Node) -> Vec<String> {
    let files = node.world.files("broker").into_iter();
    let names = files.map(|(path, _)| path.display().to_string());
    names.filter(|name| name.contains("/.moving-")).collect()
}

async fn home(node: &mut Node, name: &str) -> String {
    let (mut current, _) = lies(node, name).await;
    assert_eq!(current.len(), 1, "{current:?}");
    current.remove(0)
}

fn other(path: &str) -> &'static str {
    if path == "/a" { "/b" } else { "/a" }
}

/// Moves a topic's only partition to the other directory, and waits until it lies there.
async fn move_over(node: &mut Node, name: &str) -> &'static str {
    let from = home(node, name).await;
    let to = other(&from);
    assert_eq!(place(node, 2, &[(to, name, &[0])]).await, [(0, 0)]);
    for _ in 0..1000 {
        if lies(node, name).await == (vec![to.to_owned()], None) {
            return to;
        }
        node.world.pause(Duration::from_millis(10)).await;
    }
    panic!("{name} does not move to {to}: {:?}", lies(node, name).await);
}

/// The directories of partition 0 on the disk, of whatever name.
fn on_disk(node: &Node, name: &str) -> Vec<String> {
    let begins = format!("{name}-0");
    let files = node.world.files("broker");
    let mut dirs: Vec<String> = files
        .iter()
        .filter_map(|(path, _)| {
            let dir = path.parent()?;
            let is_own = dir.file_name()?.to_str()?.starts_with(&begins);
            is_own.then(|| dir.to_string_lossy().into_owned())
        })
        .collect();
    dirs.sort();
    dirs.dedup();
    dirs
}

async fn fill(node: &mut Node, topic: &Topic, from: usize, to: usize) {
    for at in from..to {
        let sequence = i32::try_from(at).unwrap();
        let row = node
            .produce(topic, batch_from((7, 0, sequence), &[&format!("v{at}")]))
            .await;
        assert_eq!((row.error_code, row.base_offset), (0, at as i64));
    }
}

/// Everything is there, in order.
async fn assert_has(node: &mut Node, topic: &Topic, from: usize, to: usize) {
    let mut found = Vec::new();
    while from + found.len() < to {
        let offset = i64::try_from(from + found.len()).unwrap();
        let values = node.values(topic, offset).await;
        assert!(!values.is_empty(), "{from}..{to}: {} found", found.len());
        found.extend(values);
    }
    let expected: Vec<String> = (from..to).map(|at| format!("v{at}")).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_replica_moves_there_and_back_and_nothing_of_it_changes() {
    with(&BOTH, async |mut node| {
        let topic = node.topic("t", &ROLLS).await;
        fill(&mut node, &topic, 0, 20).await;
        let mut end = 20;
        for life in 0..6 {
            let to = move_over(&mut node, "t").await;
            node.world.pause(Duration::from_millis(100)).await;
            assert_eq!(on_disk(&node, "t"), [format!("{to}/t-0")], "{life}");
            assert_has(&mut node, &topic, 0, end).await;
            fill(&mut node, &topic, end, end + 5).await;
            end += 5;
            // A retry of the last batch is still recognised.
            let last = i32::try_from(end - 1).unwrap();
            let again = batch_from((7, 0, last), &[&format!("v{last}")]);
            let row = node.produce(&topic, again).await;
            assert_eq!((row.error_code, row.base_offset), (0, i64::from(last)));
            match life % 3 {
                0 => {}
                1 => node.restart().await,
                _ => node.crash().await,
            }
            assert_eq!(home(&mut node, "t").await, to);
            assert_has(&mut node, &topic, 0, end).await;
            fill(&mut node, &topic, end, end + 1).await;
            end += 1;
        }
    });
}

#[test]
fn topics_of_the_page_cache_and_with_a_start_move_too() {
    with(&BOTH, async |mut node| {
        let configs = [&ROLLS[..], &[("durability", "page-cache")]].concat();
        let cached = node.topic("cached", &configs).await;
        fill(&mut node, &cached, 0, 9).await;
        let to = move_over(&mut node, "cached").await;
        node.restart().await;
        assert_eq!(home(&mut node, "cached").await, to);
        assert_has(&mut node, &cached, 0, 9).await;

        let trimmed = node.topic("trimmed", &ROLLS).await;
        fill(&mut node, &trimmed, 0, 12).await;
        let deleted = crate::delete_records::ask_for(&mut node, "trimmed", 7).await;
        assert_eq!(deleted, (0, 7));
        move_over(&mut node, "trimmed").await;
        for _ in 0..2 {
            let row = node.fetch(&trimmed, 6).await;
            assert_eq!(row.error_code, 1);
            assert_has(&mut node, &trimmed, 7, 12).await;
            node.crash().await;
        }
    });
}

#[test]
fn a_partition_that_was_never_written_moves_by_its_record() {
    with(&BOTH, async |mut node| {
        let topic = node.topic("t", &[]).await;
        let to = move_over(&mut node, "t").await;
        assert_eq!(on_disk(&node, "t"), [""; 0]);
        fill(&mut node, &topic, 0, 3).await;
        assert_eq!(on_disk(&node, "t"), [format!("{to}/t-0")]);
        node.crash().await;
        assert_has(&mut node, &topic, 0, 3).await;
    });
}

#[test]
fn a_crash_at_any_time_leaves_one_copy_with_everything() {
    let mut moved = [0, 0];
    for step in 0..STEPS {
        let sim = Sim::new(step);
        let world = sim.world();
        sim.block_on(async {
            let mut node = Node::start(world, &BOTH).await.unwrap();
            let topic = node.topic("t", &ROLLS).await;
            fill(&mut node, &topic, 0, 12).await;
            let to = other(&home(&mut node, "t").await);
            assert_eq!(place(&mut node, 2, &[(to, "t", &[0])]).await, [(0, 0)]);
            node.world.pause(Duration::from_micros(step * 1700)).await;
            if step % 2 == 0 {
                node.crash().await;
            } else {
                node.world.kill("broker");
                drop(node.broker.take());
                node.start_again().await;
            }
            assert_has(&mut node, &topic, 0, 12).await;
            fill(&mut node, &topic, 12, 14).await;
            node.world.pause(Duration::from_secs(1)).await;
            let now = home(&mut node, "t").await;
            assert_eq!(on_disk(&node, "t"), [format!("{now}/t-0")], "step {step}");
            // What was wished outlives a kill; a power cut may take it along.
            assert!(step % 2 == 0 || now == to, "step {step}");
            assert_eq!(notes(&node), [""; 0], "step {step}");
            moved[usize::from(now == to)] += 1;
            move_over(&mut node, "t").await;
            node.crash().await;
            assert_has(&mut node, &topic, 0, 14).await;
        });
    }
    assert!(moved[0] > 0 && moved[1] > 14, "{moved:?}");
}

#[test]
fn while_it_moves_both_copies_are_told_and_another_wish_ends_it() {
    // So slow that it does not end by itself.
    let pairs = [
        BOTH[0],
        ("replica.alter.log.dirs.io.max.bytes.per.second", "100"),
    ];
    with(&pairs, async |mut node| {
        let topic = node.topic("t", &ROLLS).await;
        fill(&mut node, &topic, 0, 30).await;
        let from = home(&mut node, "t").await;
        let to = other(&from);
        for wish in [to, to] {
            assert_eq!(place(&mut node, 2, &[(wish, "t", &[0])]).await, [(0, 0)]);
            node.world.pause(Duration::from_millis(100)).await;
        }
        let (current, future) = lies(&mut node, "t").await;
        assert_eq!(current, std::slice::from_ref(&from));
        let (path, bytes, lag) = future.unwrap();
        assert_eq!(path, to);
        assert!(bytes > 0 && lag > 0 && lag < 30, "{bytes} {lag}");
        assert_eq!(node.metric("millrace_replica_moves"), 1);
        assert_eq!(on_disk(&node, "t").len(), 2);
        // It is served meanwhile.
        fill(&mut node, &topic, 30, 33).await;
        assert_has(&mut node, &topic, 0, 33).await;
        assert_eq!(place(&mut node, 2, &[(&from, "t", &[0])]).await, [(0, 0)]);
        node.world.pause(Duration::from_secs(1)).await;
        assert_eq!(lies(&mut node, "t").await, (vec![from.clone()], None));
        assert_eq!(on_disk(&node, "t"), [format!("{from}/t-0")]);
        let cancelled = "millrace_replica_moves_total{how=\"cancelled\"}";
        assert_eq!(node.metric(cancelled), 1);
        assert_eq!(notes(&node), [""; 0]);
    });
}

#[test]
fn a_move_that_the_end_of_a_node_interrupts_begins_again_and_ends() {
    const LIMIT: &str = "replica.alter.log.dirs.io.max.bytes.per.second";
    with(&[BOTH[0], (LIMIT, "100")], async |mut node| {
        let topic = node.topic("t", &ROLLS).await;
        fill(&mut node, &topic, 0, 30).await;
        let unwritten = node.topic("u", &[]).await;
        let from = home(&mut node, "t").await;
        let to = other(&from);
        place(&mut node, 2, &[(to, "t", &[0])]).await;
        for life in 0..3 {
            node.world.pause(Duration::from_millis(100)).await;
            let (current, future) = lies(&mut node, "t").await;
            assert_eq!(current, std::slice::from_ref(&from));
            assert_eq!(future.unwrap().0, to, "life {life}");
            if life == 1 {
                node.world.kill("broker");
                drop(node.broker.take());
                node.start_again().await;
            } else {
                node.restart().await;
            }
        }
        set(&mut node, BROKER, "1", LIMIT, "10000000").await;
        node.world.pause(Duration::from_secs(2)).await;
        assert_eq!(lies(&mut node, "t").await, (vec![to.to_owned()], None));
        assert_eq!(on_disk(&node, "t"), [format!("{to}/t-0")]);
        assert_has(&mut node, &topic, 0, 30).await;
        assert_eq!(notes(&node), [""; 0]);
        drop(unwritten);
    });
}

#[test]
fn a_wish_that_was_taken_back_is_not_begun_again() {
    const LIMIT: &str = "replica.alter.log.dirs.io.max.bytes.per.second";
    with(&[BOTH[0], (LIMIT, "100")], async |mut node| {
        let topic = node.topic("t", &ROLLS).await;
        let removed = node.topic("r", &ROLLS).await;
        for topic in [&topic, &removed] {
            fill(&mut node, topic, 0, 30).await;
        }
        let from = home(&mut node, "t").await;
        let to = other(&from);
        let away = other(&home(&mut node, "r").await);
        place(&mut node, 2, &[(to, "t", &[0]), (away, "r", &[0])]).await;
        node.world.pause(Duration::from_millis(100)).await;
        assert_eq!(notes(&node).len(), 2);
        place(&mut node, 2, &[(&from, "t", &[0])]).await;
        delete(&mut node, 4, &["r"], &[]).await;
        node.world.pause(Duration::from_secs(1)).await;
        assert_eq!(notes(&node), [""; 0]);
        node.restart().await;
        node.world.pause(Duration::from_secs(1)).await;
        assert_eq!(lies(&mut node, "t").await, (vec![from.clone()], None));
        // As a power cut brings one back, and one of a topic that is gone.
        node.broker.take().unwrap().stop().await;
        let host = node.world.node("broker");
        for (dir, id) in [(from.as_str(), "7"), (to, "8")] {
            let name = format!("{dir}/.moving-{id:0>32}-0-5");
            let made = host
                .disk
                .open(name.as_ref(), millrace_host::OpenMode::Create);
            drop(made.unwrap());
        }
        node.start_again().await;
        node.world.pause(Duration::from_secs(1)).await;
        assert_eq!(notes(&node), [""; 0]);
        assert_has(&mut node, &topic, 0, 30).await;
    });
}

#[test]
fn a_topic_that_is_removed_while_it_moves_leaves_nothing() {
    let pairs = [
        BOTH[0],
        ("replica.alter.log.dirs.io.max.bytes.per.second", "100"),
    ];
    with(&pairs, async |mut node| {
        let topic = node.topic("t", &ROLLS).await;
        fill(&mut node, &topic, 0, 30).await;
        let to = other(&home(&mut node, "t").await);
        place(&mut node, 2, &[(to, "t", &[0])]).await;
        node.world.pause(Duration::from_millis(100)).await;
        assert_eq!(on_disk(&node, "t").len(), 2);
        node.remove_topic("t").await;
        node.world.pause(Duration::from_secs(61)).await;
        assert_eq!(on_disk(&node, "t"), [""; 0]);
        let again = node.topic("t", &ROLLS).await;
        fill(&mut node, &again, 0, 2).await;
        assert_has(&mut node, &again, 0, 2).await;
    });
}

#[test]
fn a_move_that_fails_leaves_the_replica_and_can_be_asked_for_again() {
    let failed = "millrace_replica_moves_total{how=\"failed\"}";
    // The other directory's disk is full: what is written to it is taken short.
    with(&BOTH, async |mut node| {
        let topic = node.topic("t", &ROLLS).await;
        fill(&mut node, &topic, 0, 12).await;
        let from = home(&mut node, "t").await;
        let to = other(&from);
        let fault = DiskFault {
            op: DiskOp::Write,
            path_contains: "-future".into(),
            when: When::Always,
            effect: DiskEffect::NoSpace,
        };
        let fault = node.world.inject("broker", fault);
        place(&mut node, 2, &[(to, "t", &[0])]).await;
        node.world.pause(Duration::from_secs(1)).await;
        assert_eq!(node.metric(failed), 1);
        assert_eq!(lies(&mut node, "t").await, (vec![from.clone()], None));
        assert_eq!(on_disk(&node, "t"), [format!("{from}/t-0")]);
        fill(&mut node, &topic, 12, 14).await;
        node.world.heal_disk("broker", Some(fault));
        move_over(&mut node, "t").await;
        assert_has(&mut node, &topic, 0, 14).await;
    });
    // The other directory fails.
    with(&BOTH, async |mut node| {
        let mut topic = node.topic("t0", &ROLLS).await;
        if home(&mut node, "t0").await == "/b" {
            topic = node.topic("t1", &ROLLS).await;
        }
        let name = topic.name.to_string();
        assert_eq!(home(&mut node, &name).await, "/a");
        fill(&mut node, &topic, 0, 12).await;
        let fault = strike(&node, DiskOp::Sync, "/b/");
        place(&mut node, 2, &[("/b", &name, &[0])]).await;
        node.world.pause(Duration::from_secs(1)).await;
        assert_eq!(node.metric(failed), 1);
        fill(&mut node, &topic, 12, 14).await;
        assert_eq!(place(&mut node, 2, &[("/b", &name, &[0])]).await, [(0, 56)]);
        node.world.heal_disk("broker", Some(fault));
        node.crash().await;
        assert_has(&mut node, &topic, 0, 14).await;
        move_over(&mut node, &name).await;
        assert_has(&mut node, &topic, 0, 14).await;
    });
}

#[test]
fn damage_does_not_move() {
    with(&BOTH, async |mut node| {
        let topic = node.topic("t", &ROLLS).await;
        fill(&mut node, &topic, 0, 12).await;
        node.restart().await;
        let from = home(&mut node, "t").await;
        let path = format!("{from}/t-0/00000000000000000000.log");
        let flipped = node.world.flip_bit(
            "broker",
            path.as_ref(),
            90,
            3,
            millrace_sim::FlipAt::Everywhere,
        );
        assert!(flipped);
        place(&mut node, 2, &[(other(&from), "t", &[0])]).await;
        node.world.pause(Duration::from_secs(1)).await;
        let failed = "millrace_replica_moves_total{how=\"failed\"}";
        assert_eq!(node.metric(failed), 1);
        assert_eq!(lies(&mut node, "t").await, (vec![from.clone()], None));
        assert_eq!(on_disk(&node, "t"), [format!("{from}/t-0")]);
    });
}

/// Syncs of copies that are being made take that long.
fn slow_copies(node: &Node, span: Duration) -> millrace_sim::FaultId {
    let fault = DiskFault {
        op: DiskOp::Sync,
        path_contains: "-future".into(),
        when: When::Always,
        effect: DiskEffect::Slow(span),
    };
    node.world.inject("broker", fault)
}

/// The branches of moves that were taken since the last call.
fn taken(branch: Branch) -> u64 {
    millrace_probe::take_reached().remove(&branch).unwrap_or(0)
}

#[test]
fn appends_are_held_for_five_seconds_at_most_and_the_move_tries_again() {
    for (heals, how, holds) in [(true, "moved", 1), (false, "failed", 3)] {
        with(&BOTH, async |mut node| {
            let topic = node.topic("t", &ROLLS).await;
            fill(&mut node, &topic, 0, 12).await;
            let from = home(&mut node, "t").await;
            let to = other(&from);
            taken(Branch::HoldGivenUp);
            let slow = slow_copies(&node, Duration::from_secs(7));
            place(&mut node, 2, &[(to, "t", &[0])]).await;
            let (mut end, mut longest) = (12, Duration::ZERO);
            let total = format!("millrace_replica_moves_total{{how=\"{how}\"}}");
            let mut given_up = 0;
            while node.metric(&total) == 0 {
                let start = node.now();
                fill(&mut node, &topic, end, end + 1).await;
                longest = longest.max(node.since(start));
                end += 1;
                node.world.pause(Duration::from_millis(500)).await;
                given_up += taken(Branch::HoldGivenUp);
                if heals && given_up > 0 {
                    node.world.heal_disk("broker", Some(slow));
                }
            }
            assert_eq!(given_up, holds, "{how}");
            let held = Duration::from_secs(4)..Duration::from_secs(6);
            assert!(held.contains(&longest), "{longest:?}");
            node.world.heal_disk("broker", Some(slow));
            let lies_now = home(&mut node, "t").await;
            assert_eq!(lies_now == to, heals);
            assert_eq!(on_disk(&node, "t"), [format!("{lies_now}/t-0")]);
            node.crash().await;
            assert_has(&mut node, &topic, 0, end).await;
        });
    }
}

#[test]
fn a_copy_that_is_not_the_partition_stays_while_the_one_that_is_is_away() {
    with(&BOTH, async |mut node| {
        // The metadata lie in /a: the other one may be away.
        let mut topic = node.topic("t0", &ROLLS).await;
        if home(&mut node, "t0").await == "/a" {
            topic = node.topic("t1", &ROLLS).await;
        }
        let name = topic.name.to_string();
        assert_eq!(home(&mut node, &name).await, "/b");
        fill(&mut node, &topic, 0, 12).await;
        // The copy has its name, and the record is not made.
        let slow = DiskFault {
            op: DiskOp::SyncDir,
            path_contains: "/a".into(),
            when: When::Always,
            effect: DiskEffect::Slow(Duration::from_secs(2)),
        };
        let slow = node.world.inject("broker", slow);
        place(&mut node, 2, &[("/a", &name, &[0])]).await;
        let both = [format!("/a/{name}-0"), format!("/b/{name}-0")];
        while on_disk(&node, &name) != both {
            node.world.pause(Duration::from_millis(20)).await;
        }
        node.world.kill("broker");
        drop(node.broker.take());
        node.world.heal_disk("broker", Some(slow));
        assert!(node.world.take_away("broker", "/b", false));
        taken(Branch::UnnamedCopyKept);
        node.start_again().await;
        node.world.pause(Duration::from_secs(2)).await;
        assert_eq!(taken(Branch::UnnamedCopyKept), 1);
        assert_eq!(node.fetch(&topic, 0).await.error_code, 56);
        assert_eq!(on_disk(&node, &name), [format!("/a/{name}-0")]);
        // Nothing is moved over it, either.
        assert_eq!(place(&mut node, 2, &[("/a", &name, &[0])]).await, [(0, 0)]);
        node.world.pause(Duration::from_secs(2)).await;
        assert_eq!(on_disk(&node, &name), [format!("/a/{name}-0")]);
        node.broker.take().unwrap().stop().await;
        node.world.bring_back("broker", "/b");
        node.start_again().await;
        node.world.pause(Duration::from_secs(2)).await;
        assert_has(&mut node, &topic, 0, 12).await;
        let now = home(&mut node, &name).await;
        assert_eq!(on_disk(&node, &name), [format!("{now}/{name}-0")]);
    });
}
