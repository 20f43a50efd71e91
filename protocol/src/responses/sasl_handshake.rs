//! Kafka's `SaslHandshakeResponse`, versions 0–1, never flexible.

use super::{Array, Response, structure};

structure! {
    /// Whether the client may authenticate so.
    pub struct SaslHandshakeResponse<'a>: Response for SaslHandshake {
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// The mechanisms enabled in the server.
        pub mechanisms: Array<'a, &'a str>,
    }
}
