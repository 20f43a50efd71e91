//! What a broker's configuration says of groups, by its Kafka keys.

/// The limits and delays of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `group.min.session.timeout.ms`.
    pub session_timeout_min_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_max_ms: i32,
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay_ms: u64,
    /// `group.max.size`.
    pub members_max: usize,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_bytes_max: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
}

impl Default for Settings {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            session_timeout_min_ms: 6_000,
            session_timeout_max_ms: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            members_max: i32::MAX as usize,
            offset_metadata_bytes_max: 4_096,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1_000,
        }
    }
}

/// How long a member may wait for its first answer before it is taken out: it has no id yet that it
/// could say a sign of life with, and whoever gave up and asks again would be counted twice.
pub(super) const NEW_MEMBER_TIMEOUT_MS: u64 = 5 * 60 * 1_000;

/// Members of one group that were given an id and have not come back with it. One more is refused
/// as one member too many, so that whoever only asks for ids can't fill the memory.
pub const PENDING_MEMBERS_PER_GROUP_MAX: usize = 10_000;
