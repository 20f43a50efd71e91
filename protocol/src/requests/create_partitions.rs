//! Kafka's `CreatePartitionsRequest`, versions 0–3, flexible from 2.

use super::{Array, Request, structure};

structure! {
    /// Asks that topics have more partitions.
    pub struct CreatePartitionsRequest<'a>: Request for CreatePartitions {
        /// The topics.
        pub topics: Array<'a, CreatePartitionsTopic<'a>>,
        /// How long it may take, in milliseconds.
        pub timeout_ms: i32,
        /// Whether only to say what would come of it.
        pub validate_only: bool,
    }

    /// What one topic is to have.
    pub struct CreatePartitionsTopic<'a> {
        /// The topic name.
        pub name: &'a str,
        /// How many partitions it is to have in all.
        pub count: i32,
        /// Which brokers have each new partition; null when the cluster chooses.
        pub assignments: Option<Array<'a, CreatePartitionsAssignment<'a>>>,
    }

    /// Which brokers have one new partition.
    pub struct CreatePartitionsAssignment<'a> {
        /// The brokers, the preferred leader first.
        pub broker_ids: Array<'a, i32>,
    }
}
