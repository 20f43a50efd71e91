//! Kafka's `LeaveGroupRequest`, versions 0–5, flexible from 4.

use super::{Array, Request, structure};

structure! {
    /// Leaves a group, or takes members out of it.
    pub struct LeaveGroupRequest<'a>: Request for LeaveGroup {
        /// The group.
        pub group_id: &'a str,
        /// The member.
        pub member_id: &'a str [0..=2],
        /// The members.
        pub members: Array<'a, MemberIdentity<'a>> [3..],
    }

    /// One member.
    pub struct MemberIdentity<'a> {
        /// Its id, empty for a static member that somebody else takes out.
        pub member_id: &'a str,
        /// What a static member calls itself (KIP-345).
        pub group_instance_id: Option<&'a str>,
        /// Why it leaves (KIP-800).
        pub reason: Option<&'a str> [5..],
    }
}
