//! Kafka's `HeartbeatResponse`, versions 0–4, flexible from 4.

use super::{Response, structure};

structure! {
    /// The answer to a sign of life.
    pub struct HeartbeatResponse: Response for Heartbeat {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32 [1..],
        /// The outcome, 0 for success.
        pub error_code: i16,
    }
}
