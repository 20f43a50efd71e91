//! Kafka's `SaslHandshakeRequest`, versions 0–1, never flexible.

use super::{Request, structure};

structure! {
    /// Names the mechanism by which the client would authenticate.
    pub struct SaslHandshakeRequest<'a>: Request for SaslHandshake {
        /// The SASL mechanism chosen by the client.
        pub mechanism: &'a str,
    }
}
