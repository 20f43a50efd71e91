//! Kafka's `UpdateFeaturesResponse`, versions 0–2, flexible from 0.

use super::{Array, Response, structure};

structure! {
    /// What became of updates of features.
    pub struct UpdateFeaturesResponse<'a>: Response for UpdateFeatures {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// What is wrong.
        pub error_message: Option<&'a str>,
        /// Results for each feature update.
        pub results: Array<'a, UpdatableFeatureResult<'a>> [0..=1],
    }

    /// What became of the update of one feature.
    pub struct UpdatableFeatureResult<'a> {
        /// The name of the finalized feature.
        pub feature: &'a str,
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// What is wrong.
        pub error_message: Option<&'a str>,
    }
}
