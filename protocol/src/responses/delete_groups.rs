//! Kafka's `DeleteGroupsResponse`, versions 0–2, flexible from 2.

use super::{Array, Response, structure};

structure! {
    /// What became of groups to be removed.
    pub struct DeleteGroupsResponse<'a>: Response for DeleteGroups {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
        /// What became of each.
        pub results: Array<'a, DeletableGroupResult<'a>>,
    }

    /// What became of one group.
    pub struct DeletableGroupResult<'a> {
        /// The group.
        pub group_id: &'a str,
        /// The outcome, 0 for success.
        pub error_code: i16,
    }
}
