//! Kafka's `ListPartitionReassignmentsRequest`, version 0, flexible from 0.

use super::{Array, Request, structure};

structure! {
    /// Asks which partitions are moving.
    pub struct ListPartitionReassignmentsRequest<'a>: Request for ListPartitionReassignments {
        /// How long it may take, in milliseconds.
        pub timeout_ms: i32,
        /// The topics to list partition reassignments for, or null to list everything.
        pub topics: Option<Array<'a, ListPartitionReassignmentsTopics<'a>>>,
    }

    /// Some partitions of one topic.
    pub struct ListPartitionReassignmentsTopics<'a> {
        /// The topic name.
        pub name: &'a str,
        /// The partitions to list partition reassignments for.
        pub partition_indexes: Array<'a, i32>,
    }
}
