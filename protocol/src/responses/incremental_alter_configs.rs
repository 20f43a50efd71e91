//! Kafka's `IncrementalAlterConfigsResponse`, versions 0–1, flexible from 1.

use super::{Array, Response, structure};

structure! {
    /// What became of changes of configurations.
    pub struct IncrementalAlterConfigsResponse<'a>: Response for IncrementalAlterConfigs {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
        /// The outcome for each resource.
        pub responses: Array<'a, AlterConfigsResourceResponse<'a>>,
    }

    /// The outcome for one resource.
    pub struct AlterConfigsResourceResponse<'a> {
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// Why, for people.
        pub error_message: Option<&'a str>,
        /// The kind.
        pub resource_type: i8,
        /// The name.
        pub resource_name: &'a str,
    }
}
