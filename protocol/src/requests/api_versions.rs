//! Kafka's `ApiVersionsRequest`, versions 0–4, flexible from 3.

use super::{Request, structure};

structure! {
    /// Asks which APIs are served in which versions.
    pub struct ApiVersionsRequest<'a>: Request for ApiVersions {
        /// The name of the client's software.
        pub client_software_name: &'a str [3..],
        /// The version of the client's software.
        pub client_software_version: &'a str [3..],
    }
}
