//! Kafka's `AlterReplicaLogDirsRequest`, versions 1–2, flexible from 2.

use super::{Array, Request, structure};

structure! {
    /// Asks that replicas move to other log directories of the broker.
    pub struct AlterReplicaLogDirsRequest<'a>: Request for AlterReplicaLogDirs {
        /// The alterations to make for each directory.
        pub dirs: Array<'a, AlterReplicaLogDir<'a>>,
    }

    /// What is to move to one directory.
    pub struct AlterReplicaLogDir<'a> {
        /// The absolute directory path.
        pub path: &'a str,
        /// The topics to add to the directory.
        pub topics: Array<'a, AlterReplicaLogDirTopic<'a>>,
    }

    /// What is to move of one topic.
    pub struct AlterReplicaLogDirTopic<'a> {
        /// The topic name.
        pub name: &'a str,
        /// The partition indexes.
        pub partitions: Array<'a, i32>,
    }
}
