//! Kafka's `AlterPartitionReassignmentsResponse`, versions 0–1, flexible from 0.

use super::{Array, Response, structure};

structure! {
    /// What became of reassignments.
    pub struct AlterPartitionReassignmentsResponse<'a>: Response for AlterPartitionReassignments {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
        /// The option indicating whether changing the replication factor of any given partition as
        /// part of the request was allowed.
        pub allow_replication_factor_change: bool [1..] = true,
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// What is wrong.
        pub error_message: Option<&'a str>,
        /// The responses to topics to reassign.
        pub responses: Array<'a, ReassignableTopicResponse<'a>>,
    }

    /// What became of the reassignments of one topic.
    pub struct ReassignableTopicResponse<'a> {
        /// The topic name.
        pub name: &'a str,
        /// The responses to partitions to reassign.
        pub partitions: Array<'a, ReassignablePartitionResponse<'a>>,
    }

    /// What became of one reassignment.
    pub struct ReassignablePartitionResponse<'a> {
        /// The partition index.
        pub partition_index: i32,
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// What is wrong.
        pub error_message: Option<&'a str>,
    }
}
