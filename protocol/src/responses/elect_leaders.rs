//! Kafka's `ElectLeadersResponse`, versions 0–2, flexible from 2.

use super::{Array, Response, structure};

structure! {
    /// What became of elections.
    pub struct ElectLeadersResponse<'a>: Response for ElectLeaders {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
        /// The outcome, 0 for success.
        pub error_code: i16 [1..],
        /// The election results, or an empty array if the requester did not have permission and the
        /// request asks for all partitions.
        pub replica_election_results: Array<'a, ReplicaElectionResult<'a>>,
    }

    /// What became of the elections of one topic.
    pub struct ReplicaElectionResult<'a> {
        /// The topic name.
        pub topic: &'a str,
        /// The results for each partition.
        pub partition_result: Array<'a, PartitionResult<'a>>,
    }

    /// What became of one election.
    pub struct PartitionResult<'a> {
        /// The partition id.
        pub partition_id: i32,
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// What is wrong.
        pub error_message: Option<&'a str>,
    }
}
