//! Which keys are changed, to what, and what a topic goes by then.

use std::collections::BTreeMap;

use millrace_protocol::error_code::ErrorCode;

use super::model::{Change, Configs};

/// What every topic of the administrator's has: clocks may be far apart.
pub(super) const ALWAYS: (&str, &str) = ("message.timestamp.after.max.ms", "9223372036854775807");

/// What a topic that may not leave any record behind gets.
const OF_TOPICS: &[(&str, &[&str])] = &[
    ("retention.ms", &["-1", "604800000000"]),
    ("retention.bytes", &["-1", "1073741824"]),
    ("segment.bytes", &["1048576", "2097152", "1073741824"]),
    ("segment.ms", &["1000", "604800000"]),
    ("min.insync.replicas", &["1", "2"]),
    ("max.message.bytes", &["2000", "200000"]),
    (
        "compression.type",
        &["producer", "gzip", "lz4", "snappy", "zstd", "uncompressed"],
    ),
    ("message.timestamp.type", &["CreateTime", "LogAppendTime"]),
    ("flush.messages", &["1", "100"]),
    ("flush.ms", &["10", "60000"]),
    ("index.interval.bytes", &["1", "4096"]),
    ("file.delete.delay.ms", &["0", "60000"]),
    ("durability", &["fsync", "page-cache"]),
    ("cleanup.policy", &["delete", "compact", "compact,delete"]),
];

/// What may change on the workload's own topic, whose records have promises of their own.
const OF_THE_WORKLOAD: &[(&str, &[&str])] = &[
    ("segment.ms", &["1000", "604800000"]),
    ("compression.type", &["producer", "lz4", "zstd"]),
    ("flush.messages", &["1", "100"]),
    ("flush.ms", &["10", "60000"]),
    ("max.message.bytes", &["280000", "290000"]),
    ("min.insync.replicas", &["1"]),
    ("unclean.leader.election.enable", &["true", "false"]),
];

/// What may change on brokers while everybody goes on.
const OF_BROKERS: &[(&str, &[&str])] = &[
    ("compression.type", &["producer", "lz4", "snappy"]),
    ("log.segment.bytes", &["1048576", "1073741824"]),
    ("log.index.interval.bytes", &["1", "4096"]),
    ("log.flush.interval.messages", &["1", "1000"]),
    ("message.max.bytes", &["280000", "290000"]),
    ("max.connections", &["1000", "2000"]),
    ("producer.id.expiration.ms", &["86400000", "90000000"]),
];

/// A topic's key, the broker's behind it, and what it is where nothing is set and the broker was
/// started without it.
pub(super) const BEHIND: &[(&str, &str, &str)] = &[
    ("compression.type", "compression.type", "producer"),
    ("segment.bytes", "log.segment.bytes", "1073741824"),
    ("index.interval.bytes", "log.index.interval.bytes", "4096"),
    ("max.message.bytes", "message.max.bytes", "290000"),
];

/// What has a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A topic of the administrator's own.
    Topic,
    /// The workload's topic.
    Workload,
    /// A broker, or all of them.
    Broker,
}

impl Kind {
    /// Kafka's number.
    pub(super) const fn kafka_id(self) -> i8 {
        match self {
            Self::Topic | Self::Workload => 2,
            Self::Broker => 4,
        }
    }

    /// Where Kafka says a value comes from that is set on it.
    pub(super) fn source(self, name: &str) -> i8 {
        match self {
            Self::Topic | Self::Workload => 1,
            Self::Broker if name.is_empty() => 3,
            Self::Broker => 2,
        }
    }

    fn keys(self) -> &'static [(&'static str, &'static [&'static str])] {
        match self {
            Self::Topic => OF_TOPICS,
            Self::Workload => OF_THE_WORKLOAD,
            Self::Broker => OF_BROKERS,
        }
    }
}

/// Numbers out of one.
pub(super) struct Draw(pub(super) u64);

impl Draw {
    /// One below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let bound = (bound as u64).max(1);
        let drawn = self.0 % bound;
        self.0 = (self.0 / bound) ^ self.0.rotate_left(17).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        usize::try_from(drawn).unwrap_or(0)
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// What a new topic has set: nothing, or a few keys.
pub(super) fn configs(draw: &mut Draw) -> Configs {
    let mut configs = Configs::from([(ALWAYS.0.to_owned(), ALWAYS.1.to_owned())]);
    for _ in 0..draw.below(4) {
        let (key, values) = draw.of(OF_TOPICS);
        configs.insert(key.to_owned(), draw.of(values).to_owned());
    }
    configs
}

/// A change of a configuration: some keys at once, seldom one that can't be.
pub(super) fn alter(kind: Kind, draw: &mut Draw) -> Change {
    let replaces = kind != Kind::Workload && draw.below(5) == 0;
    let mut keys = BTreeMap::new();
    if replaces && kind == Kind::Topic {
        keys.insert(ALWAYS.0.to_owned(), Some(ALWAYS.1.to_owned()));
    }
    for _ in 0..=draw.below(3) {
        let (key, values) = draw.of(kind.keys());
        let value = (replaces || draw.below(4) > 0).then(|| draw.of(values).to_owned());
        keys.insert(key.to_owned(), value);
    }
    let bad = [
        ("compression.type", "rar"),
        ("no.such.key", "1"),
        ("flush.messages", "many"),
        ("log.flush.interval.messages", "0"),
    ];
    let refused = (draw.below(8) == 0).then(|| {
        let (key, value) = draw.of(&bad);
        keys.insert(key.to_owned(), Some(value.to_owned()));
        match kind {
            Kind::Topic | Kind::Workload => ErrorCode::InvalidConfig,
            Kind::Broker => ErrorCode::InvalidRequest,
        }
    });
    Change::Alter {
        keys,
        replaces,
        refused,
    }
}
