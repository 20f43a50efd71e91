//! Kafka's `DescribeDelegationTokenResponse`, versions 1–3, flexible from 2.

use super::{Array, Response, structure};

structure! {
    /// Delegation tokens.
    pub struct DescribeDelegationTokenResponse<'a>: Response for DescribeDelegationToken {
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// The tokens.
        pub tokens: Array<'a, DescribedDelegationToken<'a>>,
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
    }

    /// One delegation token.
    pub struct DescribedDelegationToken<'a> {
        /// The token principal type.
        pub principal_type: &'a str,
        /// The token principal name.
        pub principal_name: &'a str,
        /// The principal type of the requester of the token.
        pub token_requester_principal_type: &'a str [3..],
        /// The principal name of the requester of the token.
        pub token_requester_principal_name: &'a str [3..],
        /// The token issue timestamp in milliseconds.
        pub issue_timestamp: i64,
        /// The token expiry timestamp in milliseconds.
        pub expiry_timestamp: i64,
        /// The token maximum timestamp length in milliseconds.
        pub max_timestamp: i64,
        /// The token ID.
        pub token_id: &'a str,
        /// The token HMAC.
        pub hmac: &'a [u8],
        /// Those who are able to renew this token before it expires.
        pub renewers: Array<'a, DescribedDelegationTokenRenewer<'a>>,
    }

    /// Who may renew it.
    pub struct DescribedDelegationTokenRenewer<'a> {
        /// The renewer principal type.
        pub principal_type: &'a str,
        /// The renewer principal name.
        pub principal_name: &'a str,
    }
}
