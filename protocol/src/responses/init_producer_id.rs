//! Kafka's `InitProducerIdResponse`, versions 0–5, flexible from 2.

use super::{Response, structure};

structure! {
    /// A producer's id and epoch.
    pub struct InitProducerIdResponse: Response for InitProducerId {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// The id.
        pub producer_id: i64,
        /// The epoch.
        pub producer_epoch: i16,
    }
}
