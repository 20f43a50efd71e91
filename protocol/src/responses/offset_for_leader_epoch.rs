//! Kafka's `OffsetForLeaderEpochResponse`, versions 2–4, flexible from 4.

use super::{Array, Response, structure};

structure! {
    /// Where leader epochs end.
    pub struct OffsetForLeaderEpochResponse<'a>: Response for OffsetForLeaderEpoch {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
        /// The ends in each topic.
        pub topics: Array<'a, OffsetForLeaderTopicResult<'a>>,
    }

    /// Where epochs end in one topic.
    pub struct OffsetForLeaderTopicResult<'a> {
        /// The topic's name.
        pub topic: &'a str,
        /// The end in each partition.
        pub partitions: Array<'a, EpochEndOffset>,
    }

    /// Where an epoch ends in one partition.
    pub struct EpochEndOffset {
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// The partition.
        pub partition: i32,
        /// The greatest epoch that isn't later than the one asked for, -1 for none.
        pub leader_epoch: i32,
        /// One past the epoch's last offset, -1 for none.
        pub end_offset: i64,
    }
}
