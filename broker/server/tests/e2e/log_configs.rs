//! Topic configurations of how a log is stored, changed while its partition is open: one test for
//! each, by what it leaves on the disk.

use std::time::Duration;

use crate::configs::{TOPIC, set};
use crate::node::{Node, Topic, batch, with};

/// Sizes of the files of the partition that end so, by name.
fn sizes(node: &Node, ending: &str) -> Vec<u64> {
    let files = node.world.files("broker").into_iter();
    let mut found: Vec<(String, u64)> = files
        .map(|(path, size)| (path.display().to_string(), size))
        .filter(|(path, _)| path.starts_with("/data/t-0/") && path.ends_with(ending))
        .collect();
    found.sort();
    found.into_iter().map(|(_, size)| size).collect()
}

async fn produce(node: &mut Node, topic: &Topic, count: usize, value: &str) {
    for _ in 0..count {
        assert_eq!(node.produce(topic, batch(&[value])).await.error_code, 0);
    }
}

/// Syncs that wrote records of the directory, of any kind.
fn syncs(node: &Node) -> u64 {
    ["commits", "direct_syncs"]
        .iter()
        .map(|kind| {
            node.metric(&format!(
                "millrace_log_directory_{kind}_total{{dir=\"/data\"}}"
            ))
        })
        .sum()
}

#[test]
fn entries_of_an_index_lie_as_far_apart_as_is_set() {
    with(&[], async |mut node| {
        let topic = node
            .topic("t", &[("index.interval.bytes", "1000000")])
            .await;
        let value = "v".repeat(1000);
        produce(&mut node, &topic, 20, &value).await;
        node.restart().await;
        let sparse = sizes(&node, ".index");
        set(&mut node, TOPIC, "t", "index.interval.bytes", "1000").await;
        produce(&mut node, &topic, 20, &value).await;
        node.restart().await;
        let dense = sizes(&node, ".index");
        assert_eq!((sparse.len(), dense.len()), (1, 1));
        assert!(dense[0] >= sparse[0] + 15 * 8, "{sparse:?} {dense:?}");
        assert_eq!(node.fetch(&topic, 39).await.high_watermark, 40);
    });
}

#[test]
fn a_segment_ends_when_its_index_is_as_large_as_is_set() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[("index.interval.bytes", "1")]).await;
        produce(&mut node, &topic, 20, "v").await;
        assert_eq!(sizes(&node, ".log").len(), 1);
        // Four entries.
        set(&mut node, TOPIC, "t", "segment.index.bytes", "32").await;
        produce(&mut node, &topic, 20, "v").await;
        assert!(
            sizes(&node, ".log").len() >= 5,
            "{:?}",
            sizes(&node, ".log")
        );
        assert_eq!(node.fetch(&topic, 39).await.high_watermark, 40);
    });
}

#[test]
fn a_page_cache_topic_is_synced_after_as_many_messages_and_as_long_as_is_set() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[("durability", "page-cache")]).await;
        produce(&mut node, &topic, 1, "first").await;
        node.world.pause(Duration::from_secs(10)).await;
        let before = syncs(&node);
        produce(&mut node, &topic, 9, "v").await;
        node.world.pause(Duration::from_secs(10)).await;
        assert_eq!(syncs(&node), before, "by nobody's wish");
        set(&mut node, TOPIC, "t", "flush.messages", "3").await;
        let before = syncs(&node);
        produce(&mut node, &topic, 9, "v").await;
        let by_count = syncs(&node);
        assert!(by_count >= before + 2, "{before} {by_count}");
        set(&mut node, TOPIC, "t", "flush.messages", "1000000").await;
        set(&mut node, TOPIC, "t", "flush.ms", "2000").await;
        let before = syncs(&node);
        produce(&mut node, &topic, 1, "last").await;
        assert_eq!(syncs(&node), before, "not yet");
        node.world.pause(Duration::from_secs(5)).await;
        assert!(syncs(&node) > before);
        node.crash().await;
        assert_eq!(node.values(&topic, 0).await.len(), 20);
    });
}

#[test]
fn what_is_deleted_leaves_the_disk_after_the_time_that_is_set() {
    with(
        &[("log.retention.check.interval.ms", "1000")],
        async |mut node| {
            let slow = [
                ("segment.bytes", "1048576"),
                ("file.delete.delay.ms", "3600000"),
            ];
            let topic = node.topic("t", &slow).await;
            let half = "x".repeat(700_000);
            produce(&mut node, &topic, 3, &half).await;
            set(&mut node, TOPIC, "t", "retention.bytes", "1").await;
            node.world.pause(Duration::from_mins(1)).await;
            assert_eq!(node.fetch(&topic, 0).await.error_code, 1);
            let left = sizes(&node, ".log").len();
            assert!(left > 1, "kept for readers in progress");
            // It acts on what is deleted from now on.
            set(&mut node, TOPIC, "t", "file.delete.delay.ms", "0").await;
            produce(&mut node, &topic, 3, &half).await;
            node.world.pause(Duration::from_mins(1)).await;
            assert_eq!(sizes(&node, ".log").len(), left);
        },
    );
}

#[test]
fn what_is_stored_is_compressed_at_the_level_that_is_set() {
    // Alike enough that a harder look finds more.
    let words: Vec<String> = (0..20_000_u64)
        .map(|n| (n.wrapping_mul(n).wrapping_mul(2_654_435_761) % 997).to_string())
        .collect();
    let value = words.join(" ");
    for (codec, key, low, high) in [
        ("gzip", "compression.gzip.level", "1", "9"),
        ("zstd", "compression.zstd.level", "1", "19"),
    ] {
        with(&[], async |mut node| {
            let topic = node.topic("t", &[("compression.type", codec)]).await;
            let mut stored = Vec::new();
            for level in [low, high] {
                set(&mut node, TOPIC, "t", key, level).await;
                let at = node.produce(&topic, batch(&[&value])).await.base_offset;
                stored.push(node.fetch(&topic, at).await.records.unwrap().len());
            }
            assert!(stored[1] != stored[0], "{codec}: {stored:?}");
            assert!(stored[1] < value.len(), "{codec}: {stored:?}");
        });
    }
}

#[test]
fn a_segment_that_is_wanted_again_and_again_is_opened_once() {
    with(&[], async |mut node| {
        let count = |node: &Node, name: &str| {
            node.metric(&format!("millrace_segment_{name}{{dir=\"/data\"}}"))
        };
        let topic = node.topic("t", &[]).await;
        produce(&mut node, &topic, 1, "first").await;
        let (hits, misses) = (
            count(&node, "cache_hits_total"),
            count(&node, "cache_misses_total"),
        );
        for _ in 0..10 {
            assert_eq!(node.values(&topic, 0).await, ["first"]);
        }
        assert!(count(&node, "cache_hits_total") >= hits + 10);
        assert_eq!(count(&node, "cache_misses_total"), misses);
        assert!(node.metric("millrace_segments_open{dir=\"/data\"}") > 0);
        node.restart().await;
        assert_eq!(node.values(&topic, 0).await, ["first"]);
        assert!(count(&node, "cache_misses_total") > 0);
    });
}
