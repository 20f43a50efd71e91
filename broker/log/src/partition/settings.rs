//! What a topic's configuration says to its logs.

use crate::mark::Durability;

/// The settings of one partition log, Kafka's topic keys. Changing them (`PartitionLog::configure`)
/// acts on what comes after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// `segment.bytes`: no segment grows past it.
    pub segment_bytes: u64,
    /// `segment.ms` minus this partition's share of `segment.jitter.ms`: the span of timestamps
    /// after which a segment is closed.
    pub segment_ms: u64,
    /// `segment.index.bytes`: no index grows past it.
    pub segment_index_bytes: u64,
    /// `index.interval.bytes`: bytes of log between two index entries.
    pub index_interval_bytes: u64,
    /// `retention.ms`; `None` for no limit (-1).
    pub retention_ms: Option<u64>,
    /// `retention.bytes`; `None` for no limit (-1).
    pub retention_bytes: Option<u64>,
    /// `file.delete.delay.ms`: how long files of removed segments stay on disk.
    pub file_delete_delay_ms: u64,
    /// Whether retention may delete at all (`cleanup.policy` contains `delete`).
    pub delete: bool,
    /// Whether appends may use the directory's reserve when the disk is full (metadata, offset
    /// commits: what makes deleting possible).
    pub privileged: bool,
    /// What acks and the high watermark count (`architecture` §6).
    pub durability: Durability,
}

impl Default for LogSettings {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention_ms: Some(7 * 24 * 3_600_000),
            retention_bytes: None,
            file_delete_delay_ms: 60_000,
            delete: true,
            privileged: false,
            durability: Durability::Fsync,
        }
    }
}
