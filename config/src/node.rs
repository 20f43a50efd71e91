//! Who this node is, how it stops, and how it says what happens.

use std::time::Duration;

use crate::key::{Check, Key, Kind};
use crate::values::Values;

pub(crate) const KEYS: &[Key] = &[
    Key::kafka(
        "node.id",
        Kind::Int,
        Some("1"),
        "Number of this node in its cluster.",
    )
    .check(Check::AtLeast(0)),
    Key::kafka(
        "broker.rack",
        Kind::Text,
        None,
        "Rack or zone of this node, told to clients.",
    )
    .check(Check::NotEmpty),
    Key::own(
        "shutdown.timeout.ms",
        Kind::Long,
        "10000",
        "Longest time that a stop waits for requests in progress before it closes connections.",
    )
    .check(Check::Between(0, 3_600_000)),
    Key::own(
        "logger.format",
        Kind::Text,
        "human",
        "What the broker says on standard error: lines for people, or a JSON object in each.",
    )
    .check(Check::OneOf(&["human", "json"])),
];

/// `logger.format`: the form of what the broker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoggerFormat {
    /// Lines for people.
    Human,
    /// One JSON object in each line.
    Json,
}

/// Who this node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// `node.id`: its number in the cluster, at least 0. Kafka requires it to be set; here it is
    /// 1 by default, so that one node starts without configuration.
    pub id: i32,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// `shutdown.timeout.ms`: how long a stop waits for requests in progress.
    pub shutdown_timeout: Duration,
    /// `logger.format`.
    pub logger_format: LoggerFormat,
}

impl NodeConfig {
    pub(crate) fn read(values: &Values) -> Self {
        Self {
            id: i32::try_from(values.number("node.id")).expect("the table's type is int"),
            rack: values.text("broker.rack"),
            shutdown_timeout: values.millis("shutdown.timeout.ms"),
            logger_format: match values.text("logger.format").as_deref() {
                Some("json") => LoggerFormat::Json,
                Some(_) | None => LoggerFormat::Human,
            },
        }
    }
}
