//! Kafka's `MetadataResponse`, versions 0–13, flexible from 9.

use super::{Array, Response, structure};
use crate::ids::TopicId;

structure! {
    /// The brokers, and topics with who leads their partitions.
    pub struct MetadataResponse<'a>: Response for Metadata {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32 [3..],
        /// The brokers.
        pub brokers: Array<'a, MetadataResponseBroker<'a>>,
        /// The cluster's id.
        pub cluster_id: Option<&'a str> [2..],
        /// The controller's broker id, -1 when it isn't known.
        pub controller_id: i32 [1..] = -1,
        /// The topics.
        pub topics: Array<'a, MetadataResponseTopic<'a>>,
        /// What the client may do to the cluster, a bit for each operation; the smallest number when
        /// it wasn't asked for.
        pub cluster_authorized_operations: i32 [8..=10] = i32::MIN,
        /// The outcome as a whole, 0 for success.
        pub error_code: i16 [13..],
    }

    /// One broker.
    pub struct MetadataResponseBroker<'a> {
        /// Its id.
        pub node_id: i32,
        /// Its host name.
        pub host: &'a str,
        /// Its port.
        pub port: i32,
        /// Its rack.
        pub rack: Option<&'a str> [1..],
    }

    /// One topic.
    pub struct MetadataResponseTopic<'a> {
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// Its name; null when it was asked for by an id that nobody knows.
        pub name: Option<&'a str> [_, null 12..],
        /// Its id.
        pub topic_id: TopicId [10..],
        /// Whether it is the cluster's own.
        pub is_internal: bool [1..],
        /// Its partitions.
        pub partitions: Array<'a, MetadataResponsePartition<'a>>,
        /// What the client may do to it, a bit for each operation; the smallest number when it
        /// wasn't asked for.
        pub topic_authorized_operations: i32 [8..] = i32::MIN,
    }

    /// One partition.
    pub struct MetadataResponsePartition<'a> {
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// The partition.
        pub partition_index: i32,
        /// The leader's broker id, -1 for none.
        pub leader_id: i32,
        /// The leader epoch, -1 when it isn't known.
        pub leader_epoch: i32 [7..] = -1,
        /// The brokers that have it.
        pub replica_nodes: Array<'a, i32>,
        /// The brokers that are in sync.
        pub isr_nodes: Array<'a, i32>,
        /// The brokers of which the replica is offline.
        pub offline_replicas: Array<'a, i32> [5..],
    }
}
