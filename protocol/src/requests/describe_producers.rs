//! Kafka's `DescribeProducersRequest`, version 0, flexible from 0.

use super::{Array, Request, structure};

structure! {
    /// Asks for the producers that partitions remember.
    pub struct DescribeProducersRequest<'a>: Request for DescribeProducers {
        /// The topics to list producers for.
        pub topics: Array<'a, TopicRequest<'a>>,
    }

    /// Some partitions of one topic.
    pub struct TopicRequest<'a> {
        /// The topic name.
        pub name: &'a str,
        /// The indexes of the partitions to list producers for.
        pub partition_indexes: Array<'a, i32>,
    }
}
