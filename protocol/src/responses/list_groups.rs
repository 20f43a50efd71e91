//! Kafka's `ListGroupsResponse`, versions 0–5, flexible from 3.

use super::{Array, Response, structure};

structure! {
    /// All groups.
    pub struct ListGroupsResponse<'a>: Response for ListGroups {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32 [1..],
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// The groups.
        pub groups: Array<'a, ListedGroup<'a>>,
    }

    /// One group.
    pub struct ListedGroup<'a> {
        /// The group.
        pub group_id: &'a str,
        /// What it speaks.
        pub protocol_type: &'a str,
        /// Its state.
        pub group_state: &'a str [4..],
        /// Its type (KIP-848).
        pub group_type: &'a str [5..],
    }
}
