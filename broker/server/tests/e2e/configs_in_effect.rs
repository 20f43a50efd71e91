//! Configurations that change while a node runs act on partitions that are open: one test for each
//! thing that changes.

use std::time::Duration;

use bytes::Bytes;
use millrace_protocol::records::{Batch, BatchBuilder, Codec, Options};

use crate::configs::{BROKER, TOPIC, set};
use crate::node::{Node, Topic, WALL_MS, batch, batch_from, batch_of, with};

/// The code with which a batch is taken.
async fn code(node: &mut Node, topic: &Topic, bytes: Bytes) -> i16 {
    node.produce(topic, bytes).await.error_code
}

#[test]
fn a_batch_is_held_to_the_size_that_is_set_now() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        let big = batch(&["x".repeat(5000).as_str()]);
        assert_eq!(code(&mut node, &topic, big.clone()).await, 0);
        set(&mut node, TOPIC, "t", "max.message.bytes", "1000").await;
        assert_eq!(code(&mut node, &topic, big.clone()).await, 10);
        set(&mut node, TOPIC, "t", "max.message.bytes", "10000").await;
        assert_eq!(code(&mut node, &topic, big.clone()).await, 0);
        // The broker's own reaches a topic that does not say otherwise.
        let other = node.topic("o", &[]).await;
        set(&mut node, BROKER, "", "message.max.bytes", "1000").await;
        assert_eq!(code(&mut node, &other, big.clone()).await, 10);
        assert_eq!(code(&mut node, &topic, big).await, 0);
    });
}

#[test]
fn an_open_partition_goes_by_new_rules_of_time_and_codec() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        let small = batch(&["x"]);
        assert_eq!(
            node.produce(&topic, small.clone()).await.log_append_time_ms,
            -1
        );
        set(
            &mut node,
            TOPIC,
            "t",
            "message.timestamp.type",
            "LogAppendTime",
        )
        .await;
        assert!(node.produce(&topic, small.clone()).await.log_append_time_ms > 0);
        set(
            &mut node,
            TOPIC,
            "t",
            "message.timestamp.type",
            "CreateTime",
        )
        .await;
        set(
            &mut node,
            TOPIC,
            "t",
            "message.timestamp.before.max.ms",
            "1000",
        )
        .await;
        let old = batch_of(Options::default(), WALL_MS - 3_600_000, &["old"]);
        assert_eq!(code(&mut node, &topic, old).await, 32);
        set(
            &mut node,
            TOPIC,
            "t",
            "message.timestamp.before.max.ms",
            "9000000",
        )
        .await;
        let young = batch_of(Options::default(), WALL_MS + 3_000_000, &["young"]);
        assert_eq!(code(&mut node, &topic, young.clone()).await, 0);
        set(
            &mut node,
            TOPIC,
            "t",
            "message.timestamp.after.max.ms",
            "1000",
        )
        .await;
        assert_eq!(code(&mut node, &topic, young).await, 32);

        set(&mut node, TOPIC, "t", "compression.type", "zstd").await;
        set(&mut node, TOPIC, "t", "compression.zstd.level", "1").await;
        let at = node.produce(&topic, small.clone()).await.base_offset;
        let stored = node.fetch(&topic, at).await.records.unwrap();
        assert_eq!(
            Batch::parse(stored).unwrap().header.codec(),
            Ok(Codec::Zstd)
        );
        set(&mut node, TOPIC, "t", "min.insync.replicas", "2").await;
        // What counts is the smaller of it and the replication factor.
        assert_eq!(code(&mut node, &topic, small).await, 0);
    });
}

#[test]
fn a_compacted_topic_takes_no_record_without_a_key_and_retention_leaves_it_alone() {
    let pairs = [("log.retention.check.interval.ms", "1000")];
    with(&pairs, async |mut node| {
        let topic = node
            .topic("t", &[("cleanup.policy", "compact"), ("retention.ms", "1")])
            .await;
        let mut builder = BatchBuilder::new(Options::default());
        builder.push(WALL_MS, None, Some(b"v"), &[]).unwrap();
        let keyless = builder.build();
        assert_eq!(code(&mut node, &topic, keyless.clone()).await, 87);
        assert_eq!(code(&mut node, &topic, batch(&["v"])).await, 0);
        node.world.pause(Duration::from_mins(1)).await;
        assert_eq!(
            node.values(&topic, 0).await,
            ["v"],
            "retention deletes nothing"
        );
        set(&mut node, TOPIC, "t", "cleanup.policy", "delete").await;
        assert_eq!(code(&mut node, &topic, keyless).await, 0);
        node.world.pause(Duration::from_mins(1)).await;
        assert_eq!(
            node.fetch(&topic, 0).await.error_code,
            1,
            "and then it does"
        );
    });
}

/// First offset that is there.
async fn log_start(node: &mut Node, topic: &Topic) -> i64 {
    let mut offset = 0;
    while node.fetch(topic, offset).await.error_code != 0 {
        offset += 1;
    }
    offset
}

