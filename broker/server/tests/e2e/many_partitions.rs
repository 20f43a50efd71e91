//! Partitions that nobody asks for: retention is owed to them too, and nothing is opened to tell of
//! them.

use std::time::Duration;

use millrace_protocol::api::Api;
use millrace_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use millrace_protocol::records::Options;

use crate::configs::{BROKER, TOPIC, set};
use crate::node::{Node, Topic, WALL_MS, batch, batch_of, with};
use crate::topics::delete;

const OPEN: &str = "millrace_partitions_open";

/// The first offset that can be fetched. Opens the partition.
async fn log_start(node: &mut Node, topic: &Topic) -> i64 {
    let mut offset = 0;
    while node.fetch(topic, offset).await.error_code != 0 {
        offset += 1;
    }
    offset
}

async fn produce(node: &mut Node, topic: &Topic, value: &str) {
    assert_eq!(node.produce(topic, batch(&[value])).await.error_code, 0);
}

#[test]
fn what_nobody_asked_for_since_the_start_is_retained_by_the_first_check() {
    for crash in [false, true] {
        let pairs = [("log.retention.check.interval.ms", "10000")];
        with(&pairs, async |mut node| {
            let old = node.topic("old", &[("retention.ms", "60000")]).await;
            let kept = node.topic("kept", &[("retention.ms", "-1")]).await;
            for topic in [&old, &kept] {
                produce(&mut node, topic, "a").await;
            }
            node.world.pause(Duration::from_mins(5)).await;
            if crash {
                node.crash().await;
            } else {
                node.restart().await;
            }
            node.world.pause(Duration::from_secs(12)).await;
            assert_eq!(node.metric(OPEN), 1, "only what may be due is opened");
            assert_eq!(log_start(&mut node, &old).await, 1);
            assert_eq!(log_start(&mut node, &kept).await, 0);
        });
    }
}

#[test]
fn what_waits_for_its_time_is_retained_by_the_check_behind_it() {
    let pairs = [("log.retention.check.interval.ms", "10000")];
    with(&pairs, async |mut node| {
        let topic = node.topic("t", &[("retention.ms", "600000")]).await;
        produce(&mut node, &topic, "a").await;
        node.restart().await;
        node.world.pause(Duration::from_mins(9)).await;
        node.client = node.connect().await;
        assert_eq!(log_start(&mut node, &topic).await, 0);
        node.world.pause(Duration::from_secs(80)).await;
        assert_eq!(log_start(&mut node, &topic).await, 1);
        // What is written later has its own time.
        let later = batch_of(Options::default(), WALL_MS + 600_000, &["b"]);
        assert_eq!(node.produce(&topic, later).await.error_code, 0);
        node.world.pause(Duration::from_mins(9)).await;
        node.client = node.connect().await;
        assert_eq!(log_start(&mut node, &topic).await, 1);
    });
}

#[test]
fn a_configuration_that_changes_reaches_what_is_not_open() {
    let pairs = [("log.retention.check.interval.ms", "10000")];
    with(&pairs, async |mut node| {
        let mut topics = Vec::new();
        for name in ["by-topic", "by-broker"] {
            let topic = node.topic(name, &[("retention.ms", "-1")]).await;
            produce(&mut node, &topic, "a").await;
            topics.push(topic);
        }
        node.restart().await;
        node.world.pause(Duration::from_mins(2)).await;
        assert_eq!(node.metric(OPEN), 0);
        set(&mut node, TOPIC, "by-topic", "retention.ms", "60000").await;
        node.world.pause(Duration::from_secs(15)).await;
        assert_eq!(log_start(&mut node, &topics[0]).await, 1);
        set(&mut node, TOPIC, "by-broker", "cleanup.policy", "delete").await;
        set(&mut node, BROKER, "", "log.retention.ms", "60000").await;
        node.world.pause(Duration::from_secs(15)).await;
        assert_eq!(log_start(&mut node, &topics[1]).await, 0, "its own says -1");
    });
}

#[test]
fn an_old_record_behind_a_young_one_holds_nothing_up() {
    let pairs = [("log.retention.check.interval.ms", "10000")];
    with(&pairs, async |mut node| {
        let topic = node.topic("t", &[("retention.ms", "60000")]).await;
        // Its producer's clock is years back.
        let old = batch_of(Options::default(), 1_000, &["a"]);
        assert_eq!(node.produce(&topic, old).await.error_code, 0);
        node.world.pause(Duration::from_secs(25)).await;
        assert_eq!(log_start(&mut node, &topic).await, 1);
    });
}

#[test]
fn sizes_are_told_of_what_is_not_open() {
    for crash in [false, true] {
        with(&[], async |mut node| {
            for name in ["a", "b"] {
                let topic = node.topic(name, &[]).await;
                produce(&mut node, &topic, "v").await;
            }
            let before = sizes(&mut node).await;
            assert_eq!(before.len(), 2);
            assert!(before.iter().all(|bytes| *bytes > 60));
            if crash {
                node.crash().await;
            } else {
                node.restart().await;
            }
            assert_eq!(sizes(&mut node).await, before);
            assert_eq!(node.metric(OPEN), 0);
        });
    }
}

async fn sizes(node: &mut Node) -> Vec<i64> {
    let mut request = DescribeLogDirsRequest::default();
    request.topics = None;
    let asked = node.client.ask(Api::DescribeLogDirs, 4, &request);
    let response: DescribeLogDirsResponse = asked.await;
    let topics = response.results.iter().flat_map(|dir| &dir.topics);
    let rows = topics.flat_map(|topic| &topic.partitions);
    rows.map(|row| row.partition_size).collect()
}

#[test]
fn a_clean_stop_writes_nothing_of_what_was_only_read() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        produce(&mut node, &topic, "a").await;
        node.restart().await;
        assert_eq!(node.values(&topic, 0).await, ["a"]);
        node.restart().await;
        assert_eq!(node.values(&topic, 0).await, ["a"]);
        produce(&mut node, &topic, "b").await;
        node.restart().await;
        assert_eq!(node.values(&topic, 0).await, ["a", "b"]);
    });
}

#[test]
fn memory_of_many_deleted_partitions_goes_back_to_the_machine_once() {
    with(&[], async |mut node| {
        let few = node.topic_of("few", 20, &[]).await;
        assert_eq!(node.produce_to_each(&few, 20, "a").await, [0; 20]);
        for (name, opened) in [("some", 1000), ("never", 0)] {
            let many = node.topic_of(name, 1000, &[]).await;
            let codes = node.produce_to_each(&many, opened, "a").await;
            assert!(codes.iter().all(|code| *code == 0));
        }
        delete(&mut node, 4, &["few"], &[]).await;
        node.world.pause(Duration::from_mins(1)).await;
        assert_eq!(node.world.given_back("broker"), 0, "it isn't worth it");
        delete(&mut node, 4, &["some"], &[]).await;
        node.world.pause(Duration::from_mins(1)).await;
        assert_eq!(node.world.given_back("broker"), 1);
        delete(&mut node, 4, &["never"], &[]).await;
        node.world.pause(Duration::from_mins(1)).await;
        assert_eq!(node.world.given_back("broker"), 1, "nothing was open");
    });
}
