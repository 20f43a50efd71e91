//! Tests of topic configurations: the topic's own value, else the broker's, else the default.

use std::time::Duration;

use proptest::prelude::*;

use crate::{
    BrokerConfig, CleanupPolicy, CompactionConfig, Compression, Described, Durability, Origin,
    RecordValidation, TimestampType, TopicConfig, TopicOverrides,
};

fn own(pairs: &[(&str, &str)]) -> TopicOverrides {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn broker(pairs: &[(&'static str, &'static str)]) -> BrokerConfig {
    BrokerConfig::from_pairs(pairs.iter().copied()).unwrap()
}

#[test]
fn a_topic_that_says_nothing_has_kafkas_defaults() {
    let broker = BrokerConfig::default();
    let topic = TopicConfig::resolve(&broker, &own(&[])).unwrap();
    assert_eq!(topic, broker.topics.defaults);
    let expected = TopicConfig {
        segment_bytes: 1 << 30,
        segment_age: Duration::from_hours(168),
        segment_jitter: Duration::ZERO,
        segment_index_bytes: 10 << 20,
        index_interval_bytes: 4096,
        retention: Some(Duration::from_hours(168)),
        retention_bytes: None,
        file_delete_delay: Duration::from_mins(1),
        batch_bytes_max: 1_048_588,
        min_insync_replicas: 1,
        flush_records: None,
        flush_interval: None,
        cleanup: CleanupPolicy {
            delete: true,
            compact: false,
        },
        compaction: CompactionConfig {
            min_dirty_ratio: 0.5,
            min_lag: Duration::ZERO,
            max_lag: Duration::from_millis(i64::MAX as u64),
            delete_retention: Duration::from_hours(24),
        },
        compression: Compression::Producer,
        compression_level: None,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max: None,
        timestamp_after_max: Some(Duration::from_hours(1)),
        unclean_leader_election: false,
        durability: Durability::Fsync,
        validation: RecordValidation::Full,
    };
    assert_eq!(topic, expected);
}

#[test]
fn every_key_of_a_topic_reaches_its_field() {
    let topic = TopicConfig::resolve(
        &BrokerConfig::default(),
        &own(&[
            ("segment.bytes", "1048576"),
            ("segment.ms", "1"),
            ("segment.index.bytes", "4"),
            ("index.interval.bytes", "0"),
            ("retention.ms", "-1"),
            ("retention.bytes", "5"),
            ("file.delete.delay.ms", "6"),
            ("max.message.bytes", "7"),
            ("min.insync.replicas", "2"),
            ("flush.messages", "1"),
            ("flush.ms", "0"),
            ("cleanup.policy", "compact,delete"),
            ("compression.type", "zstd"),
            ("message.timestamp.type", "LogAppendTime"),
            ("message.timestamp.before.max.ms", "8"),
            ("message.timestamp.after.max.ms", "9223372036854775807"),
            ("unclean.leader.election.enable", "TRUE"),
            ("durability", "page-cache"),
            ("segment.jitter.ms", "9"),
            ("compression.zstd.level", "7"),
            ("record.validation", "header"),
            ("min.cleanable.dirty.ratio", "0.25"),
            ("min.compaction.lag.ms", "10"),
            ("max.compaction.lag.ms", "11"),
            ("delete.retention.ms", "12"),
        ]),
    )
    .unwrap();
    let expected = TopicConfig {
        segment_bytes: 1 << 20,
        segment_age: Duration::from_millis(1),
        segment_jitter: Duration::from_millis(9),
        segment_index_bytes: 4,
        index_interval_bytes: 0,
        retention: None,
        retention_bytes: Some(5),
        file_delete_delay: Duration::from_millis(6),
        batch_bytes_max: 7,
        min_insync_replicas: 2,
        flush_records: Some(1),
        flush_interval: Some(Duration::ZERO),
        cleanup: CleanupPolicy {
            delete: true,
            compact: true,
        },
        compaction: CompactionConfig {
            min_dirty_ratio: 0.25,
            min_lag: Duration::from_millis(10),
            max_lag: Duration::from_millis(11),
            delete_retention: Duration::from_millis(12),
        },
        compression: Compression::Zstd,
        compression_level: Some(7),
        timestamp_type: TimestampType::LogAppendTime,
        timestamp_before_max: Some(Duration::from_millis(8)),
        timestamp_after_max: None,
        unclean_leader_election: true,
        durability: Durability::PageCache,
        validation: RecordValidation::Header,
    };
    assert_eq!(topic, expected);
}

#[test]
fn the_brokers_keys_stand_behind_the_topics() {
    let broker = broker(&[
        ("log.retention.minutes", "2"),
        ("log.retention.hours", "1"),
        ("log.roll.hours", "1"),
        ("message.max.bytes", "2000"),
        ("log.cleanup.policy", ""),
        ("log.flush.interval.ms", "10"),
    ]);
    let topic = TopicConfig::resolve(&broker, &own(&[("max.message.bytes", "9")])).unwrap();
    assert_eq!(topic.retention, Some(Duration::from_mins(2)));
    assert_eq!(topic.segment_age, Duration::from_hours(1));
    assert_eq!(topic.batch_bytes_max, 9);
    assert_eq!(broker.topics.defaults.batch_bytes_max, 2000);
    assert_eq!(
        topic.cleanup,
        CleanupPolicy {
            delete: false,
            compact: false
        }
    );
    assert_eq!(topic.flush_interval, Some(Duration::from_millis(10)));
}

#[test]
fn retention_without_end_is_without_end_in_every_unit() {
    for key in [
        "log.retention.ms",
        "log.retention.minutes",
        "log.retention.hours",
    ] {
        assert_eq!(
            broker(&[(key, "-1")]).topics.defaults.retention,
            None,
            "{key}"
        );
    }
}

#[test]
fn what_a_topic_may_not_say_is_refused_with_the_reason() {
    let broker = BrokerConfig::default();
    for (key, value, part) in [
        (
            "segment.bytes",
            "14",
            "segment.bytes=14 (from the topic's configuration) is refused",
        ),
        ("cleanup.policy", "shred", "delete, compact"),
        ("durability", "none", "one of fsync, page-cache"),
        ("retention.ms", "-2", "-1 (no limit) or an integer from 0"),
        ("retention.mz", "1", "did you mean retention.ms?"),
        ("log.retention.hours", "1", "did you mean retention.ms?"),
        ("message.max.bytes", "1", "did you mean max.message.bytes?"),
        ("remote.storage.enable", "true", "no effect in this version"),
        ("num.partitions", "1", "unknown key num.partitions"),
        ("", "1", "unknown key"),
    ] {
        let overrides = own(&[(key, value)]);
        let message = TopicConfig::resolve(&broker, &overrides)
            .unwrap_err()
            .to_string();
        assert!(message.contains(part), "{message:?} lacks {part:?}");
        assert_eq!(
            broker.describe_topic(&overrides).unwrap_err().to_string(),
            message
        );
    }
}

#[test]
fn a_topics_listing_has_values_in_its_own_units_with_all_synonyms() {
    let broker = broker(&[("log.retention.hours", "2")]);
    let listed = broker
        .describe_topic(&own(&[("segment.bytes", " 1048576 ")]))
        .unwrap();
    assert_eq!(listed.len(), crate::topic_keys().count());
    let show = |name: &str| {
        let d: &Described = listed.iter().find(|d| d.key.name == name).unwrap();
        let synonyms: Vec<_> = d
            .synonyms
            .iter()
            .map(|s| (s.name, s.value.as_str()))
            .collect();
        (d.value.clone().unwrap(), d.origin, synonyms)
    };
    assert_eq!(
        show("segment.bytes"),
        (
            "1048576".to_owned(),
            Origin::Topic,
            vec![
                ("segment.bytes", "1048576"),
                ("log.segment.bytes", "1073741824")
            ]
        )
    );
    assert_eq!(
        show("retention.ms"),
        (
            "7200000".to_owned(),
            Origin::Static,
            vec![("log.retention.hours", "2"), ("log.retention.hours", "168")]
        )
    );
    assert_eq!(
        show("segment.ms"),
        (
            "604800000".to_owned(),
            Origin::Default,
            vec![("log.roll.hours", "168")]
        )
    );
    assert_eq!(
        show("durability"),
        ("fsync".to_owned(), Origin::Default, vec![])
    );
}

/// Values near every bound, and text that is no value at all.
fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        (-3_i64..12).prop_map(|number| number.to_string()),
        Just(i64::MAX.to_string()),
        Just(i64::from(i32::MAX).to_string()),
        "[a-zA-Z,-]{0,12}",
        any::<String>(),
    ]
}

