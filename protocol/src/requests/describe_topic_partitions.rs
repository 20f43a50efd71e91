//! Kafka's `DescribeTopicPartitionsRequest`, version 0, flexible from 0.

use super::{Array, Read, ReadError, Request, Version, structure};

structure! {
    /// Asks for topics and their partitions, a page at a time.
    pub struct DescribeTopicPartitionsRequest<'a>: Request for DescribeTopicPartitions {
        /// The topics to fetch details for.
        pub topics: Array<'a, TopicRequest<'a>>,
        /// The maximum number of partitions included in the response.
        pub response_partition_limit: i32,
        /// Where the page begins; null for the first.
        pub cursor: Option<Cursor<'a>>,
    }

    /// One topic.
    pub struct TopicRequest<'a> {
        /// The topic name.
        pub name: &'a str,
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
