//! Kafka's `CreatePartitionsResponse`, versions 0–3, flexible from 2.

use super::{Array, Response, structure};

structure! {
    /// What became of topics that are to have more partitions.
    pub struct CreatePartitionsResponse<'a>: Response for CreatePartitions {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
        /// What became of each.
        pub results: Array<'a, CreatePartitionsTopicResult<'a>>,
    }

    /// What became of one topic.
    pub struct CreatePartitionsTopicResult<'a> {
        /// The topic name.
        pub name: &'a str,
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// What is wrong.
        pub error_message: Option<&'a str>,
    }
}
