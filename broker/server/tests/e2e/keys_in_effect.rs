//! Keys of a broker that are read at a start do what they say: one test for each that no other test of
//! its subject gives.

use std::time::Duration;

use bytes::Bytes;
use millrace_protocol::api::Api;
use millrace_protocol::messages::{self, CreateTopicsRequest};
use millrace_protocol::records::{BatchBuilder, Options};
use millrace_sim::{DiskEffect, DiskFault, DiskOp, When};

use crate::directories::BOTH;
use crate::log_dirs::place;
use crate::node::{
    FETCH, Node, PRODUCE, Topic, address, batch, batch_from, fetch_request, new_topic,
    produce_request, with,
};
use crate::wire::Client;

async fn code(node: &mut Node, topic: &Topic, bytes: Bytes) -> i16 {
    node.produce(topic, bytes).await.error_code
}

fn slow_syncs(node: &Node, span: Duration) {
    let fault = DiskFault {
        op: DiskOp::Sync,
        path_contains: String::new(),
        when: When::Always,
        effect: DiskEffect::Slow(span),
    };
    node.world.inject("broker", fault);
}

/// How long the node lets a connection be.
async fn closed_after(node: &Node, client: &mut Client) -> Duration {
    let start = node.now();
    assert_eq!(client.reply().await, None);
    node.since(start)
}

fn is_about(found: Duration, seconds: u64) -> bool {
    let least = Duration::from_secs(seconds);
    found.abs_diff(least) < Duration::from_millis(500)
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    with(&[("connections.max.idle.ms", "7000")], async |mut node| {
        assert!(node.client.is_served().await);
        let other = node.connect().await;
        let mut client = std::mem::replace(&mut node.client, other);
        let found = closed_after(&node, &mut client).await;
        assert!(is_about(found, 7), "{found:?}");
    });
}

#[test]
fn a_request_that_is_begun_and_does_not_arrive_is_closed_after_its_time() {
    with(&[("request.read.timeout.ms", "3000")], async |mut node| {
        node.client.send(vec![0, 0, 0, 50, 0]).await;
        let other = node.connect().await;
        let mut client = std::mem::replace(&mut node.client, other);
        let found = closed_after(&node, &mut client).await;
        assert!(is_about(found, 3), "{found:?}");
    });
}

#[test]
fn a_stop_waits_for_requests_as_long_as_it_may() {
    for (limit, seconds) in [("2000", 2), ("30000", 9)] {
        with(&[("shutdown.timeout.ms", limit)], async |mut node| {
            let topic = node.topic("t", &[]).await;
            assert_eq!(code(&mut node, &topic, batch(&["a"])).await, 0);
            slow_syncs(&node, Duration::from_secs(9));
            let request = produce_request(&topic, 0, -1, Some(batch(&["b"])));
            let body = messages::encode(&request, PRODUCE).unwrap();
            let key = Api::Produce.key();
            node.client.send_request(key, PRODUCE, true, &body).await;
            node.world.pause(Duration::from_millis(100)).await;
            let start = node.now();
            let broker = node.broker.take().unwrap();
            let (answer, ()) = tokio::join!(
                async { (node.client.reply().await.is_some(), node.since(start)) },
                broker.stop()
            );
            assert_eq!(answer.0, seconds == 9, "{limit}");
            assert!(answer.1.abs_diff(Duration::from_secs(seconds)) < Duration::from_secs(1));
        });
    }
}

#[test]
fn connections_that_are_not_accepted_yet_are_as_many_as_may_wait() {
    for (backlog, seconds) in [("3", 7..12), ("50", 0..1)] {
        let pairs = [
            ("socket.listen.backlog.size", backlog),
            ("max.connection.creation.rate", "1"),
        ];
        with(&pairs, async |node| {
            // Whoever finds no place waits for one, as a machine has a client try again.
            let start = node.now();
            for _ in 0..12 {
                node.host.net.connect(address()).await.unwrap();
            }
            let took = node.since(start).as_secs();
            assert!(seconds.contains(&took), "{backlog}: {took} s");
        });
    }
}

