//! Kafka's `DescribeProducersResponse`, version 0, flexible from 0.

use super::{Array, Response, structure};

structure! {
    /// The producers that partitions remember.
    pub struct DescribeProducersResponse<'a>: Response for DescribeProducers {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
        /// Each topic in the response.
        pub topics: Array<'a, TopicResponse<'a>>,
    }

    /// The producers of one topic.
    pub struct TopicResponse<'a> {
        /// The topic name.
        pub name: &'a str,
        /// Each partition in the response.
        pub partitions: Array<'a, PartitionResponse<'a>>,
    }

    /// The producers of one partition.
    pub struct PartitionResponse<'a> {
        /// The partition index.
        pub partition_index: i32,
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// What is wrong.
        pub error_message: Option<&'a str>,
        /// The active producers for the partition.
        pub active_producers: Array<'a, ProducerState>,
    }

    /// One producer.
    pub struct ProducerState {
        /// The producer id.
        pub producer_id: i64,
        /// The producer epoch.
        pub producer_epoch: i32,
        /// The last sequence number sent by the producer.
        pub last_sequence: i32,
        /// The last timestamp sent by the producer.
        pub last_timestamp: i64,
        /// The current epoch of the producer group.
        pub coordinator_epoch: i32,
        /// The current transaction start offset of the producer.
        pub current_txn_start_offset: i64,
    }
}
