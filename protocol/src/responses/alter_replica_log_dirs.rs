//! Kafka's `AlterReplicaLogDirsResponse`, versions 1–2, flexible from 2.

use super::{Array, Response, structure};

structure! {
    /// What became of moves between log directories.
    pub struct AlterReplicaLogDirsResponse<'a>: Response for AlterReplicaLogDirs {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
        /// The results for each topic.
        pub results: Array<'a, AlterReplicaLogDirTopicResult<'a>>,
    }

    /// What became of the moves of one topic.
    pub struct AlterReplicaLogDirTopicResult<'a> {
        /// The name of the topic.
        pub topic_name: &'a str,
        /// The results for each partition.
        pub partitions: Array<'a, AlterReplicaLogDirPartitionResult>,
    }

    /// What became of the move of one replica.
    pub struct AlterReplicaLogDirPartitionResult {
        /// The partition index.
        pub partition_index: i32,
        /// The outcome, 0 for success.
        pub error_code: i16,
    }
}
