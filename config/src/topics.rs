//! How topics are created.

use crate::error::ConfigError;
use crate::key::{Check, Key, Kind};
use crate::topic::{TopicConfig, TopicOverrides};
use crate::values::Values;

pub(crate) const KEYS: &[Key] = &[
    Key::kafka(
        "num.partitions",
        Kind::Int,
        Some("1"),
        "Partitions of a topic that is created without saying how many.",
    )
    .check(Check::AtLeast(1)),
    Key::kafka(
        "default.replication.factor",
        Kind::Int,
        Some("1"),
        "Replicas of a topic that is created without saying how many.",
    )
    .check(Check::Between(1, 32_767)),
    Key::kafka(
        "auto.create.topics.enable",
        Kind::Bool,
        Some("true"),
        "A client's first question about a topic creates it.",
    ),
    Key::kafka(
        "delete.topic.enable",
        Kind::Bool,
        Some("true"),
        "Topics can be deleted.",
    ),
    Key::own(
        "partitions.max",
        Kind::Int,
        "200000",
        "Most partitions on this node; a request for more is refused.",
    )
    .check(Check::AtLeast(1)),
    // Kafka's limit on one request, there without a key.
    Key::own(
        "create.partitions.per.request.max",
        Kind::Int,
        "10000",
        "Most partitions that one request may create.",
    )
    .check(Check::AtLeast(1)),
];

/// How topics are created.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicsConfig {
    /// `num.partitions`.
    pub partitions: u32,
    /// `default.replication.factor`.
    pub replication_factor: u16,
    /// `auto.create.topics.enable`.
    pub auto_create: bool,
    /// `delete.topic.enable`.
    pub delete_enabled: bool,
    /// `partitions.max`: on this node.
    pub partitions_max: u32,
    /// `create.partitions.per.request.max`.
    pub request_partitions_max: u32,
    /// What a topic without a configuration of its own has.
    pub defaults: TopicConfig,
}

impl TopicsConfig {
    pub(crate) fn read(values: &Values) -> Result<Self, ConfigError> {
        let factor = values.number("default.replication.factor");
        Ok(Self {
            partitions: values.count32("num.partitions"),
            replication_factor: u16::try_from(factor).expect("the table's check bounds it"),
            auto_create: values.bool("auto.create.topics.enable"),
            delete_enabled: values.bool("delete.topic.enable"),
            partitions_max: values.count32("partitions.max"),
            request_partitions_max: values.count32("create.partitions.per.request.max"),
            defaults: TopicConfig::from_values(values, &TopicOverrides::new())?,
        })
    }
}
