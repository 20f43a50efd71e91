//! Kafka's `SaslAuthenticateRequest`, versions 0–2, flexible from 2.

use super::{Request, structure};

structure! {
    /// One step of an authentication.
    pub struct SaslAuthenticateRequest<'a>: Request for SaslAuthenticate {
        /// The SASL authentication bytes from the client, as defined by the SASL mechanism.
        pub auth_bytes: &'a [u8],
    }
}
