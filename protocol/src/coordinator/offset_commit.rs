//! The offset that a group committed for one partition: `OffsetCommitKey` (type 1) and
//! `OffsetCommitValue`, versions 0–4.

use super::{OFFSET_COMMIT, Value, put_text};
use crate::compact::{Tags, write_string};
use crate::ids::TopicId;
use crate::view::structure;

structure! {
    /// Whose offset of which partition.
    pub struct OffsetCommitKey<'a> {
        /// The group's id.
        pub group: &'a str,
        /// The topic's name.
        pub topic: &'a str,
        /// Number of the partition.
        pub partition: i32,
    }

    /// What was committed.
    pub struct OffsetCommitValue<'a> {
        /// The offset of the record to be read next.
        pub offset: i64,
        /// Leader epoch of the last record that was read; -1 for none.
        pub leader_epoch: i32 [3..] = -1,
        /// Whatever the client wrote beside it.
        pub metadata: &'a str,
        /// When it was committed, milliseconds since the Unix epoch.
        pub commit_timestamp_ms: i64,
        /// When it expires, as the client of an old version of the API asked; -1 for the broker's
        /// retention.
        pub expire_timestamp_ms: i64 [1] = -1,
    } tagged {
        /// The topic's id; zero when the client named the topic only.
        0 => pub topic_id: TopicId [4..] = TopicId::ZERO,
    }
}

impl<'a> Value<'a> for OffsetCommitValue<'a> {
    const NEWEST: i16 = 4;
    const FLEXIBLE_FROM: i16 = 4;
}

/// The bytes of a key.
pub fn offset_commit_key(key: OffsetCommitKey<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(10 + key.group.len() + key.topic.len());
    out.extend_from_slice(&OFFSET_COMMIT.to_be_bytes());
    put_text(&mut out, key.group);
    put_text(&mut out, key.topic);
    out.extend_from_slice(&key.partition.to_be_bytes());
    out
}

/// The bytes of a value: version 4, or 1 for one that expires by itself, which alone can say so
/// (and has neither leader epoch nor topic id).
pub fn offset_commit_value(value: OffsetCommitValue<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(50 + value.metadata.len());
    if value.expire_timestamp_ms >= 0 {
        out.extend_from_slice(&1_i16.to_be_bytes());
        out.extend_from_slice(&value.offset.to_be_bytes());
        put_text(&mut out, value.metadata);
        out.extend_from_slice(&value.commit_timestamp_ms.to_be_bytes());
        out.extend_from_slice(&value.expire_timestamp_ms.to_be_bytes());
        return out;
    }
    out.extend_from_slice(&4_i16.to_be_bytes());
    out.extend_from_slice(&value.offset.to_be_bytes());
    out.extend_from_slice(&value.leader_epoch.to_be_bytes());
    write_string(&mut out, value.metadata);
    out.extend_from_slice(&value.commit_timestamp_ms.to_be_bytes());
    let mut tags = Tags::default();
    if !value.topic_id.is_zero() {
        tags.add(0, |out| out.extend_from_slice(&value.topic_id.to_bytes()));
    }
    tags.write(&mut out);
    out
}
