//! Kafka's `ListPartitionReassignmentsResponse`, version 0, flexible from 0.

use super::{Array, Response, structure};

structure! {
    /// Which partitions are moving.
    pub struct ListPartitionReassignmentsResponse<'a>: Response for ListPartitionReassignments {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// What is wrong.
        pub error_message: Option<&'a str>,
        /// The ongoing reassignments for each topic.
        pub topics: Array<'a, OngoingTopicReassignment<'a>>,
    }

    /// What is moving of one topic.
    pub struct OngoingTopicReassignment<'a> {
        /// The topic name.
        pub name: &'a str,
        /// The ongoing reassignments for each partition.
        pub partitions: Array<'a, OngoingPartitionReassignment<'a>>,
    }

    /// One partition that is moving.
    pub struct OngoingPartitionReassignment<'a> {
        /// The index of the partition.
        pub partition_index: i32,
        /// The current replica set.
        pub replicas: Array<'a, i32>,
        /// The set of replicas we are currently adding.
        pub adding_replicas: Array<'a, i32>,
        /// The set of replicas we are currently removing.
        pub removing_replicas: Array<'a, i32>,
    }
}
