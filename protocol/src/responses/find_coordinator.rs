//! Kafka's `FindCoordinatorResponse`, versions 0–6, flexible from 3.

use super::{Array, Response, structure};

structure! {
    /// Who coordinates groups or transactions.
    pub struct FindCoordinatorResponse<'a>: Response for FindCoordinator {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32 [1..],
        /// The outcome, 0 for success.
        pub error_code: i16 [0..=3],
        /// What is wrong.
        pub error_message: Option<&'a str> [1..=3] = Some(""),
        /// The coordinator's broker id.
        pub node_id: i32 [0..=3],
        /// The coordinator's host name.
        pub host: &'a str [0..=3],
        /// The coordinator's port.
        pub port: i32 [0..=3],
        /// The coordinator of each key.
        pub coordinators: Array<'a, Coordinator<'a>> [4..],
    }

    /// The coordinator of one key.
    pub struct Coordinator<'a> {
        /// The key.
        pub key: &'a str,
        /// The coordinator's broker id.
        pub node_id: i32,
        /// The coordinator's host name.
        pub host: &'a str,
        /// The coordinator's port.
        pub port: i32,
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// What is wrong.
        pub error_message: Option<&'a str>,
    }
}
