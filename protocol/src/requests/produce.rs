//! Kafka's `ProduceRequest`, versions 3–13, flexible from 9.

use super::{Array, Request, structure};
use crate::ids::TopicId;

structure! {
    /// Record batches to append.
    pub struct ProduceRequest<'a>: Request for Produce {
        /// The transactional id, null when the producer is not transactional.
        pub transactional_id: Option<&'a str>,
        /// How many acknowledgements the leader waits for: 0 none, 1 its own, -1 those of all in-sync
        /// replicas.
        pub acks: i16,
        /// How long the acknowledgements may take, in milliseconds.
        pub timeout_ms: i32,
        /// What goes to each topic.
        pub topic_data: Array<'a, TopicProduceData<'a>>,
    }

    /// What goes to one topic.
    pub struct TopicProduceData<'a> {
        /// The topic's name.
        pub name: &'a str [3..=12],
        /// The topic's id.
        pub topic_id: TopicId [13..],
        /// What goes to each partition.
        pub partition_data: Array<'a, PartitionProduceData<'a>>,
    }

    /// What goes to one partition.
    pub struct PartitionProduceData<'a> {
        /// The partition.
        pub index: i32,
        /// A record batch as it stands in the log.
        pub records: Option<&'a [u8]>,
    }
}