#[test]
fn so_many_requests_of_a_connection_are_in_progress() {
    const REQUESTS: &str = "millrace_requests_total{api=\"Produce\"}";
    for (value, begun) in [("2", 2), ("64", 5)] {
        with(&[("connection.requests.max", value)], async |mut node| {
            let topic = node.topic("t", &[]).await;
            assert_eq!(code(&mut node, &topic, batch(&["a"])).await, 0);
            let before = node.metric(REQUESTS);
            slow_syncs(&node, Duration::from_secs(5));
            let request = produce_request(&topic, 0, -1, Some(batch(&["x"])));
            let body = messages::encode(&request, PRODUCE).unwrap();
            for _ in 0..5 {
                let key = Api::Produce.key();
                node.client.send_request(key, PRODUCE, true, &body).await;
            }
            node.world.pause(Duration::from_secs(2)).await;
            assert_eq!(node.metric(REQUESTS) - before, begun, "{value}");
            for _ in 0..5 {
                assert!(node.client.reply().await.is_some());
            }
        });
    }
}

#[test]
fn a_fetch_is_answered_with_as_much_as_the_broker_sends_at_once() {
    with(&[("fetch.max.bytes", "2000")], async |mut node| {
        let topic = node.topic("t", &[]).await;
        let value = "x".repeat(900);
        for _ in 0..4 {
            assert_eq!(code(&mut node, &topic, batch(&[&value])).await, 0);
        }
        let mut request = fetch_request(&topic, &[(0, 0)]);
        request.max_bytes = i32::MAX;
        request.topics[0].partitions[0].partition_max_bytes = i32::MAX;
        let rows = crate::fetch::ask(&mut node.client, FETCH, &request).await;
        let len = rows[0].records.as_ref().unwrap().len();
        assert!((1000..=2000).contains(&len), "{len}");
    });
}

#[test]
fn a_topic_has_as_many_replicas_as_the_broker_says_where_nobody_does() {
    for (factor, expected) in [("1", 0), ("2", 38)] {
        with(
            &[("default.replication.factor", factor)],
            async |mut node| {
                let mut request = CreateTopicsRequest::default();
                let mut topic = new_topic("t", 1, &[]);
                topic.replication_factor = -1;
                request.topics = vec![topic];
                let rows = node.create(7, &request).await;
                assert_eq!(rows[0].error_code, expected);
            },
        );
    }
}

#[test]
fn a_partition_remembers_so_many_producers() {
    for (limit, expected) in [("1", 19), ("2", 0)] {
        let key = "producer.ids.per.partition.max";
        with(&[(key, limit)], async |mut node| {
            let topic = node.topic("t", &[]).await;
            let first = batch_from((7, 0, 0), &["a"]);
            assert_eq!(code(&mut node, &topic, first).await, 0);
            // The other one appended lately, and isn't forgotten for it.
            let second = batch_from((8, 0, 0), &["b"]);
            assert_eq!(code(&mut node, &topic, second).await, expected, "{limit}");
        });
    }
}

#[test]
fn so_many_replicas_move_at_once() {
    for (threads, expected) in [("1", 1), ("2", 2)] {
        let pairs = [
            BOTH[0],
            ("num.replica.alter.log.dirs.threads", threads),
            ("replica.alter.log.dirs.io.max.bytes.per.second", "10"),
        ];
        with(&pairs, async |mut node| {
            for name in ["t", "u", "v"] {
                let topic = node.topic(name, &[]).await;
                assert_eq!(code(&mut node, &topic, batch(&["a"])).await, 0);
            }
            let all: [(&str, &[i32]); 3] = [("t", &[0]), ("u", &[0]), ("v", &[0])];
            for (name, partitions) in all {
                for dir in ["/a", "/b"] {
                    place(&mut node, 2, &[(dir, name, partitions)]).await;
                }
                node.world.pause(Duration::from_millis(50)).await;
            }
            node.world.pause(Duration::from_secs(1)).await;
            let files = node.world.files("broker").into_iter();
            let mut copies: Vec<_> = files
                .map(|(path, _)| path.display().to_string())
                .filter(|path| path.contains("-future/") && path.ends_with("0.log"))
                .collect();
            copies.sort();
            assert!(copies.len() <= expected, "{copies:?}");
            let wished = node.metric("millrace_replica_moves");
            assert_eq!(
                copies.len() as u64,
                wished.min(expected as u64),
                "{copies:?}"
            );
        });
    }
}

/// Sizes of the journal's files.
fn journal(node: &Node) -> Vec<u64> {
    let files = node.world.files("broker").into_iter();
    let name = |path: &std::path::Path| path.display().to_string().contains("/journal.");
    files
        .filter(|(path, _)| name(path))
        .map(|(_, len)| len)
        .collect()
}

