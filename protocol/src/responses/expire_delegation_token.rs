//! Kafka's `ExpireDelegationTokenResponse`, versions 1–2, flexible from 2.

use super::{Response, structure};

structure! {
    /// How long a delegation token lasts.
    pub struct ExpireDelegationTokenResponse: Response for ExpireDelegationToken {
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// The timestamp in milliseconds at which this token expires.
        pub expiry_timestamp_ms: i64,
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
    }
}
