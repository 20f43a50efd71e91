//! Kafka's `DescribeLogDirsRequest`, versions 1–5, flexible from 2.

use super::{Array, Request, structure};

structure! {
    /// Asks what lies in the log directories.
    pub struct DescribeLogDirsRequest<'a>: Request for DescribeLogDirs {
        /// The topics; null for all of them.
        pub topics: Option<Array<'a, DescribableLogDirTopic<'a>>>,
    }

    /// Some partitions of one topic.
    pub struct DescribableLogDirTopic<'a> {
        /// The topic name.
        pub topic: &'a str,
        /// The partition indexes.
        pub partitions: Array<'a, i32>,
    }
}
