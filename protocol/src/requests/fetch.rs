//! Kafka's `FetchRequest`, versions 4–18, flexible from 12.

use super::{Array, Request, structure};
use crate::ids::TopicId;

structure! {
    /// Asks for records from several partitions.
    pub struct FetchRequest<'a>: Request for Fetch {
        /// The follower that asks, -1 for a consumer; from version 15 in `replica_state`.
        pub replica_id: i32 [4..=14] = -1,
        /// How long to wait for `min_bytes`, in milliseconds.
        pub max_wait_ms: i32,
        /// The fewest bytes to answer with before the wait is over.
        pub min_bytes: i32,
        /// The most bytes to answer with.
        pub max_bytes: i32,
        /// 0 reads all records below the high watermark, 1 only those of no open transaction.
        pub isolation_level: i8,
        /// The fetch session, 0 for none (KIP-227).
        pub session_id: i32 [7..],
        /// The session's epoch: 0 asks for a new session, -1 for none.
        pub session_epoch: i32 [7..] = -1,
        /// What is fetched: all of it without a session, else what is new or changed.
        pub topics: Array<'a, FetchTopic<'a>>,
        /// What the session no longer fetches.
        pub forgotten_topics_data: Array<'a, ForgottenTopic<'a>> [7..],
        /// The consumer's rack.
        pub rack_id: &'a str [11..],
    } tagged {
        /// The cluster that the client takes this one for.
        0 => pub cluster_id: Option<&'a str> [12..],
        /// The follower that asks.
        1 => pub replica_state: ReplicaState [15..] = ReplicaState::CONSUMER,
    }

    /// Who asks, when it is a follower.
    pub struct ReplicaState {
        /// The follower's broker id, -1 for a consumer.
        pub replica_id: i32,
        /// The follower's broker epoch, -1 when not known.
        pub replica_epoch: i64,
    }

    /// What is fetched from one topic.
    pub struct FetchTopic<'a> {
        /// The topic's name.
        pub topic: &'a str [4..=12],
        /// The topic's id.
        pub topic_id: TopicId [13..],
        /// What is fetched from each partition.
        pub partitions: Array<'a, FetchPartition>,
    }

    /// What is fetched from one partition.
    pub struct FetchPartition {
        /// The partition.
        pub partition: i32,
        /// The leader epoch that the client knows, -1 for none.
        pub current_leader_epoch: i32 [9..] = -1,
        /// The first offset to send.
        pub fetch_offset: i64,
        /// The epoch of the record before `fetch_offset`, -1 when not known.
        pub last_fetched_epoch: i32 [12..] = -1,
        /// Where the follower's log begins; -1 from a consumer.
        pub log_start_offset: i64 [5..] = -1,
        /// The most bytes to send of this partition.
        pub partition_max_bytes: i32,
    } tagged {
        /// The follower's log directory, zero from a consumer.
        0 => pub replica_directory_id: [u8; 16] [17..],
        /// The high watermark that the follower knows, the greatest offset when it doesn't say.
        1 => pub high_watermark: i64 [18..] = i64::MAX,
    }

    /// Partitions of one topic that the session no longer fetches.
    pub struct ForgottenTopic<'a> {
        /// The topic's name.
        pub topic: &'a str [4..=12],
        /// The topic's id.
        pub topic_id: TopicId [13..],
        /// The partitions.
        pub partitions: Array<'a, i32>,
    }
}

impl ReplicaState {
    /// Nobody's: a consumer asks.
    pub const CONSUMER: Self = Self {
        replica_id: -1,
        replica_epoch: -1,
    };
}
