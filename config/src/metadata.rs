//! The cluster metadata log: when a snapshot of it is taken.

use std::time::Duration;

use crate::key::{Check, Key, Kind};
use crate::values::Values;

pub(crate) const KEYS: &[Key] = &[
    Key::kafka(
        "metadata.log.max.record.bytes.between.snapshots",
        Kind::Long,
        Some("20971520"),
        "A snapshot of the cluster metadata is taken after this many bytes of records.",
    )
    .check(Check::AtLeast(1)),
    Key::kafka(
        "metadata.log.max.snapshot.interval.ms",
        Kind::Long,
        Some("3600000"),
        "A snapshot of the cluster metadata is taken after this time if it changed; 0 is never.",
    )
    .check(Check::AtLeast(0)),
];

/// The cluster metadata log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataConfig {
    /// `metadata.log.max.record.bytes.between.snapshots`.
    pub snapshot_record_bytes: u64,
    /// `metadata.log.max.snapshot.interval.ms`; `None` when it is 0: no snapshot because of age.
    pub snapshot_interval: Option<Duration>,
}

impl MetadataConfig {
    pub(crate) fn read(values: &Values) -> Self {
        let interval = values.millis("metadata.log.max.snapshot.interval.ms");
        Self {
            snapshot_record_bytes: values.count("metadata.log.max.record.bytes.between.snapshots"),
            snapshot_interval: (!interval.is_zero()).then_some(interval),
        }
    }
}
