//! Syncs that take long or never return: a disk that hangs is lost as one that fails
//! (`log.sync.timeout.ms`), on the clock of the simulation.

use std::time::Duration;

use millrace_protocol::api::Api;
use millrace_protocol::messages::{self, ProduceResponse};
use millrace_sim::{DiskEffect, DiskFault, DiskOp, FaultId, When};

use crate::directories::{PARTITIONS, assert_b_is_lost_and_a_is_served, spread};
use crate::node::{Node, PRODUCE, Topic, batch, produce_request, with};

const STORAGE: i16 = 56;
const LIMIT: Duration = Duration::from_secs(5);
/// The first directory holds the metadata log.
const BOTH: [(&str, &str); 2] = [("log.dirs", "/a,/b"), ("log.sync.timeout.ms", "5000")];

fn strike(node: &Node, op: DiskOp, path: &str, effect: DiskEffect) -> FaultId {
    let fault = DiskFault {
        op,
        path_contains: path.into(),
        when: When::Always,
        effect,
    };
    node.world.inject("broker", fault)
}

/// The code of one produce to a partition, and how long it took.
async fn timed(node: &mut Node, topic: &Topic, partition: usize, value: &str) -> (i16, Duration) {
    let start = node.now();
    let request = produce_request(topic, partition as i32, -1, Some(batch(&[value])));
    let code = node.produce_row(PRODUCE, &request).await.error_code;
    (code, node.since(start))
}

#[test]
fn a_directory_whose_sync_hangs_is_offline_after_the_limit_and_for_good() {
    for (op, value) in [
        (DiskOp::Sync, "lost".to_owned()),
        // Large enough to be synced with its names instead of journaled.
        (DiskOp::SyncDir, "lost".repeat(50_000)),
    ] {
        with(&BOTH, async |mut node| {
            let (topic, in_b) = spread(&mut node).await;
            let served = in_b.iter().position(|in_b| !in_b).unwrap();
            let fresh = node.topic_of("fresh", PARTITIONS, &[]).await;
            let at = if op == DiskOp::Sync { &topic } else { &fresh };
            let fault = strike(&node, op, "/b", DiskEffect::Hang);
            let mut other = node.connect().await;
            let beside = async {
                let request = produce_request(&topic, served as i32, -1, Some(batch(&["more"])));
                let answer: ProduceResponse = other.ask(Api::Produce, PRODUCE, &request).await;
                answer.responses[0].partition_responses[0].error_code
            };
            let start = node.now();
            let (codes, beside) =
                tokio::join!(node.produce_to_each(at, PARTITIONS, &value), beside);
            // Half of a topic's partitions are in each directory.
            let refused = codes.iter().filter(|code| **code == STORAGE).count();
            assert_eq!((refused, beside), (2, 0), "{op:?}: {codes:?}");
            let took = node.since(start);
            let within = LIMIT..LIMIT + Duration::from_secs(1);
            assert!(within.contains(&took), "{op:?}: {took:?}");
            assert!(node.metric("millrace_syncs_given_up_total") > 0);
            // The sync returns after all, and nobody hears of it.
            node.world.heal_disk("broker", Some(fault));
            node.world.pause(Duration::from_secs(1)).await;
            assert_eq!(node.metric("millrace_slow_syncs"), 0);
            assert_b_is_lost_and_a_is_served(&mut node, &topic, &in_b).await;
            node.crash().await;
            for found in node.read_each(&topic, PARTITIONS).await {
                assert_eq!(found.unwrap()[0], "kept");
            }
        });
    }
}

#[test]
fn a_metadata_log_whose_sync_hangs_ends_the_node() {
    with(&BOTH, async |mut node| {
        let (topic, in_b) = spread(&mut node).await;
        let a = in_b.iter().position(|in_b| !in_b).unwrap();
        let fault = strike(&node, DiskOp::Sync, "/a", DiskEffect::Hang);
        let start = node.now();
        let request = produce_request(&topic, a as i32, -1, Some(batch(&["lost"])));
        let body = messages::encode(&request, PRODUCE).unwrap();
        node.client.send_request(0, PRODUCE, true, &body).await;
        let broker = node.broker.take().unwrap();
        let words = broker.failed().await.to_string();
        assert!(node.since(start) >= LIMIT, "{:?}", node.since(start));
        assert!(words.contains("log.sync.timeout.ms"), "{words}");
        while node.client.reply().await.is_some() {}
        node.world.crash("broker");
        drop(broker);
        node.world.heal_disk("broker", Some(fault));
        node.start_again().await;
        for found in node.read_each(&topic, PARTITIONS).await {
            assert_eq!(found.unwrap()[0], "kept");
        }
    });
}

#[test]
fn a_sync_that_is_only_slow_costs_time_and_is_counted() {
    with(&BOTH, async |mut node| {
        let (topic, _) = spread(&mut node).await;
        let slow = DiskEffect::Slow(LIMIT.saturating_sub(Duration::from_secs(1)));
        let fault = strike(&node, DiskOp::Sync, "journal", slow);
        let (code, took) = timed(&mut node, &topic, 0, "late").await;
        assert_eq!(code, 0);
        assert!(
            took >= LIMIT.saturating_sub(Duration::from_secs(1)),
            "{took:?}"
        );
        assert!(node.metric("millrace_slow_syncs_total") > 0);
        assert_eq!(node.metric("millrace_syncs_given_up_total"), 0);
        node.world.heal_disk("broker", Some(fault));
        node.world.pause(LIMIT).await;
        assert_eq!(node.metric("millrace_slow_syncs"), 0);
        assert_eq!(node.metric("millrace_log_directories_offline"), 0);
        let codes = node.produce_to_each(&topic, PARTITIONS, "again").await;
        assert_eq!(codes, [0; 4]);
    });
}

#[test]
fn a_start_and_a_stop_on_a_disk_that_hangs_come_to_an_end() {
    with(&BOTH, async |mut node| {
        let (topic, _) = spread(&mut node).await;
        let fault = strike(&node, DiskOp::Sync, "/a", DiskEffect::Hang);
        let start = node.now();
        let words = node.refusal().await;
        assert!(words.contains("log.sync.timeout.ms"), "{words}");
        assert!(node.since(start) < Duration::from_mins(1));
        node.world.heal_disk("broker", Some(fault));
        node.start_again().await;
        let codes = node.produce_to_each(&topic, PARTITIONS, "again").await;
        assert_eq!(codes, [0; 4]);
    });
}
