//! Kafka's `DeleteGroupsRequest`, versions 0–2, flexible from 2.

use super::{Array, Request, structure};

structure! {
    /// Removes groups.
    pub struct DeleteGroupsRequest<'a>: Request for DeleteGroups {
        /// The groups.
        pub groups_names: Array<'a, &'a str>,
    }
}
