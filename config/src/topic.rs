//! A topic's configuration: its own values over the broker's defaults. A resolved [`TopicConfig`]
//! is what `log` and `core` act on; `None` always means "without limit" or "never".

use std::collections::BTreeMap;
use std::time::Duration;

use crate::BrokerConfig;
use crate::error::{ConfigError, Source};
use crate::key::{Key, Synonym, Value};
use crate::table;
use crate::values::{Setting, Values};

/// Values that clients set while the broker runs, by name.
pub type Overrides = BTreeMap<String, String>;

/// A topic's own configuration, name to value, as clients give it.
pub type TopicOverrides = Overrides;

/// What an acknowledgement and a consumer's view wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// Records are on stable storage.
    #[default]
    Fsync,
    /// Records are in the page cache: they survive a kill of the process, not a power cut.
    PageCache,
}

/// How much of a produced batch is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordValidation {
    /// Header, checksum and every record, compressed ones included.
    Full,
    /// Header and checksum: for producers that are trusted.
    Header,
}

/// Whose time a record's timestamp is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, at append.
    LogAppendTime,
}

/// The codec in which batches are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Each as it came.
    Producer,
    /// None.
    Uncompressed,
    /// Gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// What becomes of old records; both, one or neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Segments past their retention are deleted.
    pub delete: bool,
    /// Only the last value of each key is kept, and every record has a key.
    pub compact: bool,
}

/// When a topic's logs are compacted, and what that leaves for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CompactionConfig {
    /// `min.cleanable.dirty.ratio`, 0 to 1: a log is compacted when more of it than this is dirty.
    pub min_dirty_ratio: f64,
    /// `min.compaction.lag.ms`: nothing younger is compacted.
    pub min_lag: Duration,
    /// `max.compaction.lag.ms`: what is older is compacted, however little is dirty.
    pub max_lag: Duration,
    /// `delete.retention.ms`: how long a tombstone stays behind the round that met it first.
    pub delete_retention: Duration,
}

