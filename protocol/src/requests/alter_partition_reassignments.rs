//! Kafka's `AlterPartitionReassignmentsRequest`, versions 0–1, flexible from 0.

use super::{Array, Request, structure};

structure! {
    /// Asks that partitions move to other brokers, or no longer do.
    pub struct AlterPartitionReassignmentsRequest<'a>: Request for AlterPartitionReassignments {
        /// How long it may take, in milliseconds.
        pub timeout_ms: i32,
        /// The option indicating whether changing the replication factor of any given partition as
        /// part of this request is a valid move.
        pub allow_replication_factor_change: bool [1..] = true,
        /// The topics to reassign.
        pub topics: Array<'a, ReassignableTopic<'a>>,
    }

    /// What is to move of one topic.
    pub struct ReassignableTopic<'a> {
        /// The topic name.
        pub name: &'a str,
        /// The partitions to reassign.
        pub partitions: Array<'a, ReassignablePartition<'a>>,
    }

    /// Where one partition is to move.
    pub struct ReassignablePartition<'a> {
        /// The partition index.
        pub partition_index: i32,
        /// The replicas to place the partitions on, or null to cancel a pending reassignment for
        /// this partition.
        pub replicas: Option<Array<'a, i32>>,
    }
}
