//! Kafka's `CreateTopicsResponse`, versions 2–7, flexible from 5.

use super::{Array, Response, structure};
use crate::ids::TopicId;

structure! {
    /// What became of topics to be made.
    pub struct CreateTopicsResponse<'a>: Response for CreateTopics {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
        /// What became of each.
        pub topics: Array<'a, CreatableTopicResult<'a>>,
    }

    /// What became of one topic.
    pub struct CreatableTopicResult<'a> {
        /// Its name.
        pub name: &'a str,
        /// Its id.
        pub topic_id: TopicId [7..],
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// What is wrong.
        pub error_message: Option<&'a str>,
        /// How many partitions it has, -1 when the client may not know.
        pub num_partitions: i32 [5..] = -1,
        /// How many replicas each partition has, -1 when the client may not know.
        pub replication_factor: i16 [5..] = -1,
        /// Its configuration; null when the client may not know.
        pub configs: Option<Array<'a, CreatableTopicConfigs<'a>>> [5..] = Some(Array::default()),
    } tagged {
        /// Why the configuration isn't told, 0 when it is.
        0 => pub topic_config_error_code: i16 [5..],
    }

    /// One configuration of a topic.
    pub struct CreatableTopicConfigs<'a> {
        /// Its key.
        pub name: &'a str,
        /// Its value.
        pub value: Option<&'a str>,
        /// Whether it can't be changed.
        pub read_only: bool,
        /// Where the value comes from, -1 when it isn't known.
        pub config_source: i8,
        /// Whether the value is a secret.
        pub is_sensitive: bool,
    }
}
