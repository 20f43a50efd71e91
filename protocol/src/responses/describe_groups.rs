//! Kafka's `DescribeGroupsResponse`, versions 0–6, flexible from 5.

use super::{Array, Response, structure};

structure! {
    /// What groups are doing.
    pub struct DescribeGroupsResponse<'a>: Response for DescribeGroups {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32 [1..],
        /// The groups.
        pub groups: Array<'a, DescribedGroup<'a>>,
    }

    /// What one group is doing.
    pub struct DescribedGroup<'a> {
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// What is wrong.
        pub error_message: Option<&'a str> [6..],
        /// The group.
        pub group_id: &'a str,
        /// Its state, empty with an error.
        pub group_state: &'a str,
        /// What it speaks.
        pub protocol_type: &'a str,
        /// The protocol that was chosen.
        pub protocol_data: &'a str,
        /// Its members.
        pub members: Array<'a, DescribedGroupMember<'a>>,
        /// What the client may do to it, a bit for each operation.
        pub authorized_operations: i32 [3..] = i32::MIN,
    }

    /// One member.
    pub struct DescribedGroupMember<'a> {
        /// Its id.
        pub member_id: &'a str,
        /// What a static member calls itself.
        pub group_instance_id: Option<&'a str> [4..],
        /// The client's id.
        pub client_id: &'a str,
        /// The client's address.
        pub client_host: &'a str,
        /// What it said in the protocol that was chosen.
        pub member_metadata: &'a [u8],
        /// What it was assigned.
        pub member_assignment: &'a [u8],
    }
}
