//! Kafka's `DeleteTopicsResponse`, versions 1–6, flexible from 4.

use super::{Array, Response, structure};
use crate::ids::TopicId;

structure! {
    /// What became of topics to be removed.
    pub struct DeleteTopicsResponse<'a>: Response for DeleteTopics {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
        /// What became of each.
        pub responses: Array<'a, DeletableTopicResult<'a>>,
    }

    /// What became of one topic.
    pub struct DeletableTopicResult<'a> {
        /// Its name; null when it was asked for by an id that nobody knows.
        pub name: Option<&'a str> [_, null 6..],
        /// Its id.
        pub topic_id: TopicId [6..],
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// What is wrong.
        pub error_message: Option<&'a str> [5..],
    }
}
