//! Kafka's `MetadataRequest`, versions 0–13, flexible from 9.

use super::{Array, Request, structure};
use crate::ids::TopicId;

structure! {
    /// Asks for the brokers, and for topics with who leads their partitions.
    pub struct MetadataRequest<'a>: Request for Metadata {
        /// The topics; null asks for all, as an empty list does in version 0.
        pub topics: Option<Array<'a, MetadataRequestTopic<'a>>> [_, null 1..],
        /// Whether topics that are missing may be made; before version 4 they may.
        pub allow_auto_topic_creation: bool [4..] = true,
        /// Whether to tell what the client may do to the cluster.
        pub include_cluster_authorized_operations: bool [8..=10],
        /// Whether to tell what the client may do to each topic.
        pub include_topic_authorized_operations: bool [8..],
    }

    /// One topic, by name or id.
    pub struct MetadataRequestTopic<'a> {
        /// The topic's id, zero when it is asked by name.
        pub topic_id: TopicId [10..],
        /// The topic's name, null when it is asked by id.
        pub name: Option<&'a str> [_, null 10..],
    }
}
