//! Kafka's `DeleteRecordsRequest`, versions 0–2, flexible from 2.

use super::{Array, Request, structure};

structure! {
    /// Asks that records be deleted from the front of partitions.
    pub struct DeleteRecordsRequest<'a>: Request for DeleteRecords {
        /// What is asked of each topic.
        pub topics: Array<'a, DeleteRecordsTopic<'a>>,
        /// How long the answer may take, in milliseconds.
        pub timeout_ms: i32,
    }

    /// What is asked of one topic.
    pub struct DeleteRecordsTopic<'a> {
        /// The topic's name.
        pub name: &'a str,
        /// What is asked of each partition.
        pub partitions: Array<'a, DeleteRecordsPartition>,
    }

    /// What is asked of one partition.
    pub struct DeleteRecordsPartition {
        /// The partition.
        pub partition_index: i32,
        /// Records before this offset go; -1 stands for the high watermark.
        pub offset: i64,
    }
}
