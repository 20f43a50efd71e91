//! Kafka's `ElectLeadersRequest`, versions 0–2, flexible from 2.

use super::{Array, Request, structure};

structure! {
    /// Asks that leaders be elected.
    pub struct ElectLeadersRequest<'a>: Request for ElectLeaders {
        /// Type of elections to conduct for the partition. A value of '0' elects the preferred
        /// replica. A value of '1' elects the first live replica if there are no in-sync replica.
        pub election_type: i8 [1..],
        /// The topic partitions to elect leaders.
        pub topic_partitions: Option<Array<'a, TopicPartitions<'a>>>,
        /// How long it may take, in milliseconds.
        pub timeout_ms: i32,
    }

    /// Some partitions of one topic.
    pub struct TopicPartitions<'a> {
        /// The name of a topic.
        pub topic: &'a str,
        /// The partitions of this topic whose leader should be elected.
        pub partitions: Array<'a, i32>,
    }
}
