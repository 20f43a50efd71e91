//! Kafka's `SyncGroupRequest`, versions 0–5, flexible from 4.

use super::{Array, Request, structure};

structure! {
    /// Asks for a member's assignment; the leader brings everyone's.
    pub struct SyncGroupRequest<'a>: Request for SyncGroup {
        /// The group.
        pub group_id: &'a str,
        /// The generation that the member is in.
        pub generation_id: i32,
        /// The member.
        pub member_id: &'a str,
        /// What a static member calls itself (KIP-345).
        pub group_instance_id: Option<&'a str> [3..],
        /// What the group speaks (KIP-559).
        pub protocol_type: Option<&'a str> [5..],
        /// The protocol that was chosen (KIP-559).
        pub protocol_name: Option<&'a str> [5..],
        /// Assignments, of the leader only.
        pub assignments: Array<'a, SyncGroupRequestAssignment<'a>>,
    }

    /// What one member is to get.
    pub struct SyncGroupRequestAssignment<'a> {
        /// The member.
        pub member_id: &'a str,
        /// Its assignment.
        pub assignment: &'a [u8],
    }
}
