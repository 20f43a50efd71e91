//! Kafka's `OffsetFetchResponse`, versions 1–10, flexible from 6.

use super::{Array, Response, structure};
use crate::ids::TopicId;

structure! {
    /// Offsets of groups.
    pub struct OffsetFetchResponse<'a>: Response for OffsetFetch {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32 [3..],
        /// The offsets by topic.
        pub topics: Array<'a, OffsetFetchResponseTopic<'a>> [1..=7],
        /// The outcome, 0 for success.
        pub error_code: i16 [2..=7],
        /// The groups.
        pub groups: Array<'a, OffsetFetchResponseGroup<'a>> [8..],
    }

    /// Offsets of one topic.
    pub struct OffsetFetchResponseTopic<'a> {
        /// The topic's name.
        pub name: &'a str,
        /// Its partitions.
        pub partitions: Array<'a, OffsetFetchResponsePartition<'a>>,
    }

    /// The offset of one partition.
    pub struct OffsetFetchResponsePartition<'a> {
        /// Number of the partition.
        pub partition_index: i32,
        /// The offset of the record to be read next, -1 for none.
        pub committed_offset: i64,
        /// Leader epoch of the last record that was read, -1 for none.
        pub committed_leader_epoch: i32 [5..] = -1,
        /// Whatever the client wrote beside it.
        pub metadata: Option<&'a str>,
        /// The outcome, 0 for success.
        pub error_code: i16,
    }

    /// The offsets of one group.
    pub struct OffsetFetchResponseGroup<'a> {
        /// The group.
        pub group_id: &'a str,
        /// The offsets by topic.
        pub topics: Array<'a, OffsetFetchResponseTopics<'a>>,
        /// The outcome, 0 for success.
        pub error_code: i16,
    }

    /// Offsets of one topic.
    pub struct OffsetFetchResponseTopics<'a> {
        /// The topic's name.
        pub name: &'a str [8..=9],
        /// The topic's id.
        pub topic_id: TopicId [10..],
        /// Its partitions.
        pub partitions: Array<'a, OffsetFetchResponsePartitions<'a>>,
    }

    /// The offset of one partition.
    pub struct OffsetFetchResponsePartitions<'a> {
        /// Number of the partition.
        pub partition_index: i32,
        /// The offset of the record to be read next, -1 for none.
        pub committed_offset: i64,
        /// Leader epoch of the last record that was read, -1 for none.
        pub committed_leader_epoch: i32,
        /// Whatever the client wrote beside it.
        pub metadata: Option<&'a str>,
        /// The outcome, 0 for success.
        pub error_code: i16,
    }
}
