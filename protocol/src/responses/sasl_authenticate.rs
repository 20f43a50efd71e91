//! Kafka's `SaslAuthenticateResponse`, versions 0–2, flexible from 2.

use super::{Response, structure};

structure! {
    /// What becomes of one step of an authentication.
    pub struct SaslAuthenticateResponse<'a>: Response for SaslAuthenticate {
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// What is wrong.
        pub error_message: Option<&'a str>,
        /// The SASL authentication bytes from the server, as defined by the SASL mechanism.
        pub auth_bytes: &'a [u8],
        /// Number of milliseconds after which only re-authentication over the existing connection
        /// to create a new session can occur.
        pub session_lifetime_ms: i64 [1..],
    }
}
