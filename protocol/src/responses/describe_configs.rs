//! Kafka's `DescribeConfigsResponse`, versions 1–4, flexible from 4.

use super::{Array, Response, structure};

structure! {
    /// Configurations.
    pub struct DescribeConfigsResponse<'a>: Response for DescribeConfigs {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
        /// What was asked for, each with its own outcome.
        pub results: Array<'a, DescribeConfigsResult<'a>>,
    }

    /// One configuration.
    pub struct DescribeConfigsResult<'a> {
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// Why, for people.
        pub error_message: Option<&'a str>,
        /// The kind.
        pub resource_type: i8,
        /// The name.
        pub resource_name: &'a str,
        /// The values.
        pub configs: Array<'a, DescribeConfigsResourceResult<'a>>,
    }

    /// One value.
    pub struct DescribeConfigsResourceResult<'a> {
        /// Its key.
        pub name: &'a str,
        /// The value; null when there is none, or it is secret.
        pub value: Option<&'a str>,
        /// Whether it can't be changed while the broker runs.
        pub read_only: bool,
        /// Where the value comes from.
        pub config_source: i8 = -1,
        /// Whether it is secret.
        pub is_sensitive: bool,
        /// What the value was chosen from.
        pub synonyms: Array<'a, DescribeConfigsSynonym<'a>>,
        /// The type.
        pub config_type: i8 [3..],
        /// What the key means.
        pub documentation: Option<&'a str> [3..] = Some(""),
    }

    /// One of the values that a value was chosen from.
    pub struct DescribeConfigsSynonym<'a> {
        /// The key.
        pub name: &'a str,
        /// The value.
        pub value: Option<&'a str>,
        /// Where it comes from.
        pub source: i8,
    }
}
