//! Compacted topics on a whole node: what is left of them, when, how fast, and each key of the
//! configuration that says so.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use millrace_protocol::records::{BatchBuilder, Codec, Options, Scratch, batches, record_iter};

use crate::configs::{BROKER, TOPIC, set};
use crate::node::{Node, Topic, WALL_MS, with};

/// Segments end with each batch that comes, whose times lie further apart than this.
const SEGMENT_MS: i64 = 100;

const SOON: &[(&str, &str)] = &[("log.cleaner.backoff.ms", "100")];
const COMPACT: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("segment.ms", "100"),
    ("min.cleanable.dirty.ratio", "0.01"),
    ("file.delete.delay.ms", "100"),
];

/// Offset, key and value.
type Entry = (i64, String, Option<String>);

fn batch(options: Options, at_ms: i64, records: &[(&str, Option<&str>)]) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for (key, value) in records {
        let value = value.map(str::as_bytes);
        builder
            .push(at_ms, Some(key.as_bytes()), value, &[])
            .unwrap();
    }
    builder.build()
}

/// Produces a batch that begins a segment of its own: the `at`th.
async fn produce(node: &mut Node, topic: &Topic, at: i64, records: &[(&str, Option<&str>)]) {
    let at_ms = WALL_MS + at * 2 * SEGMENT_MS;
    let bytes = batch(Options::default(), at_ms, records);
    assert_eq!(node.produce(topic, bytes).await.error_code, 0);
}

/// So many segments of keys `a` and `b`, from the `from`th on.
async fn fill(node: &mut Node, topic: &Topic, from: i64, count: i64) {
    for at in from..from + count {
        let value = format!("v{at}");
        produce(node, topic, at, &[("a", Some(&value)), ("b", Some(&value))]).await;
    }
}

/// Everything that a consumer from the start reads.
async fn read(node: &mut Node, topic: &Topic) -> Vec<Entry> {
    let mut all = Vec::new();
    let mut at = 0;
    loop {
        let row = node.fetch(topic, at).await;
        assert_eq!(row.error_code, 0);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut scratch = Scratch::new(1 << 20);
        for batch in batches(row.records.unwrap()).map_while(Result::ok) {
            batch.verify_crc().unwrap();
            for record in record_iter(&batch, &mut scratch).unwrap() {
                let record = record.unwrap();
                if record.offset >= at {
                    let key = text(record.key.unwrap());
                    all.push((record.offset, key, record.value.map(text)));
                }
            }
            at = batch.header.last_offset() + 1;
        }
        if at >= row.high_watermark {
            return all;
        }
    }
}

fn fold(entries: &[Entry]) -> BTreeMap<String, String> {
    let mut table = BTreeMap::new();
    for (_, key, value) in entries {
        match value {
            Some(value) => table.insert(key.clone(), value.clone()),
            None => table.remove(key),
        };
    }
    table
}

async fn pause(node: &Node, seconds: u64) {
    node.world.pause(Duration::from_secs(seconds)).await;
}

/// A connection that nobody used for so long was closed.
async fn reconnected(mut node: Node) -> Node {
    node.client = node.connect().await;
    node
}

fn cleaned(node: &Node) -> u64 {
    node.metric("millrace_cleaner_rounds_total{how=\"cleaned\"}")
}

#[test]
fn the_last_value_of_each_key_stays_where_it_was() {
    with(SOON, async |mut node| {
        let topic = node.topic("t", COMPACT).await;
        fill(&mut node, &topic, 0, 30).await;
        let before = read(&mut node, &topic).await;
        assert_eq!(before.len(), 60);
        pause(&node, 5).await;
        let after = read(&mut node, &topic).await;
        assert_eq!(fold(&after), fold(&before));
        assert!(after.len() <= 4, "{after:?}");
        assert!(after.iter().all(|entry| before.contains(entry)));
        assert!(cleaned(&node) > 0);
        assert_eq!(node.fetch(&topic, 0).await.high_watermark, 60);
        let left = node.metric("millrace_cleaner_left_bytes_total");
        assert!(left < node.metric("millrace_cleaner_replaced_bytes_total"));
        assert_eq!(node.metric("millrace_cleaner_map_bytes"), 0, "given back");
        // It goes on, and is found as it was by the next start.
        fill(&mut node, &topic, 30, 10).await;
        pause(&node, 5).await;
        let last = read(&mut node, &topic).await;
        for crash in [false, true] {
            if crash {
                node.crash().await;
            } else {
                node.restart().await;
            }
            assert_eq!(read(&mut node, &topic).await, last);
            assert_eq!(fold(&last)["a"], "v39");
        }
    });
}

