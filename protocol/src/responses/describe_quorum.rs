//! Kafka's `DescribeQuorumResponse`, versions 0–2, flexible from 0.

use super::{Array, Response, structure};

structure! {
    /// The state of the quorum.
    pub struct DescribeQuorumResponse<'a>: Response for DescribeQuorum {
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// What is wrong.
        pub error_message: Option<&'a str> [2..] = Some(""),
        /// The response from the describe quorum API.
        pub topics: Array<'a, TopicData<'a>>,
        /// The nodes in the quorum.
        pub nodes: Array<'a, Node<'a>> [2..],
    }

    /// One topic.
    pub struct TopicData<'a> {
        /// The topic name.
        pub topic_name: &'a str,
        /// The partition data.
        pub partitions: Array<'a, PartitionData<'a>>,
    }

    /// One partition.
    pub struct PartitionData<'a> {
        /// The partition index.
        pub partition_index: i32,
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// What is wrong.
        pub error_message: Option<&'a str> [2..] = Some(""),
        /// The ID of the current leader or -1 if the leader is unknown.
        pub leader_id: i32,
        /// The latest known leader epoch.
        pub leader_epoch: i32,
        /// The high water mark.
        pub high_watermark: i64,
        /// The current voters of the partition.
        pub current_voters: Array<'a, ReplicaState>,
        /// The observers of the partition.
        pub observers: Array<'a, ReplicaState>,
    }

    /// How far one replica is.
    pub struct ReplicaState {
        /// The ID of the replica.
        pub replica_id: i32,
        /// The replica directory ID of the replica.
        pub replica_directory_id: [u8; 16] [2..],
        /// The last known log end offset of the follower or -1 if it is unknown.
        pub log_end_offset: i64,
        /// The last known leader wall clock time time when a follower fetched from the leader. This
        /// is reported as -1 both for the current leader or if it is unknown for a voter.
        pub last_fetch_timestamp: i64 [1..] = -1,
        /// The leader wall clock append time of the offset for which the follower made the most
        /// recent fetch request. This is reported as the current time for the leader and -1 if
        /// unknown for a voter.
        pub last_caught_up_timestamp: i64 [1..] = -1,
    }

    /// Where one node listens.
    pub struct Node<'a> {
        /// The ID of the associated node.
        pub node_id: i32,
        /// The listeners of this controller.
        pub listeners: Array<'a, Listener<'a>>,
    }

    /// One listener of a node.
    pub struct Listener<'a> {
        /// The name of the endpoint.
        pub name: &'a str,
        /// The hostname.
        pub host: &'a str,
        /// The port.
        pub port: u16,
    }
}
