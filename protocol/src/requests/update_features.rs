//! Kafka's `UpdateFeaturesRequest`, versions 0–2, flexible from 0.

use super::{Array, Request, structure};

structure! {
    /// Asks that features be finalised at other levels.
    pub struct UpdateFeaturesRequest<'a>: Request for UpdateFeatures {
        /// How long it may take, in milliseconds.
        pub timeout_ms: i32,
        /// The list of updates to finalized features.
        pub feature_updates: Array<'a, FeatureUpdateKey<'a>>,
        /// True if we should validate the request, but not perform the upgrade or downgrade.
        pub validate_only: bool [1..],
    }

    /// What one feature is to be.
    pub struct FeatureUpdateKey<'a> {
        /// The name of the finalized feature to be updated.
        pub feature: &'a str,
        /// The new maximum version level for the finalized feature. A value >= 1 is valid. A value
        /// < 1, is special, and can be used to request the deletion of the finalized feature.
        pub max_version_level: i16,
        /// DEPRECATED in version 1 (see `DowngradeType`). When set to true, the finalized feature
        /// version level is allowed to be downgraded/deleted. The downgrade request will fail if
        /// the new maximum version level is a value that's not lower than the existing maximum
        /// finalized version level.
        pub allow_downgrade: bool [0],
        /// Determine which type of upgrade will be performed: 1 will perform an upgrade only
        /// (default), 2 is safe downgrades only (lossless), 3 is unsafe downgrades (lossy).
        pub upgrade_type: i8 [1..] = 1,
    }
}
