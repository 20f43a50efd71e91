//! Kafka's `ProduceResponse`, versions 3–13, flexible from 9.

use super::{Array, Response, structure};
use crate::ids::TopicId;

structure! {
    /// What became of record batches.
    pub struct ProduceResponse<'a>: Response for Produce {
        /// What became of each topic's.
        pub responses: Array<'a, TopicProduceResponse<'a>>,
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
    } tagged {
        /// Where the leaders are that partitions name, when the client asked the wrong broker.
        0 => pub node_endpoints: Array<'a, NodeEndpoint<'a>> [10..],
    }

    /// What became of one topic's batches.
    pub struct TopicProduceResponse<'a> {
        /// The topic's name.
        pub name: &'a str [3..=12],
        /// The topic's id.
        pub topic_id: TopicId [13..],
        /// What became of each partition's.
        pub partition_responses: Array<'a, PartitionProduceResponse<'a>>,
    }

    /// What became of one partition's batch.
    pub struct PartitionProduceResponse<'a> {
        /// The partition.
        pub index: i32,
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// The offset of the batch's first record.
        pub base_offset: i64,
        /// When the broker appended it, in milliseconds since the Unix epoch; -1 where the records
        /// keep their own timestamps.
        pub log_append_time_ms: i64,
        /// The first offset of the partition.
        pub log_start_offset: i64 [5..] = -1,
        /// The records because of which the batch was refused.
        pub record_errors: Array<'a, BatchIndexAndErrorMessage<'a>> [8..],
        /// Why the batch was refused.
        pub error_message: Option<&'a str> [8..],
    } tagged {
        /// Who leads the partition.
        0 => pub current_leader: LeaderIdAndEpoch [10..] = LeaderIdAndEpoch::UNKNOWN,
    }

    /// A record because of which a batch was refused.
    pub struct BatchIndexAndErrorMessage<'a> {
        /// Its place in the batch.
        pub batch_index: i32,
        /// What is wrong with it.
        pub batch_index_error_message: Option<&'a str>,
    }

    /// Who leads a partition.
    pub struct LeaderIdAndEpoch {
        /// The leader's broker id, -1 when it isn't known.
        pub leader_id: i32,
        /// The leader epoch, -1 when it isn't known.
        pub leader_epoch: i32,
    }

    /// Where a broker is.
    pub struct NodeEndpoint<'a> {
        /// Its id.
        pub node_id: i32,
        /// Its host name.
        pub host: &'a str,
        /// Its port.
        pub port: i32,
        /// Its rack.
        pub rack: Option<&'a str>,
    }
}

impl LeaderIdAndEpoch {
    /// The broker doesn't say.
    pub const UNKNOWN: Self = Self {
        leader_id: -1,
        leader_epoch: -1,
    };
}
