//! Kafka's `DeleteRecordsResponse`, versions 0–2, flexible from 2.

use super::{Array, Response, structure};

structure! {
    /// What became of deletions of records.
    pub struct DeleteRecordsResponse<'a>: Response for DeleteRecords {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
        /// The outcome for each topic.
        pub topics: Array<'a, DeleteRecordsTopicResult<'a>>,
    }

    /// The outcome for one topic.
    pub struct DeleteRecordsTopicResult<'a> {
        /// The topic's name.
        pub name: &'a str,
        /// The outcome for each partition.
        pub partitions: Array<'a, DeleteRecordsPartitionResult>,
    }

    /// The outcome for one partition.
    pub struct DeleteRecordsPartitionResult {
        /// The partition.
        pub partition_index: i32,
        /// The first offset that every replica still has, -1 with an error.
        pub low_watermark: i64,
        /// The outcome, 0 for success.
        pub error_code: i16,
    }
}