#[test]
fn segments_and_retention_of_an_open_partition_change_at_once() {
    let pairs = [("log.retention.check.interval.ms", "1000")];
    with(&pairs, async |mut node| {
        let topic = node.topic("t", &[("file.delete.delay.ms", "0")]).await;
        let half = batch(&["x".repeat(700_000).as_str()]);
        for _ in 0..3 {
            assert_eq!(code(&mut node, &topic, half.clone()).await, 0);
        }
        set(&mut node, TOPIC, "t", "retention.bytes", "1000000").await;
        node.world.pause(Duration::from_secs(10)).await;
        assert_eq!(
            log_start(&mut node, &topic).await,
            0,
            "one segment, still written"
        );
        set(&mut node, TOPIC, "t", "segment.bytes", "1048576").await;
        for _ in 0..3 {
            assert_eq!(code(&mut node, &topic, half.clone()).await, 0);
        }
        node.world.pause(Duration::from_secs(10)).await;
        let kept_by_size = log_start(&mut node, &topic).await;
        assert!(kept_by_size >= 3, "{kept_by_size}");
        // By age, and for every topic of the broker.
        let other = node.topic("o", &[]).await;
        assert_eq!(code(&mut node, &other, batch(&["old"])).await, 0);
        set(&mut node, BROKER, "1", "log.retention.ms", "5000").await;
        node.world.pause(Duration::from_mins(1)).await;
        assert!(log_start(&mut node, &other).await > 0);
        // A segment of its own for what comes an hour later.
        set(&mut node, TOPIC, "t", "segment.ms", "1000").await;
        set(&mut node, TOPIC, "t", "retention.ms", "-1").await;
        let before = node.fetch(&topic, 6).await.high_watermark;
        assert_eq!(code(&mut node, &topic, batch(&["a"])).await, 0);
        let later = batch_of(Options::default(), WALL_MS + 3_000_000, &["b"]);
        assert_eq!(code(&mut node, &topic, later).await, 0);
        assert_eq!(
            node.values(&topic, before)
                .await
                .first()
                .map(String::as_str),
            Some("a")
        );
        set(&mut node, TOPIC, "t", "retention.ms", "60000").await;
        node.world.pause(Duration::from_mins(1)).await;
        assert!(
            log_start(&mut node, &topic).await > before,
            "the segment before it went"
        );
    });
}

#[test]
fn a_producer_is_forgotten_after_the_time_that_is_set_while_it_runs() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        let first = batch_from((9, 0, 0), &["a"]);
        assert_eq!(code(&mut node, &topic, first).await, 0);
        set(&mut node, BROKER, "1", "producer.id.expiration.ms", "1000").await;
        node.world.pause(Duration::from_mins(20)).await;
        node.client = node.connect().await;
        // Behind a gap: of a producer that is known it would be out of order (45).
        let next = batch_from((9, 0, 5), &["b"]);
        assert_eq!(code(&mut node, &topic, next).await, 0);
    });
}

#[test]
fn connections_are_limited_by_what_is_set_while_the_node_runs() {
    with(&[], async |mut node| {
        set(&mut node, BROKER, "1", "max.connections.per.ip", "2").await;
        let mut second = node.connect().await;
        assert!(second.is_served().await);
        assert_eq!(node.connect().await.reply().await, None);
        node.restart().await;
        let mut second = node.connect().await;
        assert!(second.is_served().await);
        let refused = node.connect().await.reply().await;
        assert_eq!(refused, None, "it holds from the first connection on");
        set(&mut node, BROKER, "1", "max.connections.per.ip", "10").await;
        assert!(node.connect().await.is_served().await);
        set(&mut node, BROKER, "", "max.connections", "2").await;
        assert_eq!(node.connect().await.reply().await, None);
    });
}

#[test]
fn connections_are_accepted_at_the_rate_that_is_set_while_the_node_runs() {
    with(&[], async |mut node| {
        let elapsed = async |node: &Node, count| {
            let start = node.now();
            for _ in 0..count {
                assert!(node.connect().await.is_served().await);
            }
            node.since(start)
        };
        assert!(elapsed(&node, 20).await < Duration::from_secs(1));
        set(&mut node, BROKER, "1", "max.connection.creation.rate", "2").await;
        let slow = elapsed(&node, 10).await;
        let expected = Duration::from_secs(3)..Duration::from_secs(6);
        assert!(expected.contains(&slow), "{slow:?}");
        assert!(node.metric("millrace_accepts_delayed_total") > 0);
        let rate = "max.connection.creation.rate";
        set(&mut node, BROKER, "1", rate, "1000").await;
        node.world.pause(Duration::from_secs(2)).await;
        assert!(elapsed(&node, 20).await < Duration::from_secs(1));
    });
}

#[test]
fn durability_changes_both_ways_while_records_come() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        let mut expected = Vec::new();
        for (round, durability) in ["page-cache", "fsync", "page-cache", "fsync"]
            .iter()
            .enumerate()
        {
            for at in 0..3 {
                let value = format!("{round} {at}");
                assert_eq!(code(&mut node, &topic, batch(&[&value])).await, 0);
                expected.push(value);
            }
            set(&mut node, TOPIC, "t", "durability", durability).await;
        }
        node.world.pause(Duration::from_secs(1)).await;
        assert_eq!(code(&mut node, &topic, batch(&["last"])).await, 0);
        expected.push("last".to_owned());
        // By the rule that holds now, everything that was acknowledged is there.
        node.crash().await;
        assert_eq!(node.values(&topic, 0).await, expected);
        // A log that was never written changes at once.
        let empty = node.topic("e", &[]).await;
        assert_eq!(node.fetch(&empty, 0).await.error_code, 0);
        set(&mut node, TOPIC, "e", "durability", "page-cache").await;
        assert_eq!(code(&mut node, &empty, batch(&["x"])).await, 0);
        assert_eq!(node.values(&empty, 0).await, ["x"]);
    });
}
