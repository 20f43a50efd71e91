//! Kafka's `FindCoordinatorRequest`, versions 0–6, flexible from 3.

use super::{Array, Request, structure};

structure! {
    /// Asks which brokers coordinate groups or transactional ids.
    pub struct FindCoordinatorRequest<'a>: Request for FindCoordinator {
        /// The one key that is asked for.
        pub key: &'a str [0..=3],
        /// What the keys are: 0 groups, 1 transactional ids, 2 share groups.
        pub key_type: i8 [1..],
        /// The keys that are asked for.
        pub coordinator_keys: Array<'a, &'a str> [4..],
    }
}
