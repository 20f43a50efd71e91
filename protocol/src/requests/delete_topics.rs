//! Kafka's `DeleteTopicsRequest`, versions 1–6, flexible from 4.

use super::{Array, Request, structure};
use crate::ids::TopicId;

structure! {
    /// Removes topics.
    pub struct DeleteTopicsRequest<'a>: Request for DeleteTopics {
        /// The topics, by name or id.
        pub topics: Array<'a, DeleteTopicState<'a>> [6..],
        /// The topics' names.
        pub topic_names: Array<'a, &'a str> [1..=5],
        /// How long it may take, in milliseconds.
        pub timeout_ms: i32,
    }

    /// One topic, by name or id.
    pub struct DeleteTopicState<'a> {
        /// The topic's name, null when it is named by id.
        pub name: Option<&'a str>,
        /// The topic's id, zero when it is named by name.
        pub topic_id: TopicId,
    }
}
