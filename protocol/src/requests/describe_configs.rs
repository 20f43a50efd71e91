//! Kafka's `DescribeConfigsRequest`, versions 1–4, flexible from 4.

use super::{Array, Request, structure};

structure! {
    /// Asks for configurations.
    pub struct DescribeConfigsRequest<'a>: Request for DescribeConfigs {
        /// Whose.
        pub resources: Array<'a, DescribeConfigsResource<'a>>,
        /// Whether to tell what each value was chosen from.
        pub include_synonyms: bool,
        /// Whether to tell what each key means.
        pub include_documentation: bool [3..],
    }

    /// Whose configuration is asked for.
    pub struct DescribeConfigsResource<'a> {
        /// The kind: 2 topic, 4 broker, 8 a broker's loggers, 16 client metrics, 32 group.
        pub resource_type: i8,
        /// The name.
        pub resource_name: &'a str,
        /// The keys; null asks for all.
        pub configuration_keys: Option<Array<'a, &'a str>>,
    }
}
