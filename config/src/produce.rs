//! Limits of the produce path and of producer state.

use std::time::Duration;

use crate::key::{Check, Key, Kind};
use crate::values::Values;

pub(crate) const KEYS: &[Key] = &[
    Key::kafka(
        "producer.id.expiration.ms",
        Kind::Int,
        Some("86400000"),
        "A partition forgets an idle idempotent producer after this time.",
    )
    .check(Check::AtLeast(1))
    .dynamic(),
    Key::own(
        "producer.ids.per.partition.max",
        Kind::Int,
        "100000",
        "Most idempotent producers that one partition remembers; the longest idle go first, but none \
         that appended within 15 minutes: a new one is then told to try again.",
    )
    .check(Check::AtLeast(1)),
    Key::own(
        "producer.ids.max",
        Kind::Int,
        "1000000",
        "Most idempotent producers remembered in all partitions together, some 250 bytes each; at \
         the limit a partition forgets the longest idle of its own, but none that appended within 15 \
         minutes: a new one is then told to try again.",
    )
    .check(Check::AtLeast(1)),
    Key::own(
        "batch.decompressed.bytes.max",
        Kind::Long,
        "134217728",
        "Most bytes that one compressed batch may open to; a larger one is refused as too large.",
    )
    .check(Check::AtLeast(1 << 20)),
];

/// Limits of the produce path and of producer state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProduceConfig {
    /// `producer.id.expiration.ms`: monotonic time since a producer's last append.
    pub producer_expiration: Duration,
    /// `producer.ids.per.partition.max`.
    pub partition_producers_max: u32,
    /// `producer.ids.max`: in all partitions together.
    pub producers_max: u32,
    /// `batch.decompressed.bytes.max`: the cap on what validation opens, per batch.
    pub decompressed_bytes_max: u64,
}

impl ProduceConfig {
    pub(crate) fn read(values: &Values) -> Self {
        Self {
            producer_expiration: values.millis("producer.id.expiration.ms"),
            partition_producers_max: values.count32("producer.ids.per.partition.max"),
            producers_max: values.count32("producer.ids.max"),
            decompressed_bytes_max: values.count("batch.decompressed.bytes.max"),
        }
    }
}
