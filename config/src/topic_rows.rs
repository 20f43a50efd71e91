//! The rows of topic keys, each with the broker keys behind it.

use crate::key::{Check, Key, Kind, Synonym};

pub(crate) const POLICIES: &[&str] = &["delete", "compact"];
pub(crate) const TIMESTAMPS: &[&str] = &["CreateTime", "LogAppendTime"];
pub(crate) const COMPRESSIONS: &[&str] =
    &["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"];

/// Levels of the codecs; Kafka's bounds.
pub(crate) const GZIP: Check = Check::OneOrBetween(-1, 1, 9);
pub(crate) const LZ4: Check = Check::Between(1, 17);
pub(crate) const ZSTD: Check = Check::Between(-131_072, 22);

const MINUTE_MS: i64 = 60 * 1000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

const fn same(key: &'static str) -> Synonym {
    Synonym { key, factor: 1 }
}

pub(crate) const KEYS: &[Key] = &[
    Key::kafka(
        "segment.bytes",
        Kind::Int,
        Some("1073741824"),
        "Largest segment file.",
    )
    .check(Check::AtLeast(1 << 20))
    .topic(&[same("log.segment.bytes")]),
    Key::kafka(
        "segment.ms",
        Kind::Long,
        Some("604800000"),
        "A new segment begins after this time.",
    )
    .check(Check::AtLeast(1))
    .topic(&[
        same("log.roll.ms"),
        Synonym {
            key: "log.roll.hours",
            factor: HOUR_MS,
        },
    ]),
    Key::kafka(
        "segment.jitter.ms",
        Kind::Long,
        Some("0"),
        "Taken off segment.ms by chance, up to this and differently for each partition.",
    )
    .check(Check::AtLeast(0))
    .topic(&[
        same("log.roll.jitter.ms"),
        Synonym {
            key: "log.roll.jitter.hours",
            factor: HOUR_MS,
        },
    ]),
    Key::kafka(
        "segment.index.bytes",
        Kind::Int,
        Some("10485760"),
        "Largest index of a segment; a full one begins a new segment.",
    )
    .check(Check::AtLeast(4))
    .topic(&[same("log.index.size.max.bytes")]),
    Key::kafka(
        "index.interval.bytes",
        Kind::Int,
        Some("4096"),
        "Bytes of log from one index entry to the next.",
    )
    .check(Check::AtLeast(0))
    .topic(&[same("log.index.interval.bytes")]),
    Key::kafka(
        "retention.ms",
        Kind::Long,
        Some("604800000"),
        "Records are kept this long, by the largest timestamp of a segment; -1 is for ever.",
    )
    .check(Check::UnlimitedOrAtLeast(0))
    .topic(&[
        same("log.retention.ms"),
        Synonym {
            key: "log.retention.minutes",
            factor: MINUTE_MS,
        },
        Synonym {
            key: "log.retention.hours",
            factor: HOUR_MS,
        },
    ]),
    Key::kafka(
        "retention.bytes",
        Kind::Long,
        Some("-1"),
        "Each partition is kept to about this size; -1 is no limit.",
    )
    .check(Check::UnlimitedOrAtLeast(0))
    .topic(&[same("log.retention.bytes")]),
    Key::kafka(
        "file.delete.delay.ms",
        Kind::Long,
        Some("60000"),
        "A file that no longer counts is removed after this time.",
    )
    .check(Check::AtLeast(0))
    .topic(&[same("log.segment.delete.delay.ms")]),
    Key::kafka(
        "max.message.bytes",
        Kind::Int,
        Some("1048588"),
        "Most bytes in one record batch, as compressed.",
    )
    .check(Check::AtLeast(0))
    .topic(&[same("message.max.bytes")]),
    Key::kafka(
        "min.insync.replicas",
        Kind::Int,
        Some("1"),
        "Replicas that must hold a record before acks=all is answered.",
    )
    .check(Check::AtLeast(1))
    .topic(&[same("min.insync.replicas")]),
    Key::kafka(
        "flush.messages",
        Kind::Long,
        Some("9223372036854775807"),
        "The append that reaches this many unflushed records replies after a flush.",
    )
    .check(Check::AtLeast(1))
    .topic(&[same("log.flush.interval.messages")]),
    Key::kafka(
        "flush.ms",
        Kind::Long,
        Some("9223372036854775807"),
        "Records are flushed after this time, whatever the topic's durability.",
    )
    .check(Check::AtLeast(0))
    .topic(&[same("log.flush.interval.ms")]),
    Key::kafka(
        "cleanup.policy",
        Kind::List,
        Some("delete"),
        "Whether old segments are deleted, old values of keys compacted, both or neither.",
    )
    .check(Check::ListOf(POLICIES))
    .topic(&[same("log.cleanup.policy")]),
    Key::kafka(
        "compression.type",
        Kind::Text,
        Some("producer"),
        "Codec in which batches are stored; producer keeps each as it came.",
    )
    .check(Check::OneOf(COMPRESSIONS))
    .topic(&[same("compression.type")]),
    Key::kafka(
        "compression.gzip.level",
        Kind::Int,
        Some("-1"),
        "How hard gzip tries when the broker compresses; -1 is its default.",
    )
    .check(GZIP)
    .topic(&[same("compression.gzip.level")]),
    Key::kafka(
        "compression.lz4.level",
        Kind::Int,
        Some("9"),
        "Kafka's level of LZ4 when the broker compresses.",
    )
    .check(LZ4)
    .topic(&[same("compression.lz4.level")])
    .unused(),
    Key::kafka(
        "compression.zstd.level",
        Kind::Int,
        Some("3"),
        "How hard zstd tries when the broker compresses.",
    )
    .check(ZSTD)
    .topic(&[same("compression.zstd.level")]),
    Key::kafka(
        "delete.retention.ms",
        Kind::Long,
        Some("86400000"),
        "How long a compacted topic keeps the record that deletes a key.",
    )
    .check(Check::AtLeast(0))
    .topic(&[same("log.cleaner.delete.retention.ms")]),
    Key::kafka(
        "min.compaction.lag.ms",
        Kind::Long,
        Some("0"),
        "A record younger than this is not compacted away.",
    )
    .check(Check::AtLeast(0))
    .topic(&[same("log.cleaner.min.compaction.lag.ms")]),
    Key::kafka(
        "max.compaction.lag.ms",
        Kind::Long,
        Some("9223372036854775807"),
        "A record older than this is compacted, however little there is to win.",
    )
    .check(Check::AtLeast(1))
    .topic(&[same("log.cleaner.max.compaction.lag.ms")]),
    Key::kafka(
        "min.cleanable.dirty.ratio",
        Kind::Double,
        Some("0.5"),
        "Share of a log that must not have been compacted yet before it is compacted again.",
    )
    .check(Check::Between(0, 1))
    .topic(&[same("log.cleaner.min.cleanable.ratio")]),
    Key::kafka(
        "preallocate",
        Kind::Bool,
        Some("false"),
        "A new segment takes its whole size on disk at once.",
    )
    .topic(&[same("log.preallocate")])
    .unused(),
    Key::kafka(
        "leader.replication.throttled.replicas",
        Kind::List,
        Some(""),
        "Replicas whose leader sends to followers no faster than the throttle.",
    )
    .check(Check::Replicas)
    .topic(&[])
    .unused(),
    Key::kafka(
        "follower.replication.throttled.replicas",
        Kind::List,
        Some(""),
        "Replicas that fetch from their leader no faster than the throttle.",
    )
    .check(Check::Replicas)
    .topic(&[])
    .unused(),
    Key::kafka(
        "remote.storage.enable",
        Kind::Bool,
        Some("false"),
        "Closed segments are copied to remote storage.",
    )
    .topic(&[])
    .default_only(),
    Key::kafka(
        "remote.log.copy.disable",
        Kind::Bool,
        Some("false"),
        "Nothing more is copied to remote storage.",
    )
    .topic(&[])
    .default_only(),
    Key::kafka(
        "remote.log.delete.on.disable",
        Kind::Bool,
        Some("false"),
        "Turning remote storage off deletes what was copied.",
    )
    .topic(&[])
    .default_only(),
    Key::kafka(
        "local.retention.ms",
        Kind::Long,
        Some("-2"),
        "How long a log with remote storage stays on local disks; -2 is retention.ms.",
    )
    .check(Check::AtLeast(-2))
    .topic(&[same("log.local.retention.ms")])
    .unused(),
    Key::kafka(
        "local.retention.bytes",
        Kind::Long,
        Some("-2"),
        "How much of a log with remote storage stays on local disks; -2 is retention.bytes.",
    )
    .check(Check::AtLeast(-2))
    .topic(&[same("log.local.retention.bytes")])
    .unused(),
    Key::kafka(
        "message.timestamp.type",
        Kind::Text,
        Some("CreateTime"),
        "Whether a record's timestamp is the producer's or the broker's.",
    )
    .check(Check::OneOf(TIMESTAMPS))
    .topic(&[same("log.message.timestamp.type")]),
    Key::kafka(
        "message.timestamp.before.max.ms",
        Kind::Long,
        Some("9223372036854775807"),
        "How far a record's timestamp may lie before the broker's time.",
    )
    .check(Check::AtLeast(0))
    .topic(&[same("log.message.timestamp.before.max.ms")]),
    Key::kafka(
        "message.timestamp.after.max.ms",
        Kind::Long,
        Some("3600000"),
        "How far a record's timestamp may lie after the broker's time.",
    )
    .check(Check::AtLeast(0))
    .topic(&[same("log.message.timestamp.after.max.ms")]),
    Key::kafka(
        "unclean.leader.election.enable",
        Kind::Bool,
        Some("false"),
        "A replica that misses acknowledged records may lead.",
    )
    .topic(&[same("unclean.leader.election.enable")]),
    Key::own(
        "durability",
        Kind::Text,
        "fsync",
        "What acks=all and consumers wait for: records on stable storage, or in the page cache.",
    )
    .check(Check::OneOf(&["fsync", "page-cache"]))
    .topic(&[]),
    Key::own(
        "record.validation",
        Kind::Text,
        "full",
        "Whether the records inside a batch are checked, or only its header and checksum.",
    )
    .check(Check::OneOf(&["full", "header"]))
    .topic(&[]),
];
