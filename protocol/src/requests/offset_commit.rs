//! Kafka's `OffsetCommitRequest`, versions 2–10, flexible from 8.

use super::{Array, Request, structure};
use crate::ids::TopicId;

structure! {
    /// Keeps offsets of a group.
    pub struct OffsetCommitRequest<'a>: Request for OffsetCommit {
        /// The group.
        pub group_id: &'a str,
        /// The generation that the member is in (KIP-848: or its epoch), negative for none.
        pub generation_id_or_member_epoch: i32,
        /// The member, empty for none.
        pub member_id: &'a str,
        /// What a static member calls itself (KIP-345).
        pub group_instance_id: Option<&'a str> [7..],
        /// How long the offsets are kept, in milliseconds; -1 for the broker's retention.
        pub retention_time_ms: i64 [2..=4] = -1,
        /// The offsets by topic.
        pub topics: Array<'a, OffsetCommitRequestTopic<'a>>,
    }

    /// The offsets of one topic.
    pub struct OffsetCommitRequestTopic<'a> {
        /// The topic's name.
        pub name: &'a str [2..=9],
        /// The topic's id.
        pub topic_id: TopicId [10..],
        /// Its partitions.
        pub partitions: Array<'a, OffsetCommitRequestPartition<'a>>,
    }

    /// The offset of one partition.
    pub struct OffsetCommitRequestPartition<'a> {
        /// Number of the partition.
        pub partition_index: i32,
        /// The offset of the record to be read next.
        pub committed_offset: i64,
        /// Leader epoch of the last record that was read, -1 for none.
        pub committed_leader_epoch: i32 [6..] = -1,
        /// Whatever the client writes beside it.
        pub committed_metadata: Option<&'a str>,
    }
}
