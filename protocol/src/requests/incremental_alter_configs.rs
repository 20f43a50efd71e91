//! Kafka's `IncrementalAlterConfigsRequest`, versions 0–1, flexible from 1 (KIP-339).

use super::{Array, Request, structure};

structure! {
    /// Changes single keys of configurations.
    pub struct IncrementalAlterConfigsRequest<'a>: Request for IncrementalAlterConfigs {
        /// Whose.
        pub resources: Array<'a, AlterConfigsResource<'a>>,
        /// Whether only to say what would come of it.
        pub validate_only: bool,
    }

    /// The changes of one configuration.
    pub struct AlterConfigsResource<'a> {
        /// The kind: 2 topic, 4 broker, 8 a broker's loggers, 16 client metrics, 32 group.
        pub resource_type: i8,
        /// The name.
        pub resource_name: &'a str,
        /// What changes.
        pub configs: Array<'a, AlterableConfig<'a>>,
    }

    /// One change.
    pub struct AlterableConfig<'a> {
        /// Its key.
        pub name: &'a str,
        /// 0 set, 1 delete, 2 append to a list, 3 take from a list.
        pub config_operation: i8,
        /// The value.
        pub value: Option<&'a str>,
    }
}
