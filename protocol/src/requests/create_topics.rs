//! Kafka's `CreateTopicsRequest`, versions 2–7, flexible from 5.

use super::{Array, Request, structure};

structure! {
    /// Makes topics.
    pub struct CreateTopicsRequest<'a>: Request for CreateTopics {
        /// The topics.
        pub topics: Array<'a, CreatableTopic<'a>>,
        /// How long it may take, in milliseconds.
        pub timeout_ms: i32,
        /// Whether only to say what would come of it.
        pub validate_only: bool,
    }

    /// One topic.
    pub struct CreatableTopic<'a> {
        /// Its name.
        pub name: &'a str,
        /// How many partitions it has; -1 for the broker's default, or with assignments.
        pub num_partitions: i32,
        /// How many replicas each has; -1 for the broker's default, or with assignments.
        pub replication_factor: i16,
        /// Which brokers have each partition; empty when the cluster chooses.
        pub assignments: Array<'a, CreatableReplicaAssignment<'a>>,
        /// What it configures.
        pub configs: Array<'a, CreatableTopicConfig<'a>>,
    }

    /// Which brokers have one partition.
    pub struct CreatableReplicaAssignment<'a> {
        /// The partition.
        pub partition_index: i32,
        /// The brokers, the preferred leader first.
        pub broker_ids: Array<'a, i32>,
    }

    /// One configuration.
    pub struct CreatableTopicConfig<'a> {
        /// Its key.
        pub name: &'a str,
        /// Its value; null for the default.
        pub value: Option<&'a str>,
    }
}
