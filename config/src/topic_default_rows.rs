//! The rows of broker keys that stand behind topic keys: what a topic gets when it says nothing
//! itself.

use crate::key::{Check, Key, Kind};
use crate::topic_rows::{COMPRESSIONS, GZIP, LZ4, POLICIES, TIMESTAMPS, ZSTD};

pub(crate) const KEYS: &[Key] = &[
    Key::kafka(
        "log.segment.bytes",
        Kind::Int,
        Some("1073741824"),
        "Largest segment file.",
    )
    .check(Check::AtLeast(1 << 20))
    .dynamic(),
    Key::kafka(
        "log.roll.ms",
        Kind::Long,
        None,
        "A new segment begins after this time.",
    )
    .check(Check::AtLeast(1))
    .dynamic(),
    Key::kafka(
        "log.roll.hours",
        Kind::Int,
        Some("168"),
        "As log.roll.ms, which beats it.",
    )
    .check(Check::AtLeast(1)),
    Key::kafka(
        "log.roll.jitter.ms",
        Kind::Long,
        None,
        "Taken off log.roll.ms by chance, up to this and differently for each partition.",
    )
    .check(Check::AtLeast(0))
    .dynamic(),
    Key::kafka(
        "log.roll.jitter.hours",
        Kind::Int,
        Some("0"),
        "As log.roll.jitter.ms, which beats it.",
    )
    .check(Check::AtLeast(0)),
    Key::kafka(
        "log.retention.ms",
        Kind::Long,
        None,
        "Records are kept this long; -1 is for ever.",
    )
    .check(Check::UnlimitedOrAtLeast(1))
    .dynamic(),
    Key::kafka(
        "log.retention.minutes",
        Kind::Int,
        None,
        "As log.retention.ms, which beats it.",
    )
    .check(Check::UnlimitedOrAtLeast(1)),
    Key::kafka(
        "log.retention.hours",
        Kind::Int,
        Some("168"),
        "As log.retention.minutes, which beats it.",
    )
    .check(Check::UnlimitedOrAtLeast(1)),
    Key::kafka(
        "log.retention.bytes",
        Kind::Long,
        Some("-1"),
        "Each partition is kept to about this size; -1 is no limit.",
    )
    .check(Check::UnlimitedOrAtLeast(0))
    .dynamic(),
    Key::kafka(
        "log.segment.delete.delay.ms",
        Kind::Long,
        Some("60000"),
        "A file that no longer counts is removed after this time.",
    )
    .check(Check::AtLeast(0))
    .dynamic(),
    Key::kafka(
        "log.index.interval.bytes",
        Kind::Int,
        Some("4096"),
        "Bytes of log from one index entry to the next.",
    )
    .check(Check::AtLeast(0))
    .dynamic(),
    Key::kafka(
        "log.index.size.max.bytes",
        Kind::Int,
        Some("10485760"),
        "Largest index of a segment; a full one begins a new segment.",
    )
    .check(Check::AtLeast(4))
    .dynamic(),
    Key::kafka(
        "log.flush.interval.messages",
        Kind::Long,
        Some("9223372036854775807"),
        "The append that reaches this many unflushed records replies after a flush.",
    )
    .check(Check::AtLeast(1))
    .dynamic(),
    Key::kafka(
        "log.flush.interval.ms",
        Kind::Long,
        None,
        "Records are flushed after this time, whatever the topic's durability.",
    )
    .check(Check::AtLeast(0))
    .dynamic(),
    Key::kafka(
        "log.message.timestamp.type",
        Kind::Text,
        Some("CreateTime"),
        "Whether a record's timestamp is the producer's or the broker's.",
    )
    .check(Check::OneOf(TIMESTAMPS))
    .dynamic(),
    Key::kafka(
        "log.message.timestamp.before.max.ms",
        Kind::Long,
        Some("9223372036854775807"),
        "How far a record's timestamp may lie before the broker's time.",
    )
    .check(Check::AtLeast(0))
    .dynamic(),
    Key::kafka(
        "log.message.timestamp.after.max.ms",
        Kind::Long,
        Some("3600000"),
        "How far a record's timestamp may lie after the broker's time.",
    )
    .check(Check::AtLeast(0))
    .dynamic(),
    Key::kafka(
        "log.cleanup.policy",
        Kind::List,
        Some("delete"),
        "Whether old segments are deleted, old values of keys compacted, both or neither.",
    )
    .check(Check::ListOf(POLICIES))
    .dynamic(),
    Key::kafka(
        "compression.type",
        Kind::Text,
        Some("producer"),
        "Codec in which batches are stored; producer keeps each as it came.",
    )
    .check(Check::OneOf(COMPRESSIONS))
    .dynamic(),
    Key::kafka(
        "compression.gzip.level",
        Kind::Int,
        Some("-1"),
        "How hard gzip tries when the broker compresses; -1 is its default.",
    )
    .check(GZIP)
    .dynamic(),
    Key::kafka(
        "compression.lz4.level",
        Kind::Int,
        Some("9"),
        "Kafka's level of LZ4 when the broker compresses.",
    )
    .check(LZ4)
    .dynamic()
    .unused(),
    Key::kafka(
        "compression.zstd.level",
        Kind::Int,
        Some("3"),
        "How hard zstd tries when the broker compresses.",
    )
    .check(ZSTD)
    .dynamic(),
    Key::kafka(
        "log.cleaner.delete.retention.ms",
        Kind::Long,
        Some("86400000"),
        "How long a compacted topic keeps the record that deletes a key.",
    )
    .check(Check::AtLeast(0))
    .dynamic(),
    Key::kafka(
        "log.cleaner.min.compaction.lag.ms",
        Kind::Long,
        Some("0"),
        "A record younger than this is not compacted away.",
    )
    .check(Check::AtLeast(0))
    .dynamic(),
    Key::kafka(
        "log.cleaner.max.compaction.lag.ms",
        Kind::Long,
        Some("9223372036854775807"),
        "A record older than this is compacted, however little there is to win.",
    )
    .check(Check::AtLeast(1))
    .dynamic(),
    Key::kafka(
        "log.cleaner.min.cleanable.ratio",
        Kind::Double,
        Some("0.5"),
        "Share of a log that must not have been compacted yet before it is compacted again.",
    )
    .check(Check::Between(0, 1))
    .dynamic(),
    Key::kafka(
        "log.preallocate",
        Kind::Bool,
        Some("false"),
        "A new segment takes its whole size on disk at once.",
    )
    .dynamic()
    .unused(),
    Key::kafka(
        "log.local.retention.ms",
        Kind::Long,
        Some("-2"),
        "How long a log with remote storage stays on local disks; -2 is log.retention.ms.",
    )
    .check(Check::AtLeast(-2))
    .dynamic()
    .unused(),
    Key::kafka(
        "log.local.retention.bytes",
        Kind::Long,
        Some("-2"),
        "How much of a log with remote storage stays on local disks; -2 is log.retention.bytes.",
    )
    .check(Check::AtLeast(-2))
    .dynamic()
    .unused(),
    Key::kafka(
        "message.max.bytes",
        Kind::Int,
        Some("1048588"),
        "Most bytes in one record batch, as compressed.",
    )
    .check(Check::AtLeast(0))
    .dynamic(),
    Key::kafka(
        "min.insync.replicas",
        Kind::Int,
        Some("1"),
        "Replicas that must hold a record before acks=all is answered.",
    )
    .check(Check::AtLeast(1))
    .dynamic(),
    Key::kafka(
        "unclean.leader.election.enable",
        Kind::Bool,
        Some("false"),
        "A replica that misses acknowledged records may lead.",
    )
    .dynamic(),
];
