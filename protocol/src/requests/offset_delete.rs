//! Kafka's `OffsetDeleteRequest`, version 0, never flexible.

use super::{Array, Request, structure};

structure! {
    /// Removes offsets of a group (KIP-496).
    pub struct OffsetDeleteRequest<'a>: Request for OffsetDelete {
        /// The group.
        pub group_id: &'a str,
        /// The partitions by topic.
        pub topics: Array<'a, OffsetDeleteRequestTopic<'a>>,
    }

    /// Partitions of one topic.
    pub struct OffsetDeleteRequestTopic<'a> {
        /// The topic's name.
        pub name: &'a str,
        /// Its partitions.
        pub partitions: Array<'a, OffsetDeleteRequestPartition>,
    }

    /// One partition.
    pub struct OffsetDeleteRequestPartition {
        /// Number of the partition.
        pub partition_index: i32,
    }
}
