//! Kafka's `ListOffsetsResponse`, versions 1–11, flexible from 6.

use super::{Array, Response, structure};

structure! {
    /// Offsets that were asked for.
    pub struct ListOffsetsResponse<'a>: Response for ListOffsets {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32 [2..],
        /// The offsets of each topic.
        pub topics: Array<'a, ListOffsetsTopicResponse<'a>>,
    }

    /// Offsets of one topic.
    pub struct ListOffsetsTopicResponse<'a> {
        /// The topic's name.
        pub name: &'a str,
        /// The offset of each partition.
        pub partitions: Array<'a, ListOffsetsPartitionResponse>,
    }

    /// An offset of one partition.
    pub struct ListOffsetsPartitionResponse {
        /// The partition.
        pub partition_index: i32,
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// The record's timestamp, in milliseconds since the Unix epoch; -1 for none.
        pub timestamp: i64,
        /// The offset, -1 for none.
        pub offset: i64,
        /// The leader epoch of the record, -1 for none.
        pub leader_epoch: i32 [4..] = -1,
    }
}
