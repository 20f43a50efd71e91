//! Kafka's `ListConfigResourcesRequest`, versions 0–1, flexible from 0 (KIP-1142).

use super::{Array, Request, structure};

structure! {
    /// Asks what has a configuration.
    pub struct ListConfigResourcesRequest<'a>: Request for ListConfigResources {
        /// The kinds; none asks for all. Version 0 asks for client metrics only.
        pub resource_types: Array<'a, i8> [1..],
    }
}
