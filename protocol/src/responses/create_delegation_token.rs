//! Kafka's `CreateDelegationTokenResponse`, versions 1–3, flexible from 2.

use super::{Response, structure};

structure! {
    /// A delegation token.
    pub struct CreateDelegationTokenResponse<'a>: Response for CreateDelegationToken {
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// The principal type of the token owner.
        pub principal_type: &'a str,
        /// The name of the token owner.
        pub principal_name: &'a str,
        /// The principal type of the requester of the token.
        pub token_requester_principal_type: &'a str [3..],
        /// The principal name of the requester of the token.
        pub token_requester_principal_name: &'a str [3..],
        /// When this token was generated.
        pub issue_timestamp_ms: i64,
        /// When this token expires.
        pub expiry_timestamp_ms: i64,
        /// The maximum lifetime of this token.
        pub max_timestamp_ms: i64,
        /// The token UUID.
        pub token_id: &'a str,
        /// HMAC of the delegation token.
        pub hmac: &'a [u8],
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
    }
}
