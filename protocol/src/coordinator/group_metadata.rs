//! A classic group: `GroupMetadataKey` (type 2) and `GroupMetadataValue`, versions 0–4.

use super::{GROUP_METADATA, Value, put_text};
use crate::compact::{write_bytes, write_len, write_no_tags, write_nullable_string, write_string};
use crate::view::{Array, structure};

structure! {
    /// Which group.
    pub struct GroupMetadataKey<'a> {
        /// The group's id.
        pub group: &'a str,
    }

    /// A group in a generation whose assignment is known.
    pub struct GroupMetadataValue<'a> {
        /// What the members speak, such as `consumer`; empty when none ever joined.
        pub protocol_type: &'a str,
        /// The generation.
        pub generation: i32,
        /// The protocol that the members agreed on.
        pub protocol: Option<&'a str>,
        /// The member that assigns.
        pub leader: Option<&'a str>,
        /// Since when it is in its state, milliseconds since the Unix epoch; -1 for unknown.
        pub current_state_timestamp_ms: i64 [2..] = -1,
        /// The members.
        pub members: Array<'a, GroupMember<'a>>,
    }

    /// One member.
    pub struct GroupMember<'a> {
        /// Its id, which the coordinator gave it.
        pub member_id: &'a str,
        /// What it calls itself, if it is static (KIP-345).
        pub group_instance_id: Option<&'a str> [3..],
        /// The client's id.
        pub client_id: &'a str,
        /// Its address.
        pub client_host: &'a str,
        /// How long a rebalance waits for it, in milliseconds; -1 in old records: its session's.
        pub rebalance_timeout_ms: i32 [1..] = -1,
        /// Without a sign of life for that long it is no member any more, in milliseconds.
        pub session_timeout_ms: i32,
        /// What it said when it joined, in the protocol that was chosen.
        pub subscription: &'a [u8],
        /// What the leader assigned to it.
        pub assignment: &'a [u8],
    }
}

impl<'a> Value<'a> for GroupMetadataValue<'a> {
    const NEWEST: i16 = 4;
    const FLEXIBLE_FROM: i16 = 4;
}

/// A group's value but for its members, to be written.
#[derive(Clone, Copy, Debug)]
pub struct GroupMetadata<'a> {
    /// What the members speak; empty when none ever joined.
    pub protocol_type: &'a str,
    /// The generation.
    pub generation: i32,
    /// The protocol that the members agreed on.
    pub protocol: Option<&'a str>,
    /// The member that assigns.
    pub leader: Option<&'a str>,
    /// Since when it is in its state, milliseconds since the Unix epoch.
    pub current_state_timestamp_ms: i64,
}

/// The bytes of a key.
pub fn group_metadata_key(group: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + group.len());
    out.extend_from_slice(&GROUP_METADATA.to_be_bytes());
    put_text(&mut out, group);
    out
}

/// The bytes of a value, in version 4.
pub fn group_metadata_value<'a>(
    group: GroupMetadata<'_>,
    members: impl ExactSizeIterator<Item = GroupMember<'a>>,
) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&4_i16.to_be_bytes());
    write_string(&mut out, group.protocol_type);
    out.extend_from_slice(&group.generation.to_be_bytes());
    write_nullable_string(&mut out, group.protocol);
    write_nullable_string(&mut out, group.leader);
    out.extend_from_slice(&group.current_state_timestamp_ms.to_be_bytes());
    write_len(&mut out, members.len());
    for member in members {
        write_string(&mut out, member.member_id);
        write_nullable_string(&mut out, member.group_instance_id);
        write_string(&mut out, member.client_id);
        write_string(&mut out, member.client_host);
        out.extend_from_slice(&member.rebalance_timeout_ms.to_be_bytes());
        out.extend_from_slice(&member.session_timeout_ms.to_be_bytes());
        write_bytes(&mut out, member.subscription);
        write_bytes(&mut out, member.assignment);
        write_no_tags(&mut out);
    }
    write_no_tags(&mut out);
    out
}