#[test]
fn a_deleted_key_is_gone_after_delete_retention() {
    with(SOON, async |mut node| {
        let topic = node.topic("t", COMPACT).await;
        set(&mut node, TOPIC, "t", "delete.retention.ms", "60000").await;
        produce(&mut node, &topic, 0, &[("a", Some("1")), ("b", Some("1"))]).await;
        produce(&mut node, &topic, 1, &[("a", None)]).await;
        produce(&mut node, &topic, 2, &[("c", Some("1"))]).await;
        pause(&node, 10).await;
        let tombstone = (2, "a".to_owned(), None);
        let early = read(&mut node, &topic).await;
        assert!(early.contains(&tombstone) && early.len() == 3, "{early:?}");
        pause(&node, 30).await;
        produce(&mut node, &topic, 3, &[("c", Some("2"))]).await;
        pause(&node, 10).await;
        assert!(
            read(&mut node, &topic).await.contains(&tombstone),
            "its time is not over"
        );
        pause(&node, 60).await;
        produce(&mut node, &topic, 4, &[("c", Some("3"))]).await;
        pause(&node, 10).await;
        let late = read(&mut node, &topic).await;
        assert!(!late.contains(&tombstone), "{late:?}");
        assert_eq!(
            fold(&late),
            fold(&early)
                .into_iter()
                .chain([("c".into(), "3".into())])
                .collect()
        );
    });
}

#[test]
fn a_clock_that_jumps_lets_no_tombstone_go_and_makes_nothing_old_enough() {
    with(SOON, async |mut node| {
        let topic = node.topic("t", COMPACT).await;
        set(&mut node, TOPIC, "t", "delete.retention.ms", "60000").await;
        let young = node.topic("young", COMPACT).await;
        set(&mut node, TOPIC, "young", "min.compaction.lag.ms", "600000").await;
        fill(&mut node, &young, 0, 3).await;
        produce(&mut node, &topic, 0, &[("a", Some("1"))]).await;
        produce(&mut node, &topic, 1, &[("a", None)]).await;
        produce(&mut node, &topic, 2, &[("c", Some("1"))]).await;
        pause(&node, 10).await;
        let rounds = cleaned(&node);
        assert!(rounds > 0, "its time runs");
        node.world.move_wall_clock("broker", 365 * 24 * 3_600_000);
        pause(&node, 10).await;
        produce(&mut node, &topic, 3, &[("c", Some("2"))]).await;
        pause(&node, 200).await;
        assert!(cleaned(&node) > rounds, "compaction goes on");
        let tombstone = (1, "a".to_owned(), None);
        assert!(read(&mut node, &topic).await.contains(&tombstone));
        assert_eq!(read(&mut node, &young).await.len(), 6);
        // After a day the clock is believed.
        pause(&node, 25 * 3_600).await;
        let mut node = reconnected(node).await;
        produce(&mut node, &topic, 4, &[("c", Some("3"))]).await;
        pause(&node, 10).await;
        assert!(!read(&mut node, &topic).await.contains(&tombstone));
        assert!(read(&mut node, &young).await.len() < 6);
    });
}

#[test]
fn both_policies_hold_for_a_topic_that_has_both() {
    let both = [
        ("log.cleaner.backoff.ms", "100"),
        ("log.retention.check.interval.ms", "1000"),
    ];
    with(&both, async |mut node| {
        let topic = node.topic("t", COMPACT).await;
        set(&mut node, TOPIC, "t", "cleanup.policy", "compact,delete").await;
        fill(&mut node, &topic, 0, 10).await;
        pause(&node, 10).await;
        assert_eq!(fold(&read(&mut node, &topic).await).len(), 2);
        assert!(cleaned(&node) > 0);
        set(&mut node, TOPIC, "t", "retention.ms", "1000").await;
        pause(&node, 60).await;
        assert_eq!(
            node.fetch(&topic, 0).await.error_code,
            1,
            "all of it is too old"
        );
    });
}