/// A topic's configuration, resolved and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    /// `segment.bytes`: at least 1 MiB, at most 2^31 - 1.
    pub segment_bytes: u32,
    /// `segment.ms`: age at which a new segment begins.
    pub segment_age: Duration,
    /// `segment.jitter.ms`: at most this is taken off the age, differently for each partition.
    pub segment_jitter: Duration,
    /// `segment.index.bytes`.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// `retention.ms`; `None` keeps for ever.
    pub retention: Option<Duration>,
    /// `retention.bytes`, per partition; `None` is no limit.
    pub retention_bytes: Option<u64>,
    /// `file.delete.delay.ms`.
    pub file_delete_delay: Duration,
    /// `max.message.bytes`: largest batch, its first 12 bytes included, as compressed.
    pub batch_bytes_max: u32,
    /// `min.insync.replicas`, as set: what counts is the smaller of it and the replication factor.
    pub min_insync_replicas: u32,
    /// `flush.messages`; `None` when it is 2^63 - 1: never.
    pub flush_records: Option<u64>,
    /// `flush.ms`; `None` when it is 2^63 - 1: never.
    pub flush_interval: Option<Duration>,
    /// `cleanup.policy`.
    pub cleanup: CleanupPolicy,
    /// How it is compacted, if it is.
    pub compaction: CompactionConfig,
    /// `compression.type`.
    pub compression: Compression,
    /// The level of its codec, where that has one; `None` is the codec's default.
    pub compression_level: Option<i32>,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`; `None` when it is 2^63 - 1: any.
    pub timestamp_before_max: Option<Duration>,
    /// `message.timestamp.after.max.ms`; `None` when it is 2^63 - 1: any.
    pub timestamp_after_max: Option<Duration>,
    /// `unclean.leader.election.enable`.
    pub unclean_leader_election: bool,
    /// `durability`.
    pub durability: Durability,
    /// `record.validation`.
    pub validation: RecordValidation,
}

impl TopicConfig {
    /// A topic's own values over the broker's. The error's text is fit for a client (error 40,
    /// `INVALID_CONFIG`).
    pub fn resolve(broker: &BrokerConfig, own: &TopicOverrides) -> Result<Self, ConfigError> {
        Self::from_values(broker.values(), own)
    }

    /// As [`Self::resolve`], for a topic that is made or changed: also what must hold between two
    /// keys. One that is there already is not refused because its broker's values changed.
    pub fn check(broker: &BrokerConfig, own: &TopicOverrides) -> Result<Self, ConfigError> {
        let read = Resolver {
            broker: broker.values(),
            own: parse(own)?,
        };
        read.check_lags()?;
        Self::resolve(broker, own)
    }

    pub(crate) fn from_values(
        broker: &Values,
        overrides: &TopicOverrides,
    ) -> Result<Self, ConfigError> {
        let read = Resolver {
            broker,
            own: parse(overrides)?,
        };
        let policies = read.list("cleanup.policy");
        let has_policy = |name: &str| policies.iter().any(|policy| policy == name);
        Ok(Self {
            segment_bytes: read.count32("segment.bytes"),
            segment_age: Duration::from_millis(read.count("segment.ms")),
            segment_jitter: Duration::from_millis(read.count("segment.jitter.ms")),
            segment_index_bytes: read.count32("segment.index.bytes"),
            index_interval_bytes: read.count32("index.interval.bytes"),
            retention: read.unless("retention.ms", -1).map(Duration::from_millis),
            retention_bytes: read.unless("retention.bytes", -1),
            file_delete_delay: Duration::from_millis(read.count("file.delete.delay.ms")),
            batch_bytes_max: read.count32("max.message.bytes"),
            min_insync_replicas: read.count32("min.insync.replicas"),
            flush_records: read.unless("flush.messages", i64::MAX),
            flush_interval: read.unless("flush.ms", i64::MAX).map(Duration::from_millis),
            cleanup: CleanupPolicy {
                delete: has_policy("delete"),
                compact: has_policy("compact"),
            },
            compaction: CompactionConfig {
                min_dirty_ratio: read.value("min.cleanable.dirty.ratio").double(),
                min_lag: Duration::from_millis(read.count("min.compaction.lag.ms")),
                max_lag: Duration::from_millis(read.count("max.compaction.lag.ms")),
                delete_retention: Duration::from_millis(read.count("delete.retention.ms")),
            },
            compression: compression(&read.text("compression.type")),
            compression_level: read.level(),
            timestamp_type: if read.text("message.timestamp.type") == "LogAppendTime" {
                TimestampType::LogAppendTime
            } else {
                TimestampType::CreateTime
            },
            timestamp_before_max: read
                .unless("message.timestamp.before.max.ms", i64::MAX)
                .map(Duration::from_millis),
            timestamp_after_max: read
                .unless("message.timestamp.after.max.ms", i64::MAX)
                .map(Duration::from_millis),
            unclean_leader_election: read.bool("unclean.leader.election.enable"),
            durability: if read.text("durability") == "page-cache" {
                Durability::PageCache
            } else {
                Durability::Fsync
            },
            validation: if read.text("record.validation") == "header" {
                RecordValidation::Header
            } else {
                RecordValidation::Full
            },
        })
    }
}

fn compression(word: &str) -> Compression {
    match word {
        "uncompressed" => Compression::Uncompressed,
        "gzip" => Compression::Gzip,
        "snappy" => Compression::Snappy,
        "lz4" => Compression::Lz4,
        "zstd" => Compression::Zstd,
        word => {
            assert_eq!(word, "producer", "the table's check allows these six words");
            Compression::Producer
        }
    }
}

/// Checks a topic's own values.
fn parse(overrides: &TopicOverrides) -> Result<BTreeMap<&'static str, Value>, ConfigError> {
    let mut own = BTreeMap::new();
    for (name, text) in overrides {
        let key = table::known_topic_key(name)?;
        own.insert(key.name, key.parse(text, &Source::Topic)?);
    }
    Ok(own)
}

/// The broker key behind a topic key that was set, with its setting.
pub(crate) fn broker_setting<'a>(
    key: &Key,
    broker: &'a Values,
) -> Option<(&'static Synonym, &'a Setting)> {
    let (name, setting) = broker.strongest(key.synonyms().iter().map(|synonym| synonym.key))?;
    let synonym = key.synonyms().iter().find(|synonym| synonym.key == name)?;
    Some((synonym, setting))
}

/// A broker key's value in the unit of the topic key.
pub(crate) fn converted(value: &Value, factor: i64) -> Value {
    match value {
        // -1 is "no limit" in every unit.
        Value::Number(number) if *number > 0 => Value::Number(number.saturating_mul(factor)),
        Value::Bool(_) | Value::Number(_) | Value::Double(_) | Value::Text(_) | Value::List(_) => {
            value.clone()
        }
    }
}

/// Reads values of one topic: its own, else the broker's, else the table's default.
struct Resolver<'a> {
    broker: &'a Values,
    own: BTreeMap<&'static str, Value>,
}

impl Resolver<'_> {
    fn value(&self, name: &str) -> Value {
        if let Some(value) = self.own.get(name) {
            return value.clone();
        }
        let key = table::topic_key(name).expect("every key that is read is in the table");
        if let Some((synonym, setting)) = broker_setting(key, self.broker) {
            return converted(&setting.value, synonym.factor);
        }
        let text = key
            .default
            .expect("a test holds that every topic key has a default");
        key.parse(text, &Source::Default)
            .expect("a test parses every default")
    }

    fn number(&self, name: &str) -> i64 {
        self.value(name).number()
    }

    fn count(&self, name: &str) -> u64 {
        u64::try_from(self.number(name)).expect("the table's check forbids negative values")
    }

    fn count32(&self, name: &str) -> u32 {
        u32::try_from(self.number(name)).expect("the table's type is int and not negative")
    }

    /// The number, or `None` when it is the one that stands for "none".
    fn unless(&self, name: &str, none: i64) -> Option<u64> {
        (self.number(name) != none).then(|| self.count(name))
    }

    /// Level of the codec of `compression.type`.
    fn level(&self) -> Option<i32> {
        let level = match compression(&self.text("compression.type")) {
            Compression::Gzip => self.number("compression.gzip.level"),
            Compression::Zstd => self.number("compression.zstd.level"),
            Compression::Producer
            | Compression::Uncompressed
            | Compression::Snappy
            | Compression::Lz4 => return None,
        };
        // The codec's own.
        (level != -1 || self.text("compression.type") == "zstd")
            .then(|| i32::try_from(level).expect("the table's type is int"))
    }

    /// The least lag of compaction must not pass the most.
    fn check_lags(&self) -> Result<(), ConfigError> {
        let (min, max) = ("min.compaction.lag.ms", "max.compaction.lag.ms");
        if self.number(min) <= self.number(max) {
            return Ok(());
        }
        let source = |name| {
            if self.own.contains_key(name) {
                Source::Topic
            } else {
                Source::Default
            }
        };
        Err(ConfigError::Conflict {
            key: min,
            value: self.number(min).to_string(),
            from: Box::new(source(min)),
            other_key: max,
            other_value: self.number(max).to_string(),
            other_from: Box::new(source(max)),
            rule: "min.compaction.lag.ms must be at most max.compaction.lag.ms",
        })
    }

    fn text(&self, name: &str) -> String {
        self.value(name).into_text()
    }

    fn list(&self, name: &str) -> Vec<String> {
        self.value(name).into_list()
    }

    fn bool(&self, name: &str) -> bool {
        self.value(name).bool()
    }
}
