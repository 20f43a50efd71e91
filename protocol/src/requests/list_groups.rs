//! Kafka's `ListGroupsRequest`, versions 0–5, flexible from 3.

use super::{Array, Request, structure};

structure! {
    /// Asks for all groups.
    pub struct ListGroupsRequest<'a>: Request for ListGroups {
        /// Only groups in these states; empty for all.
        pub states_filter: Array<'a, &'a str> [4..],
        /// Only groups of these types; empty for all (KIP-848).
        pub types_filter: Array<'a, &'a str> [5..],
    }
}
