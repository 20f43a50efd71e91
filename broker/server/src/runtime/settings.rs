//! A topic's configuration as its partitions and their logs want it.

use std::time::Duration;

use millrace_config::{BrokerConfig, RecordValidation, TimestampType, TopicConfig};
use millrace_core::partition as core;
use millrace_log::mark::{Durability as LogDurability, Incarnation};
use millrace_log::partition::LogSettings;
use millrace_protocol::records::{self, Depth, ProduceRules};

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What core is told.
pub(crate) fn core_settings(broker: &BrokerConfig, topic: &TopicConfig) -> core::Settings {
    core::Settings {
        min_insync_replicas: topic.min_insync_replicas as usize,
        flush_messages: topic.flush_records.unwrap_or(u64::MAX),
        flush_ms: topic.flush_interval.map_or(u64::MAX, ms),
        producer_id_expiration_ms: ms(broker.produce.producer_expiration),
        producers_max: broker.produce.partition_producers_max as usize,
        ..core::Settings::default()
    }
}

/// What the log is told.
pub(crate) fn log_settings(topic: &TopicConfig, partition: Incarnation) -> LogSettings {
    LogSettings {
        segment_bytes: u64::from(topic.segment_bytes),
        segment_ms: segment_ms(topic, partition),
        segment_index_bytes: u64::from(topic.segment_index_bytes),
        index_interval_bytes: u64::from(topic.index_interval_bytes),
        retention_ms: topic.retention.map(ms),
        retention_bytes: topic.retention_bytes,
        file_delete_delay_ms: ms(topic.file_delete_delay),
        delete: topic.cleanup.delete,
        privileged: false,
        durability: match topic.durability {
            millrace_config::Durability::Fsync => LogDurability::Fsync,
            millrace_config::Durability::PageCache => LogDurability::PageCache,
        },
    }
}

/// The age of a segment, less this partition's share of the jitter: drawn from its identity, so that
/// it stays the same, and segments of many partitions don't all end at one time.
fn segment_ms(topic: &TopicConfig, partition: Incarnation) -> u64 {
    // What waits for compaction at most so long is not in the active segment for longer.
    let age_ms = if topic.cleanup.compact {
        ms(topic.segment_age.min(topic.compaction.max_lag))
    } else {
        ms(topic.segment_age)
    };
    let jitter_ms = ms(topic.segment_jitter).min(age_ms);
    let mut identity = [0; 8];
    identity.copy_from_slice(&partition.topic_id[8..]);
    let index = u64::from(partition.partition.unsigned_abs());
    let drawn = (u64::from_be_bytes(identity) ^ index).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16;
    age_ms - drawn % (jitter_ms + 1)
}

/// The durability that core goes by, from the one that the log was opened with.
pub(crate) fn core_durability(durability: LogDurability) -> core::Durability {
    match durability {
        LogDurability::Fsync => core::Durability::Fsync,
        LogDurability::PageCache => core::Durability::PageCache,
    }
}

/// What a produced batch is held to.
pub(crate) fn produce_rules(
    broker: &BrokerConfig,
    topic: &TopicConfig,
    api_version: i16,
    now_ms: i64,
) -> ProduceRules {
    let bound = |limit: Option<Duration>| {
        limit.map_or(i64::MAX, |limit| {
            i64::try_from(limit.as_millis()).unwrap_or(i64::MAX)
        })
    };
    ProduceRules {
        depth: match topic.validation {
            RecordValidation::Full => Depth::Full,
            RecordValidation::Header => Depth::Header,
        },
        batch_bytes_max: topic.batch_bytes_max as usize,
        inflated_bytes_max: usize::try_from(broker.produce.decompressed_bytes_max)
            .unwrap_or(usize::MAX),
        compacted: topic.cleanup.compact,
        zstd_allowed: api_version >= 7,
        transactional_allowed: false,
        timestamp_type: match topic.timestamp_type {
            TimestampType::CreateTime => records::TimestampType::CreateTime,
            TimestampType::LogAppendTime => records::TimestampType::LogAppendTime,
        },
        now_ms,
        before_max_ms: bound(topic.timestamp_before_max),
        after_max_ms: bound(topic.timestamp_after_max),
    }
}

#[cfg(test)]
mod tests {
    use millrace_config::TopicOverrides;

    use super::*;

    #[test]
    fn jitter_takes_off_at_most_itself_and_not_the_same_everywhere() {
        let own = [("segment.ms", "1000"), ("segment.jitter.ms", "300")];
        let own: TopicOverrides = own
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let topic = TopicConfig::resolve(&BrokerConfig::default(), &own).unwrap();
        let of = |partition| {
            let incarnation = Incarnation {
                topic_id: [7; 16],
                partition,
            };
            log_settings(&topic, incarnation).segment_ms
        };
        let drawn: std::collections::BTreeSet<u64> = (0..100).map(of).collect();
        assert!(drawn.len() > 50, "{drawn:?}");
        assert!(
            drawn.iter().all(|ms| (700..=1000).contains(ms)),
            "{drawn:?}"
        );
        assert_eq!(of(3), of(3));
    }
}
