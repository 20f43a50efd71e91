//! Keys of a broker that groups go by: one test for each thing that they say.

use std::time::Duration;

use millrace_protocol::api::Api;
use millrace_protocol::messages::{MetadataRequest, MetadataResponse};
use millrace_sim::{DiskEffect, DiskFault, DiskOp, When};

use crate::configs::{TOPIC, describe};
use crate::groups::{commit, coordinator, fetch, member};
use crate::node::{Node, Topic, with};

/// Who commits without being a member.
const NOBODY: (&str, &str, i32) = ("g", "", -1);

/// The offset that the group has of partition 0; -1 for none.
async fn kept(node: &mut Node, topic: &Topic) -> i64 {
    fetch(node, 5, "g", Some(topic)).await[0].0
}

#[test]
fn sessions_are_as_long_as_they_may_be() {
    for (key, value, expected) in [
        ("group.min.session.timeout.ms", "10000", 0),
        ("group.min.session.timeout.ms", "10001", 26),
        ("group.max.session.timeout.ms", "10000", 0),
        ("group.max.session.timeout.ms", "9999", 26),
    ] {
        let pairs = [(key, value), ("group.initial.rebalance.delay.ms", "0")];
        with(&pairs, async |mut node| {
            coordinator(&mut node).await;
            let joined = member(&mut node, 3, "g").await;
            assert_eq!(joined.error_code, expected, "{key}={value}");
        });
    }
}

#[test]
fn a_group_that_begins_waits_for_others_as_long_as_is_set() {
    for (delay, seconds) in [("0", 0), ("5000", 5)] {
        with(
            &[("group.initial.rebalance.delay.ms", delay)],
            async |mut node| {
                coordinator(&mut node).await;
                let start = node.now();
                assert_eq!(member(&mut node, 3, "g").await.error_code, 0);
                assert_eq!(node.since(start).as_secs(), seconds);
            },
        );
    }
}

#[test]
fn a_group_has_no_more_members_than_it_may() {
    let pairs = [
        ("group.max.size", "1"),
        ("group.initial.rebalance.delay.ms", "0"),
    ];
    with(&pairs, async |mut node| {
        coordinator(&mut node).await;
        assert_eq!(member(&mut node, 3, "g").await.error_code, 0);
        assert_eq!(member(&mut node, 3, "g").await.error_code, 81);
        assert_eq!(member(&mut node, 3, "other").await.error_code, 0);
    });
}

#[test]
fn what_stands_beside_an_offset_has_a_size() {
    for (bytes, expected) in [("3", 12), ("4", 0)] {
        with(&[("offset.metadata.max.bytes", bytes)], async |mut node| {
            let topic = node.topic("t", &[]).await;
            coordinator(&mut node).await;
            let codes = commit(&mut node, 5, NOBODY, &topic, 7).await;
            assert_eq!(codes[0], expected);
        });
    }
}

#[test]
fn the_topic_of_offsets_is_made_as_is_set() {
    let pairs = [
        ("offsets.topic.num.partitions", "3"),
        // As many as there are brokers, where those are fewer.
        ("offsets.topic.replication.factor", "2"),
        ("offsets.topic.segment.bytes", "2097152"),
        // How much is read at once while groups are loaded: no more than one batch.
        ("offsets.load.buffer.size", "1"),
    ];
    with(&pairs, async |mut node| {
        const NAME: &str = "__consumer_offsets";
        let topic = node.topic("t", &[]).await;
        coordinator(&mut node).await;
        let mut request = MetadataRequest::default();
        request.topics = None;
        let told: MetadataResponse = node.client.ask(Api::Metadata, 12, &request).await;
        let mut topics = told.topics.iter();
        let own = topics.find(|topic| topic.name.as_ref().is_some_and(|name| &**name == NAME));
        let partitions = &own.unwrap().partitions;
        assert_eq!(
            (partitions.len(), partitions[0].replica_nodes.len()),
            (3, 1)
        );
        let told = describe(&mut node, 4, (TOPIC, NAME), Some(&["segment.bytes"])).await;
        assert_eq!(told.configs[0].value.as_deref(), Some("2097152"));
        for offset in 0..20 {
            assert_eq!(commit(&mut node, 5, NOBODY, &topic, offset).await[0], 0);
        }
        node.restart().await;
        coordinator(&mut node).await;
        assert_eq!(kept(&mut node, &topic).await, 19);
    });
}

#[test]
fn offsets_are_kept_for_their_time_and_looked_at_as_often_as_is_set() {
    for (interval, after_90_s) in [("1000", -1), ("600000", 7)] {
        let pairs = [
            ("offsets.retention.minutes", "1"),
            ("offsets.retention.check.interval.ms", interval),
        ];
        with(&pairs, async |mut node| {
            let topic = node.topic("t", &[]).await;
            coordinator(&mut node).await;
            assert_eq!(commit(&mut node, 5, NOBODY, &topic, 7).await[0], 0);
            node.world.pause(Duration::from_secs(50)).await;
            assert_eq!(kept(&mut node, &topic).await, 7);
            node.world.pause(Duration::from_secs(40)).await;
            assert_eq!(kept(&mut node, &topic).await, after_90_s, "{interval}");
            node.world.pause(Duration::from_mins(9)).await;
            node.client = node.connect().await;
            node.world.pause(Duration::from_mins(9)).await;
            node.client = node.connect().await;
            assert_eq!(kept(&mut node, &topic).await, -1, "{interval}");
        });
    }
}

#[test]
fn a_commit_waits_for_the_disk_as_long_as_is_set() {
    for (limit, in_time) in [("1000", false), ("60000", true)] {
        with(&[("offsets.commit.timeout.ms", limit)], async |mut node| {
            let topic = node.topic("t", &[]).await;
            coordinator(&mut node).await;
            assert_eq!(commit(&mut node, 5, NOBODY, &topic, 7).await[0], 0);
            let fault = DiskFault {
                op: DiskOp::Sync,
                path_contains: String::new(),
                when: When::Always,
                effect: DiskEffect::Slow(Duration::from_secs(6)),
            };
            node.world.inject("broker", fault);
            let start = node.now();
            let code = commit(&mut node, 5, NOBODY, &topic, 8).await[0];
            assert_eq!(code == 0, in_time, "{limit}: {code}");
            assert_eq!(node.since(start) < Duration::from_secs(3), !in_time);
        });
    }
}
