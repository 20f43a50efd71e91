//! Kafka's `OffsetForLeaderEpochRequest`, versions 2–4, flexible from 4.

use super::{Array, Request, structure};

structure! {
    /// Asks where leader epochs ended.
    pub struct OffsetForLeaderEpochRequest<'a>: Request for OffsetForLeaderEpoch {
        /// The follower that asks, -1 for a consumer, -2 for whoever doesn't say.
        pub replica_id: i32 [3..] = -2,
        /// What is asked of each topic.
        pub topics: Array<'a, OffsetForLeaderTopic<'a>>,
    }

    /// What is asked of one topic.
    pub struct OffsetForLeaderTopic<'a> {
        /// The topic's name.
        pub topic: &'a str,
        /// What is asked of each partition.
        pub partitions: Array<'a, OffsetForLeaderPartition>,
    }

    /// What is asked of one partition.
    pub struct OffsetForLeaderPartition {
        /// The partition.
        pub partition: i32,
        /// The leader epoch that the client knows, -1 for none.
        pub current_leader_epoch: i32,
        /// The epoch whose end is asked for.
        pub leader_epoch: i32,
    }
}
