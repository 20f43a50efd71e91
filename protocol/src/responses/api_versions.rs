//! Kafka's `ApiVersionsResponse`, versions 0–4, flexible from 3.

use super::{Array, Response, structure};

structure! {
    /// The APIs that a broker serves.
    pub struct ApiVersionsResponse<'a>: Response for ApiVersions {
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// Each API with its versions.
        pub api_keys: Array<'a, ApiVersion>,
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32 [1..],
    } tagged {
        /// Features that the broker supports.
        0 => pub supported_features: Array<'a, SupportedFeatureKey<'a>> [3..],
        /// The epoch of the finalized features, -1 when it isn't known.
        1 => pub finalized_features_epoch: i64 [3..] = -1,
        /// Features that the whole cluster has agreed on.
        2 => pub finalized_features: Array<'a, FinalizedFeatureKey<'a>> [3..],
        /// Whether the controllers are ready to take over from `ZooKeeper` (KIP-866).
        3 => pub zk_migration_ready: bool [3..],
    }

    /// One API.
    pub struct ApiVersion {
        /// Its key.
        pub api_key: i16,
        /// The lowest version served.
        pub min_version: i16,
        /// The highest version served.
        pub max_version: i16,
    }

    /// A feature that the broker supports.
    pub struct SupportedFeatureKey<'a> {
        /// Its name.
        pub name: &'a str,
        /// The lowest version supported.
        pub min_version: i16,
        /// The highest version supported.
        pub max_version: i16,
    }

    /// A feature that the cluster has agreed on.
    pub struct FinalizedFeatureKey<'a> {
        /// Its name.
        pub name: &'a str,
        /// The highest level.
        pub max_version_level: i16,
        /// The lowest level.
        pub min_version_level: i16,
    }
}
