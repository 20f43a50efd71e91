//! Kafka's `SyncGroupResponse`, versions 0–5, flexible from 4.

use super::{Response, structure};

structure! {
    /// A member's assignment.
    pub struct SyncGroupResponse<'a>: Response for SyncGroup {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32 [1..],
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// What the group speaks.
        pub protocol_type: Option<&'a str> [5..],
        /// The protocol that was chosen.
        pub protocol_name: Option<&'a str> [5..],
        /// The assignment.
        pub assignment: &'a [u8],
    }
}
