//! What a partition is told of its topic's and broker's configuration, and the names of its limits.

/// When bytes count: the topic's `durability`.
pub use millrace_config::Durability;

/// Default of [`Settings::producers_max`].
pub const PRODUCERS_PER_PARTITION_MAX: usize = 1_000;
/// Default of [`Settings::ack_waiters_max`].
pub const ACK_WAITERS_PER_PARTITION_MAX: usize = 10_000;
/// Default of [`Settings::fetch_waiters_max`].
pub const FETCH_WAITERS_PER_PARTITION_MAX: usize = 10_000;
/// Milliseconds before an ISR proposal that failed for a passing reason is made again.
pub const ISR_RETRY_MS: u64 = 50;

/// Configuration of one partition, resolved by the caller. The durability is not among it: it comes
/// with [`super::Recovered`] and changes when the log has, by [`super::Event::DurabilityChanged`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `min.insync.replicas`; capped by the replication factor where it is used. At least 1.
    pub min_insync_replicas: usize,
    /// `flush.messages`: the append that brings so many offsets since the last flush is answered
    /// after a flush, whatever its acks.
    pub flush_messages: u64,
    /// `flush.ms`: no record stays unflushed longer; `u64::MAX` is never.
    pub flush_ms: u64,
    /// `replica.lag.time.max.ms`: a follower that has not caught up for so long leaves the ISR.
    pub replica_lag_time_max_ms: u64,
    /// `producer.id.expiration.ms`, counted in monotonic time since the last append or load.
    pub producer_id_expiration_ms: u64,
    /// Most producers remembered; beyond it the one idle for longest goes first, and a newcomer is
    /// refused when there is none but those of [`RETRY_WINDOW_MS`](super::RETRY_WINDOW_MS).
    pub producers_max: usize,
    /// Most replies that wait for a flush or the high watermark; further ones time out at once.
    pub ack_waiters_max: usize,
    /// Most fetches that wait for records; further ones are answered at once with what there is.
    pub fetch_waiters_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            min_insync_replicas: 1,
            flush_messages: u64::MAX,
            flush_ms: u64::MAX,
            replica_lag_time_max_ms: 30_000,
            producer_id_expiration_ms: 86_400_000,
            producers_max: PRODUCERS_PER_PARTITION_MAX,
            ack_waiters_max: ACK_WAITERS_PER_PARTITION_MAX,
            fetch_waiters_max: FETCH_WAITERS_PER_PARTITION_MAX,
        }
    }
}
