//! Consumer groups, and the topic that keeps them.

use std::time::Duration;

use crate::key::{Check, Key, Kind};
use crate::values::Values;

pub(crate) const KEYS: &[Key] = &[
    Key::kafka(
        "group.min.session.timeout.ms",
        Kind::Int,
        Some("6000"),
        "The shortest session that a member of a group may ask for.",
    )
    .check(Check::AtLeast(1)),
    Key::kafka(
        "group.max.session.timeout.ms",
        Kind::Int,
        Some("1800000"),
        "The longest session that a member of a group may ask for.",
    )
    .check(Check::AtLeast(1)),
    Key::kafka(
        "group.initial.rebalance.delay.ms",
        Kind::Int,
        Some("3000"),
        "How long a group that begins waits for more members to join before it shares partitions \
         out; each one that joins extends it.",
    )
    .check(Check::AtLeast(0)),
    Key::kafka(
        "group.max.size",
        Kind::Int,
        Some("2147483647"),
        "Most members of one group.",
    )
    .check(Check::AtLeast(1)),
    Key::own(
        "group.state.bytes.max",
        Kind::Long,
        "268435456",
        "Most memory that groups take together, members and offsets; at the limit nobody new joins or \
         commits until some is free, members go on.",
    )
    .check(Check::AtLeast(1 << 20)),
    Key::kafka(
        "offset.metadata.max.bytes",
        Kind::Int,
        Some("4096"),
        "Most bytes that a client may write beside a committed offset.",
    )
    .check(Check::AtLeast(0)),
    Key::kafka(
        "offsets.commit.timeout.ms",
        Kind::Int,
        Some("5000"),
        "A change of a group that is not durable on all in-sync replicas after this time is answered \
         with an error; it may still become so.",
    )
    .check(Check::AtLeast(1)),
    Key::kafka(
        "offsets.load.buffer.size",
        Kind::Int,
        Some("5242880"),
        "Bytes read at once while groups are loaded at a start.",
    )
    .check(Check::AtLeast(1)),
    Key::kafka(
        "offsets.retention.minutes",
        Kind::Int,
        Some("10080"),
        "Offsets are removed when their group has had no members for this time, or, without a group, \
         when nothing has been committed for it.",
    )
    .check(Check::AtLeast(1)),
    Key::kafka(
        "offsets.retention.check.interval.ms",
        Kind::Long,
        Some("600000"),
        "How often offsets are looked at that may be too old.",
    )
    .check(Check::AtLeast(1)),
    Key::kafka(
        "offsets.topic.num.partitions",
        Kind::Int,
        Some("50"),
        "Partitions of __consumer_offsets, when it is made; they can't be changed afterwards, since \
         they say which one keeps which group.",
    )
    .check(Check::AtLeast(1)),
    Key::kafka(
        "offsets.topic.replication.factor",
        Kind::Int,
        Some("3"),
        "Replicas of __consumer_offsets, when it is made; as many as there are brokers, if those are \
         fewer.",
    )
    .check(Check::AtLeast(1)),
    Key::kafka(
        "offsets.topic.segment.bytes",
        Kind::Int,
        Some("104857600"),
        "Size of a segment of __consumer_offsets, when it is made; as small as segment.bytes may be.",
    )
    .check(Check::AtLeast(1 << 20)),
];

/// Consumer groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.min.session.timeout.ms`.
    pub session_timeout_min_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_max_ms: i32,
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay: Duration,
    /// `group.max.size`.
    pub members_max: u32,
    /// `group.state.bytes.max`.
    pub state_bytes_max: u64,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_bytes_max: u32,
    /// `offsets.commit.timeout.ms`.
    pub commit_timeout: Duration,
    /// `offsets.load.buffer.size`.
    pub load_bytes: u32,
    /// `offsets.retention.minutes`.
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
    /// `offsets.topic.num.partitions`.
    pub topic_partitions: u32,
    /// `offsets.topic.replication.factor`.
    pub topic_replication_factor: u32,
    /// `offsets.topic.segment.bytes`.
    pub topic_segment_bytes: u32,
}

impl GroupConfig {
    pub(crate) fn read(values: &Values) -> Self {
        let ms = |key| i32::try_from(values.number(key)).unwrap_or(i32::MAX);
        Self {
            session_timeout_min_ms: ms("group.min.session.timeout.ms"),
            session_timeout_max_ms: ms("group.max.session.timeout.ms"),
            initial_rebalance_delay: values.millis("group.initial.rebalance.delay.ms"),
            members_max: values.count32("group.max.size"),
            state_bytes_max: values.count("group.state.bytes.max"),
            offset_metadata_bytes_max: values.count32("offset.metadata.max.bytes"),
            commit_timeout: values.millis("offsets.commit.timeout.ms"),
            load_bytes: values.count32("offsets.load.buffer.size"),
            offsets_retention: Duration::from_secs(60 * values.count("offsets.retention.minutes")),
            retention_check_interval: values.millis("offsets.retention.check.interval.ms"),
            topic_partitions: values.count32("offsets.topic.num.partitions"),
            topic_replication_factor: values.count32("offsets.topic.replication.factor"),
            topic_segment_bytes: values.count32("offsets.topic.segment.bytes"),
        }
    }
}
