//! Kafka's `CreateDelegationTokenRequest`, versions 1–3, flexible from 2.

use super::{Array, Request, structure};

structure! {
    /// Asks for a delegation token.
    pub struct CreateDelegationTokenRequest<'a>: Request for CreateDelegationToken {
        /// The principal type of the owner of the token. If it's null it defaults to the token
        /// request principal.
        pub owner_principal_type: Option<&'a str> [3..] = Some(""),
        /// The principal name of the owner of the token. If it's null it defaults to the token
        /// request principal.
        pub owner_principal_name: Option<&'a str> [3..] = Some(""),
        /// A list of those who are allowed to renew this token before it expires.
        pub renewers: Array<'a, CreatableRenewers<'a>>,
        /// The maximum lifetime of the token in milliseconds, or -1 to use the server side default.
        pub max_lifetime_ms: i64,
    }

    /// Who may renew it.
    pub struct CreatableRenewers<'a> {
        /// The type of the Kafka principal.
        pub principal_type: &'a str,
        /// The name of the Kafka principal.
        pub principal_name: &'a str,
    }
}
