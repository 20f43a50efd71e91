//! Kafka's `LeaveGroupResponse`, versions 0–5, flexible from 4.

use super::{Array, Response, structure};

structure! {
    /// What became of members that were to leave.
    pub struct LeaveGroupResponse<'a>: Response for LeaveGroup {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32 [1..],
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// What became of each.
        pub members: Array<'a, MemberResponse<'a>> [3..],
    }

    /// What became of one member.
    pub struct MemberResponse<'a> {
        /// Its id.
        pub member_id: &'a str,
        /// What a static member calls itself.
        pub group_instance_id: Option<&'a str>,
        /// The outcome, 0 for success.
        pub error_code: i16,
    }
}
