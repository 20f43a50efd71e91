//! Kafka's `OffsetDeleteResponse`, version 0, never flexible.

use super::{Array, Response, structure};

structure! {
    /// What became of offsets to be removed.
    pub struct OffsetDeleteResponse<'a>: Response for OffsetDelete {
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
        /// By topic.
        pub topics: Array<'a, OffsetDeleteResponseTopic<'a>>,
    }

    /// The offsets of one topic.
    pub struct OffsetDeleteResponseTopic<'a> {
        /// The topic's name.
        pub name: &'a str,
        /// Its partitions.
        pub partitions: Array<'a, OffsetDeleteResponsePartition>,
    }

    /// The offset of one partition.
    pub struct OffsetDeleteResponsePartition {
        /// Number of the partition.
        pub partition_index: i32,
        /// The outcome, 0 for success.
        pub error_code: i16,
    }
}
