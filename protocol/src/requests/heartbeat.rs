//! Kafka's `HeartbeatRequest`, versions 0–4, flexible from 4.

use super::{Request, structure};

structure! {
    /// A member's sign of life.
    pub struct HeartbeatRequest<'a>: Request for Heartbeat {
        /// The group.
        pub group_id: &'a str,
        /// The generation that the member is in.
        pub generation_id: i32,
        /// The member.
        pub member_id: &'a str,
        /// What a static member calls itself (KIP-345).
        pub group_instance_id: Option<&'a str> [3..],
    }
}