proptest! {
    #[test]
    fn whatever_a_client_sends_is_resolved_or_refused(
        keys in prop::collection::vec(0..64_usize, 0..4),
        values in prop::collection::vec(any_value(), 4),
    ) {
        let rows: Vec<_> = crate::topic_keys().collect();
        let names = keys.iter().map(|key| rows[*key % rows.len()].name.to_owned());
        let overrides: TopicOverrides = names.zip(values).collect();
        let broker = BrokerConfig::default();
        let resolved = TopicConfig::resolve(&broker, &overrides);
        let listed = broker.describe_topic(&overrides);
        prop_assert_eq!(resolved.is_ok(), listed.is_ok());
        // What is listed, given back as it stands, means the same.
        if let (Ok(resolved), Ok(listed)) = (resolved, listed) {
            let again = listed.into_iter().map(|d| (d.key.name.to_owned(), d.value.unwrap()));
            prop_assert_eq!(resolved, TopicConfig::resolve(&broker, &again.collect()).unwrap());
        }
    }

    #[test]
    fn whatever_an_operator_sets_is_taken_or_refused(index in 0..128_usize, value in any_value()) {
        let rows: Vec<_> = crate::broker_keys().collect();
        let key = rows[index % rows.len()].name;
        if let Err(refused) = BrokerConfig::from_pairs([(key, value.as_str())]) {
            prop_assert!(refused.to_string().contains(key));
        }
    }

    #[test]
    fn no_text_is_too_strange_for_a_file(text in any::<String>()) {
        let entries = crate::properties::parse(&text).map_or(0, |entries| entries.len());
        prop_assert!(entries <= text.lines().count());
        if let Err((line, _)) = crate::toml_file::parse(&text) {
            prop_assert!(line <= text.split('\n').count());
        }
    }
}
