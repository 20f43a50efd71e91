//! Kafka's `JoinGroupResponse`, versions 0–9, flexible from 6.

use super::{Array, Response, structure};

structure! {
    /// The generation that a member is in.
    pub struct JoinGroupResponse<'a>: Response for JoinGroup {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32 [2..],
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// The generation, -1 with an error.
        pub generation_id: i32,
        /// What the group speaks.
        pub protocol_type: Option<&'a str> [7..],
        /// The protocol that was chosen.
        pub protocol_name: Option<&'a str> [_, null 7..],
        /// The member that assigns.
        pub leader: &'a str,
        /// The leader need not assign: the assignment stays (KIP-814).
        pub skip_assignment: bool [9..],
        /// The member's id.
        pub member_id: &'a str,
        /// For the leader: everyone.
        pub members: Array<'a, JoinGroupResponseMember<'a>>,
    }

    /// One member.
    pub struct JoinGroupResponseMember<'a> {
        /// Its id.
        pub member_id: &'a str,
        /// What a static member calls itself.
        pub group_instance_id: Option<&'a str> [5..],
        /// What it said in the protocol that was chosen.
        pub metadata: &'a [u8],
    }
}