#[test]
fn nothing_is_compacted_that_is_too_young_or_too_little() {
    with(SOON, async |mut node| {
        let topic = node.topic("t", COMPACT).await;
        set(&mut node, TOPIC, "t", "min.compaction.lag.ms", "120000").await;
        fill(&mut node, &topic, 0, 10).await;
        pause(&node, 60).await;
        assert_eq!(cleaned(&node), 0, "too young");
        pause(&node, 120).await;
        assert!(cleaned(&node) > 0);
        set(&mut node, TOPIC, "t", "min.compaction.lag.ms", "0").await;
        set(&mut node, TOPIC, "t", "min.cleanable.dirty.ratio", "1").await;
        fill(&mut node, &topic, 2_000, 10).await;
        pause(&node, 60).await;
        let before = cleaned(&node);
        assert!(read(&mut node, &topic).await.len() >= 20, "too little");
        // Neither more of it nor less, but long enough.
        set(&mut node, TOPIC, "t", "max.compaction.lag.ms", "30000").await;
        pause(&node, 500).await;
        assert!(cleaned(&node) > before);
    });
}

#[test]
fn a_segment_of_a_compacted_topic_ends_when_it_would_wait_too_long() {
    with(SOON, async |mut node| {
        let topic = node
            .topic(
                "t",
                &[
                    ("cleanup.policy", "compact"),
                    ("max.compaction.lag.ms", "1000"),
                ],
            )
            .await;
        let at = |at_ms: i64| batch(Options::default(), WALL_MS + at_ms, &[("a", Some("v"))]);
        for at_ms in [0, 500, 1_500, 3_000] {
            assert_eq!(node.produce(&topic, at(at_ms)).await.error_code, 0);
        }
        let files = node.world.files("broker").into_iter();
        let logs = files.filter(|(path, _)| path.extension().is_some_and(|kind| kind == "log"));
        let logs = logs.filter(|(path, _)| path.starts_with("/data/t-0"));
        assert_eq!(logs.count(), 3);
    });
}

#[test]
fn a_node_that_shall_not_compact_does_not() {
    let off = [
        ("log.cleaner.backoff.ms", "100"),
        ("log.cleaner.enable", "false"),
    ];
    with(&off, async |mut node| {
        let topic = node.topic("t", COMPACT).await;
        fill(&mut node, &topic, 0, 10).await;
        pause(&node, 60).await;
        assert_eq!(read(&mut node, &topic).await.len(), 20);
        node.set("log.cleaner.enable", "true");
        node.set("log.cleaner.threads", "0");
        node.restart().await;
        pause(&node, 60).await;
        assert_eq!(read(&mut node, &topic).await.len(), 20);
        node.set("log.cleaner.threads", "1");
        node.restart().await;
        pause(&node, 60).await;
        assert!(read(&mut node, &topic).await.len() < 10);
    });
}

#[test]
fn the_time_between_looks_is_as_set() {
    with(&[("log.cleaner.backoff.ms", "600000")], async |mut node| {
        let topic = node.topic("t", COMPACT).await;
        fill(&mut node, &topic, 0, 10).await;
        pause(&node, 300).await;
        assert_eq!(cleaned(&node), 0);
        assert!(node.metric("millrace_cleaner_look_age_seconds") >= 300);
        pause(&node, 400).await;
        assert!(cleaned(&node) > 0);
        let mut node = reconnected(node).await;
        set(&mut node, BROKER, "", "log.cleaner.backoff.ms", "1000").await;
        // What was waited for is waited for to its end.
        pause(&node, 700).await;
        assert!(node.metric("millrace_cleaner_look_age_seconds") <= 2);
    });
}

#[test]
fn the_memory_of_a_large_map_is_given_back_and_that_of_a_small_one_kept() {
    // All of it in one round.
    with(&[("log.cleaner.backoff.ms", "20000")], async |mut node| {
        let topic = node.topic("t", COMPACT).await;
        fill(&mut node, &topic, 0, 3).await;
        pause(&node, 30).await;
        assert!(cleaned(&node) > 0);
        assert_eq!(node.world.given_back("broker"), 0, "it isn't worth it");
        // As many as make a map of more than 8 MiB.
        let many = vec![("a", Some("v")); 40_000];
        for at in 3..12 {
            produce(&mut node, &topic, at, &many).await;
        }
        produce(&mut node, &topic, 12, &[("z", Some("end"))]).await;
        pause(&node, 30).await;
        assert!(node.world.given_back("broker") > 0);
    });
}

