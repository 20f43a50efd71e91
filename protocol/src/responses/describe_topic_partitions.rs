//! Kafka's `DescribeTopicPartitionsResponse`, version 0, flexible from 0.

use super::{Array, Read, ReadError, Response, Version, structure};
use crate::ids::TopicId;

structure! {
    /// A page of topics and their partitions.
    pub struct DescribeTopicPartitionsResponse<'a>: Response for DescribeTopicPartitions {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
        /// Each topic in the response.
        pub topics: Array<'a, DescribeTopicPartitionsResponseTopic<'a>>,
        /// Where the next page begins; null after the last.
        pub next_cursor: Option<Cursor<'a>>,
    }

    /// One topic, with those of its partitions that are on the page.
    pub struct DescribeTopicPartitionsResponseTopic<'a> {
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// The topic name.
        pub name: Option<&'a str>,
        /// The topic id.
        pub topic_id: TopicId,
        /// True if the topic is internal.
        pub is_internal: bool,
        /// Each partition in the topic.
        pub partitions: Array<'a, DescribeTopicPartitionsResponsePartition<'a>>,
        /// What the client may do to the topic, a bit for each operation.
        pub topic_authorized_operations: i32,
    }

    /// One partition.
    pub struct DescribeTopicPartitionsResponsePartition<'a> {
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// The partition index.
        pub partition_index: i32,
        /// The ID of the leader broker.
        pub leader_id: i32,
        /// The leader epoch of this partition.
        pub leader_epoch: i32,
        /// The set of all nodes that host this partition.
        pub replica_nodes: Array<'a, i32>,
        /// The set of nodes that are in sync with the leader for this partition.
        pub isr_nodes: Array<'a, i32>,
        /// Replicas out of sync that may lead all the same (KIP-966); null when there are none.
        pub eligible_leader_replicas: Option<Array<'a, i32>>,
        /// The last of these that were known; null when there are none.
        pub last_known_elr: Option<Array<'a, i32>>,
        /// The set of offline replicas of this partition.
        pub offline_replicas: Array<'a, i32>,
    }

    /// Where a page begins.
    pub struct Cursor<'a> {
        /// The name for the first topic to process.
        pub topic_name: &'a str,
        /// The partition index to start with.
        pub partition_index: i32,
    }
}

impl<'a> Read<'a> for Option<Cursor<'a>> {
    fn bytes_min(_: Version) -> usize {
        1
    }

    fn read(from: &mut crate::view::Cursor<'a>) -> Result<Self, ReadError> {
        from.nullable()
    }
}
