//! Kafka's `DescribeGroupsRequest`, versions 0–6, flexible from 5.

use super::{Array, Request, structure};

structure! {
    /// Asks what groups are doing.
    pub struct DescribeGroupsRequest<'a>: Request for DescribeGroups {
        /// The groups.
        pub groups: Array<'a, &'a str>,
        /// Whether to tell what the client may do to each.
        pub include_authorized_operations: bool [3..],
    }
}
