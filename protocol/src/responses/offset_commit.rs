//! Kafka's `OffsetCommitResponse`, versions 2–10, flexible from 8.

use super::{Array, Response, structure};
use crate::ids::TopicId;

structure! {
    /// What became of offsets to be kept.
    pub struct OffsetCommitResponse<'a>: Response for OffsetCommit {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32 [3..],
        /// By topic.
        pub topics: Array<'a, OffsetCommitResponseTopic<'a>>,
    }

    /// The offsets of one topic.
    pub struct OffsetCommitResponseTopic<'a> {
        /// The topic's name.
        pub name: &'a str [2..=9],
        /// The topic's id.
        pub topic_id: TopicId [10..],
        /// Its partitions.
        pub partitions: Array<'a, OffsetCommitResponsePartition>,
    }

    /// The offset of one partition.
    pub struct OffsetCommitResponsePartition {
        /// Number of the partition.
        pub partition_index: i32,
        /// The outcome, 0 for success.
        pub error_code: i16,
    }
}
