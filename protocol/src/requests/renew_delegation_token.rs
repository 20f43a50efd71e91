//! Kafka's `RenewDelegationTokenRequest`, versions 1–2, flexible from 2.

use super::{Request, structure};

structure! {
    /// Asks that a delegation token last longer.
    pub struct RenewDelegationTokenRequest<'a>: Request for RenewDelegationToken {
        /// The HMAC of the delegation token to be renewed.
        pub hmac: &'a [u8],
        /// The renewal time period in milliseconds.
        pub renew_period_ms: i64,
    }
}