#[test]
fn little_memory_compacts_in_parts_and_comes_to_the_same() {
    const KEYS: usize = 200;
    for (load_factor, keys_at_once) in [("1", 99), ("0.5", 50)] {
        let little = [
            ("log.cleaner.backoff.ms", "100"),
            ("log.cleaner.dedupe.buffer.size", "2400"),
            ("log.cleaner.io.buffer.load.factor", load_factor),
        ];
        with(&little, async |mut node| {
            let topic = node.topic("t", COMPACT).await;
            let keys: Vec<String> = (0..KEYS).map(|key| format!("k{key}")).collect();
            for at in 0..2 {
                let value = format!("v{at}");
                let records: Vec<_> = keys
                    .iter()
                    .map(|key| (key.as_str(), Some(value.as_str())))
                    .collect();
                produce(&mut node, &topic, at, &records).await;
            }
            produce(&mut node, &topic, 2, &[("z", Some("end"))]).await;
            pause(&node, 30).await;
            let after = read(&mut node, &topic).await;
            assert_eq!(after.len(), KEYS + 1);
            assert!(fold(&after).values().all(|value| value != "v0"));
            // Each round takes as many keys as there is room for, of 2 times 200 records.
            let rounds = (2 * KEYS).div_ceil(keys_at_once) as u64;
            assert_eq!(cleaned(&node), rounds, "{load_factor}");
        });
    }
}

#[test]
fn compaction_reads_and_writes_no_faster_than_is_set() {
    let slow = [
        ("log.cleaner.backoff.ms", "100"),
        ("log.cleaner.io.max.bytes.per.second", "1000"),
        ("log.cleaner.threads", "2"),
    ];
    with(&slow, async |mut node| {
        let topics = [
            node.topic("t", COMPACT).await,
            node.topic("u", COMPACT).await,
        ];
        let value = "v".repeat(5_000);
        for topic in &topics {
            for at in 0..10 {
                produce(&mut node, topic, at, &[("a", Some(&value))]).await;
            }
        }
        pause(&node, 30).await;
        assert_eq!(cleaned(&node), 0);
        assert_eq!(node.metric("millrace_cleaner_rounds"), 2, "at once");
        let moved = node.metric("millrace_cleaner_io_bytes_total");
        assert!((10_000..60_000).contains(&moved), "{moved}");
        set(
            &mut node,
            BROKER,
            "",
            "log.cleaner.io.max.bytes.per.second",
            "1e9",
        )
        .await;
        pause(&node, 30).await;
        assert!(cleaned(&node) >= 2);
        for topic in &topics {
            assert!(read(&mut node, topic).await.len() <= 2);
        }
    });
}

#[test]
fn compaction_reads_so_much_at_once_as_is_set() {
    let reads = |bytes: &str| {
        let pairs = [
            ("log.cleaner.backoff.ms", "100"),
            ("log.cleaner.io.max.bytes.per.second", "1000"),
            ("log.cleaner.io.buffer.size", bytes),
        ];
        with(&pairs, async |mut node| {
            let topic = node.topic("t", &[COMPACT[0], COMPACT[2]]).await;
            let value = "v".repeat(1_000);
            for at in 0..100 {
                produce(&mut node, &topic, at, &[("a", Some(&value))]).await;
            }
            set(&mut node, TOPIC, "t", "segment.ms", "1").await;
            produce(&mut node, &topic, 100, &[("b", Some("end"))]).await;
            pause(&node, 2).await;
            node.metric("millrace_cleaner_io_bytes_total")
        })
    };
    // What the first read took, which is waited for.
    let (small, large) = (reads("20000"), reads("100000"));
    assert!((8_000..=10_000).contains(&small), "{small}");
    assert!((45_000..=50_000).contains(&large), "{large}");
}

#[test]
fn one_log_after_the_other_is_compacted_by_one_thread_the_dirtiest_first() {
    let slow = [
        ("log.cleaner.backoff.ms", "1000"),
        ("log.cleaner.io.max.bytes.per.second", "2000"),
    ];
    with(&slow, async |mut node| {
        let topic = node.topic("t", COMPACT).await;
        let value = "v".repeat(5_000);
        for at in 0..10 {
            produce(&mut node, &topic, at, &[("a", Some(&value))]).await;
        }
        let other = node.topic("u", COMPACT).await;
        for at in 0..3 {
            produce(&mut node, &other, at, &[("a", Some(&value))]).await;
        }
        pause(&node, 10).await;
        assert_eq!(node.metric("millrace_cleaner_rounds"), 1);
        set(&mut node, BROKER, "", "log.cleaner.threads", "2").await;
        pause(&node, 3).await;
        assert_eq!(node.metric("millrace_cleaner_rounds"), 2);
    });
}

