//! Kafka's `DescribeQuorumRequest`, versions 0–2, flexible from 0.

use super::{Array, Request, structure};

structure! {
    /// Asks for the state of the quorum.
    pub struct DescribeQuorumRequest<'a>: Request for DescribeQuorum {
        /// The topics to describe.
        pub topics: Array<'a, TopicData<'a>>,
    }

    /// One topic.
    pub struct TopicData<'a> {
        /// The topic name.
        pub topic_name: &'a str,
        /// The partitions to describe.
        pub partitions: Array<'a, PartitionData>,
    }

    /// One partition.
    pub struct PartitionData {
        /// The partition index.
        pub partition_index: i32,
    }
}
