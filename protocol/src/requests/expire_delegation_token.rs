//! Kafka's `ExpireDelegationTokenRequest`, versions 1–2, flexible from 2.

use super::{Request, structure};

structure! {
    /// Asks that a delegation token last less long.
    pub struct ExpireDelegationTokenRequest<'a>: Request for ExpireDelegationToken {
        /// The HMAC of the delegation token to be expired.
        pub hmac: &'a [u8],
        /// The expiry time period in milliseconds.
        pub expiry_time_period_ms: i64,
    }
}