#[test]
fn a_log_that_cannot_be_read_is_left_shown_and_tried_again() {
    let pairs = [
        ("log.cleaner.backoff.ms", "100"),
        ("log.cleaner.retry.ms", "60000"),
    ];
    with(&pairs, async |mut node| {
        let topic = node.topic("t", COMPACT).await;
        let other = node.topic("u", COMPACT).await;
        let options = Options {
            codec: Codec::Zstd,
            ..Options::default()
        };
        let large = "x".repeat(3 << 20);
        set(&mut node, BROKER, "", "log.cleaner.threads", "2").await;
        set(&mut node, TOPIC, "t", "min.compaction.lag.ms", "30000").await;
        let bytes = batch(options, WALL_MS, &[("a", Some(&large))]);
        assert_eq!(node.produce(&topic, bytes).await.error_code, 0);
        fill(&mut node, &topic, 1, 5).await;
        // From now on no more than this is opened at once, in whatever comes or lies there.
        node.set("batch.decompressed.bytes.max", "1048576");
        node.restart().await;
        fill(&mut node, &other, 0, 5).await;
        pause(&node, 40).await;
        assert_eq!(node.metric("millrace_cleaner_uncleanable_partitions"), 1);
        assert!(node.metric("millrace_cleaner_uncleanable_bytes") > 0);
        assert_eq!(
            node.metric("millrace_cleaner_rounds_total{how=\"failed\"}"),
            1
        );
        assert!(
            read(&mut node, &other).await.len() < 6,
            "the others are compacted"
        );
        pause(&node, 60).await;
        assert_eq!(
            node.metric("millrace_cleaner_rounds_total{how=\"failed\"}"),
            2
        );
        node.set("batch.decompressed.bytes.max", "104857600");
        node.restart().await;
        pause(&node, 30).await;
        assert_eq!(node.metric("millrace_cleaner_uncleanable_partitions"), 0);
        let left = read(&mut node, &topic).await;
        assert!(left.len() <= 4, "{}", left.len());
    });
}

#[test]
fn a_producer_goes_on_where_it_was_when_its_records_are_compacted_away() {
    with(SOON, async |mut node| {
        let topic = node.topic("t", COMPACT).await;
        let mine = |sequence| Options {
            producer: Some((7, 0, sequence)),
            ..Options::default()
        };
        let at = |at: i64| WALL_MS + at * 2 * SEGMENT_MS;
        for sequence in 0..5 {
            let bytes = batch(mine(sequence), at(sequence.into()), &[("a", Some("mine"))]);
            assert_eq!(node.produce(&topic, bytes).await.error_code, 0);
        }
        fill(&mut node, &topic, 5, 5).await;
        pause(&node, 10).await;
        let entries = read(&mut node, &topic).await;
        assert!(
            entries
                .iter()
                .all(|(_, _, value)| value.as_deref() != Some("mine"))
        );
        for crash in [true, false] {
            if crash {
                node.crash().await;
            } else {
                node.restart().await;
            }
            let again = batch(mine(4), at(4), &[("a", Some("mine"))]);
            let again = node.produce(&topic, again).await;
            assert_eq!((again.error_code, again.base_offset), (0, 4), "known");
            let gap = batch(mine(6), at(60), &[("a", Some("mine"))]);
            assert_eq!(node.produce(&topic, gap).await.error_code, 45);
        }
        let next = batch(mine(5), at(50), &[("a", Some("next"))]);
        assert_eq!(node.produce(&topic, next).await.error_code, 0);
    });
}

#[test]
fn a_topic_that_is_deleted_and_a_node_that_stops_end_their_rounds() {
    let slow = [
        ("log.cleaner.backoff.ms", "100"),
        ("log.cleaner.io.max.bytes.per.second", "100"),
        ("log.cleaner.threads", "2"),
    ];
    with(&slow, async |mut node| {
        let topic = node.topic("t", COMPACT).await;
        let other = node.topic("u", COMPACT).await;
        fill(&mut node, &topic, 0, 20).await;
        fill(&mut node, &other, 0, 20).await;
        pause(&node, 5).await;
        assert_eq!(node.metric("millrace_cleaner_rounds"), 2);
        node.remove_topic(&topic.name).await;
        pause(&node, 5).await;
        assert_eq!(node.metric("millrace_cleaner_rounds"), 1);
        let begun = node.now();
        node.restart().await;
        assert!(node.since(begun) < Duration::from_secs(5));
        assert_eq!(read(&mut node, &other).await.len(), 40);
    });
}
