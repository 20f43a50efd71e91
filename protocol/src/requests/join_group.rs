//! Kafka's `JoinGroupRequest`, versions 0–9, flexible from 6.

use super::{Array, Request, structure};

structure! {
    /// Joins a group.
    pub struct JoinGroupRequest<'a>: Request for JoinGroup {
        /// The group.
        pub group_id: &'a str,
        /// Without a sign of life for that long it is no member any more, in milliseconds.
        pub session_timeout_ms: i32,
        /// How long a rebalance waits for it, in milliseconds.
        pub rebalance_timeout_ms: i32 [1..] = -1,
        /// The id that the coordinator gave it, empty for none yet.
        pub member_id: &'a str,
        /// What a static member calls itself (KIP-345).
        pub group_instance_id: Option<&'a str> [5..],
        /// What it speaks, such as `consumer`.
        pub protocol_type: &'a str,
        /// What it can follow, its favourite first.
        pub protocols: Array<'a, JoinGroupRequestProtocol<'a>>,
        /// Why it joins (KIP-800).
        pub reason: Option<&'a str> [8..],
    }

    /// One protocol that a member can follow.
    pub struct JoinGroupRequestProtocol<'a> {
        /// Its name, such as `range`.
        pub name: &'a str,
        /// What the member says in it.
        pub metadata: &'a [u8],
    }
}
