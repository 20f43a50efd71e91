//! Kafka's `OffsetFetchRequest`, versions 1–10, flexible from 6.

use super::{Array, Request, structure};
use crate::ids::TopicId;

structure! {
    /// Asks for the offsets of groups.
    pub struct OffsetFetchRequest<'a>: Request for OffsetFetch {
        /// The group.
        pub group_id: &'a str [1..=7],
        /// The partitions by topic, null for all.
        pub topics: Option<Array<'a, OffsetFetchRequestTopic<'a>>> [1..=7, null 2..] = Some(Array::default()),
        /// The groups.
        pub groups: Array<'a, OffsetFetchRequestGroup<'a>> [8..],
        /// Offsets of transactions that are not decided are an error (KIP-447).
        pub require_stable: bool [7..],
    }

    /// Partitions of one topic.
    pub struct OffsetFetchRequestTopic<'a> {
        /// The topic's name.
        pub name: &'a str,
        /// Numbers of partitions.
        pub partition_indexes: Array<'a, i32>,
    }

    /// The offsets of one group.
    pub struct OffsetFetchRequestGroup<'a> {
        /// The group.
        pub group_id: &'a str,
        /// The member that asks (KIP-848).
        pub member_id: Option<&'a str> [9..],
        /// Its epoch, -1 for none.
        pub member_epoch: i32 [9..] = -1,
        /// The partitions by topic, null for all.
        pub topics: Option<Array<'a, OffsetFetchRequestTopics<'a>>>,
    }

    /// Partitions of one topic.
    pub struct OffsetFetchRequestTopics<'a> {
        /// The topic's name.
        pub name: &'a str [8..=9],
        /// The topic's id.
        pub topic_id: TopicId [10..],
        /// Numbers of partitions.
        pub partition_indexes: Array<'a, i32>,
    }
}
