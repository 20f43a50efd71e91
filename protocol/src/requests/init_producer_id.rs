//! Kafka's `InitProducerIdRequest`, versions 0–5, flexible from 2.

use super::{Request, structure};

structure! {
    /// Asks for a producer id, or for a new epoch of one.
    pub struct InitProducerIdRequest<'a>: Request for InitProducerId {
        /// The transactional id, null when the producer is only idempotent.
        pub transactional_id: Option<&'a str>,
        /// How long a transaction may stay open, in milliseconds.
        pub transaction_timeout_ms: i32,
        /// The id that the producer has, -1 for none (KIP-360).
        pub producer_id: i64 [3..] = -1,
        /// The epoch that the producer has, -1 for none.
        pub producer_epoch: i16 [3..] = -1,
    }
}
