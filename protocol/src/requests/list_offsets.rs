//! Kafka's `ListOffsetsRequest`, versions 1–11, flexible from 6.

use super::{Array, Request, structure};

structure! {
    /// Asks for offsets by time.
    pub struct ListOffsetsRequest<'a>: Request for ListOffsets {
        /// The follower that asks, -1 for a consumer.
        pub replica_id: i32,
        /// 0 ends at the high watermark, 1 where the first open transaction begins.
        pub isolation_level: i8 [2..],
        /// What is asked of each topic.
        pub topics: Array<'a, ListOffsetsTopic<'a>>,
        /// How long the answer may wait for remote storage, in milliseconds.
        pub timeout_ms: i32 [10..],
    }

    /// What is asked of one topic.
    pub struct ListOffsetsTopic<'a> {
        /// The topic's name.
        pub name: &'a str,
        /// What is asked of each partition.
        pub partitions: Array<'a, ListOffsetsPartition>,
    }

    /// What is asked of one partition.
    pub struct ListOffsetsPartition {
        /// The partition.
        pub partition_index: i32,
        /// The leader epoch that the client knows, -1 for none.
        pub current_leader_epoch: i32 [4..] = -1,
        /// The time, in milliseconds since 1970; negative numbers have their own meanings.
        pub timestamp: i64,
    }
}
