//! Kafka's `ListConfigResourcesResponse`, versions 0–1, flexible from 0 (KIP-1142).

use super::{Array, Response, structure};

structure! {
    /// What has a configuration.
    pub struct ListConfigResourcesResponse<'a>: Response for ListConfigResources {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// The resources.
        pub config_resources: Array<'a, ConfigResource<'a>>,
    }

    /// One resource.
    pub struct ConfigResource<'a> {
        /// The name.
        pub resource_name: &'a str,
        /// The kind; client metrics in version 0.
        pub resource_type: i8 [1..] = 16,
    }
}
