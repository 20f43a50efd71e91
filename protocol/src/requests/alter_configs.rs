//! Kafka's `AlterConfigsRequest`, versions 0–2, flexible from 2.

use super::{Array, Request, structure};

structure! {
    /// Replaces configurations as a whole.
    pub struct AlterConfigsRequest<'a>: Request for AlterConfigs {
        /// Whose.
        pub resources: Array<'a, AlterConfigsResource<'a>>,
        /// Whether only to say what would come of it.
        pub validate_only: bool,
    }

    /// One configuration as it is to be.
    pub struct AlterConfigsResource<'a> {
        /// The kind: 2 topic, 4 broker.
        pub resource_type: i8,
        /// The name.
        pub resource_name: &'a str,
        /// All that is set from now on.
        pub configs: Array<'a, AlterableConfig<'a>>,
    }

    /// One value.
    pub struct AlterableConfig<'a> {
        /// Its key.
        pub name: &'a str,
        /// The value.
        pub value: Option<&'a str>,
    }
}
