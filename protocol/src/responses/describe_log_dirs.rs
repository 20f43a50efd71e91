//! Kafka's `DescribeLogDirsResponse`, versions 1–5, flexible from 2.

use super::{Array, Response, structure};

structure! {
    /// What lies in the log directories.
    pub struct DescribeLogDirsResponse<'a>: Response for DescribeLogDirs {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
        /// The outcome, 0 for success.
        pub error_code: i16 [3..],
        /// The log directories.
        pub results: Array<'a, DescribeLogDirsResult<'a>>,
    }

    /// One log directory.
    pub struct DescribeLogDirsResult<'a> {
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// The absolute log directory path.
        pub log_dir: &'a str,
        /// What lies there, by topic.
        pub topics: Array<'a, DescribeLogDirsTopic<'a>>,
        /// Bytes of the volume that it is on, -1 when not known.
        pub total_bytes: i64 [4..] = -1,
        /// Bytes of the volume that are free, -1 when not known.
        pub usable_bytes: i64 [4..] = -1,
        /// True if this log directory is cordoned.
        pub is_cordoned: bool [5..],
    }

    /// What lies there of one topic.
    pub struct DescribeLogDirsTopic<'a> {
        /// The topic name.
        pub name: &'a str,
        /// The partitions.
        pub partitions: Array<'a, DescribeLogDirsPartition>,
    }

    /// One replica.
    pub struct DescribeLogDirsPartition {
        /// The partition index.
        pub partition_index: i32,
        /// The size of the log segments in this partition in bytes.
        pub partition_size: i64,
        /// How far the log end is ahead of the high watermark; of a future log, how far it is
        /// behind the current one.
        pub offset_lag: i64,
        /// Whether it is a copy that will take the place of the current one.
        pub is_future_key: bool,
    }
}