#[test]
fn the_journal_begins_and_ends_to_grow_as_is_set() {
    let pairs = [
        ("log.journal.initial.bytes", "2097152"),
        ("log.journal.file.bytes.max", "4194304"),
        ("log.direct.sync.bytes", "1048576"),
    ];
    with(&pairs, async |mut node| {
        assert_eq!(journal(&node), [2 << 20; 2]);
        let topic = node.topic("t", &[]).await;
        let value = "x".repeat(400_000);
        for _ in 0..40 {
            assert_eq!(code(&mut node, &topic, batch(&[&value])).await, 0);
        }
        assert_eq!(journal(&node), [4 << 20; 2]);
    });
}

#[test]
fn an_append_from_a_size_on_is_synced_beside_the_journal() {
    const BYTES: &str = "millrace_log_directory_journal_bytes_total{dir=\"/data\"}";
    for (threshold, is_direct) in [("4096", true), ("65536", false)] {
        with(&[("log.direct.sync.bytes", threshold)], async |mut node| {
            let topic = node.topic("t", &[]).await;
            assert_eq!(code(&mut node, &topic, batch(&["a"])).await, 0);
            let before = node.metric(BYTES);
            let value = "x".repeat(20_000);
            for _ in 0..4 {
                assert_eq!(code(&mut node, &topic, batch(&[&value])).await, 0);
            }
            let journaled = node.metric(BYTES) - before;
            assert_eq!(journaled < 60_000, is_direct, "{threshold}: {journaled}");
        });
    }
}

#[test]
fn open_segments_keep_as_many_descriptors_as_they_may() {
    const OPEN: &str = "millrace_segments_open{dir=\"/data\"}";
    let modes = ["fsync", "page-cache"];
    for (limit, most, mode) in [("64", 64), ("16", 16)]
        .into_iter()
        .flat_map(|(limit, most)| modes.map(|mode| (limit, most, mode)))
    {
        with(&[("log.open.files.max", limit)], async |mut node| {
            for at in 0..30 {
                let topic = node.topic(&format!("t{at}"), &[("durability", mode)]).await;
                assert_eq!(code(&mut node, &topic, batch(&["a"])).await, 0);
                node.fetch(&topic, 0).await;
            }
            node.world.pause(Duration::from_mins(1)).await;
            let open = node.metric(OPEN);
            assert!(open <= most, "{limit}, {mode}: {open}");
            assert!(open >= most.min(30), "{limit}, {mode}: {open}");
        });
    }
}

/// Snapshots of the metadata on the disk.
fn snapshots(node: &Node) -> usize {
    let files = node.world.files("broker").into_iter();
    let is_one = |path: &std::path::Path| path.extension().is_some_and(|end| end == "checkpoint");
    files.filter(|(path, _)| is_one(path)).count()
}

#[test]
fn metadata_are_snapshot_by_bytes_and_by_time() {
    const BYTES: &str = "metadata.log.max.record.bytes.between.snapshots";
    const TIME: &str = "metadata.log.max.snapshot.interval.ms";
    for (key, value, expected) in [
        (BYTES, "300", true),
        (BYTES, "1000000", false),
        (TIME, "20000", true),
        (TIME, "0", false),
    ] {
        with(&[(key, value)], async |mut node| {
            for at in 0..8 {
                node.topic(&format!("t{at}"), &[]).await;
            }
            node.world.pause(Duration::from_secs(30)).await;
            node.topic("last", &[]).await;
            node.world.pause(Duration::from_secs(30)).await;
            assert_eq!(snapshots(&node) > 0, expected, "{key}={value}");
        });
    }
}

#[test]
fn records_are_looked_into_unless_headers_are_to_do() {
    for (validation, expected) in [("full", 87), ("header", 0)] {
        with(&[], async |mut node| {
            let topic = node.topic("t", &[("record.validation", validation)]).await;
            let mut builder = BatchBuilder::new(Options::default());
            builder
                .push(1_700_000_000_000, None, Some(b"value"), &[])
                .unwrap();
            let mut bytes = builder.build().to_vec();
            // The length of the record's value, and the checksum that makes the batch whole again.
            let at = bytes.len() - 7;
            bytes[at] ^= 0x10;
            let sum = crc32c::crc32c(&bytes[21..]);
            bytes[17..21].copy_from_slice(&sum.to_be_bytes());
            assert_eq!(
                code(&mut node, &topic, bytes.into()).await,
                expected,
                "{validation}"
            );
        });
    }
}
