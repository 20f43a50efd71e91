//! Kafka's `FetchResponse`, versions 4–18, flexible from 12.

use super::{Array, Response, structure};
use crate::ids::TopicId;

structure! {
    /// Records of several partitions.
    pub struct FetchResponse<'a>: Response for Fetch {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
        /// The outcome as a whole, 0 for success.
        pub error_code: i16 [7..],
        /// The fetch session, 0 for none (KIP-227).
        pub session_id: i32 [7..],
        /// What there is of each topic.
        pub responses: Array<'a, FetchableTopicResponse<'a>>,
    } tagged {
        /// Where the leaders are that partitions name, when the client asked the wrong broker.
        0 => pub node_endpoints: Array<'a, NodeEndpoint<'a>> [16..],
    }

    /// What there is of one topic.
    pub struct FetchableTopicResponse<'a> {
        /// The topic's name.
        pub topic: &'a str [4..=12],
        /// The topic's id.
        pub topic_id: TopicId [13..],
        /// What there is of each partition.
        pub partitions: Array<'a, PartitionData<'a>>,
    }

    /// What there is of one partition.
    pub struct PartitionData<'a> {
        /// The partition.
        pub partition_index: i32,
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// One past the last offset that is on all in-sync replicas.
        pub high_watermark: i64,
        /// One past the last offset below which no transaction is open; -1 when not known.
        pub last_stable_offset: i64,
        /// The first offset of the partition.
        pub log_start_offset: i64 [5..] = -1,
        /// Transactions that were aborted, for a reader of committed records; null for others.
        pub aborted_transactions: Option<Array<'a, AbortedTransaction>>,
        /// The broker to read from instead, -1 for none.
        pub preferred_read_replica: i32 [11..] = -1,
        /// Whole batches, and possibly a cut one at the end.
        pub records: Option<&'a [u8]>,
    } tagged {
        /// Where a follower's log leaves the leader's.
        0 => pub diverging_epoch: EpochEndOffset [12..] = EpochEndOffset::NONE,
        /// Who leads the partition.
        1 => pub current_leader: LeaderIdAndEpoch [12..] = LeaderIdAndEpoch::UNKNOWN,
        /// The snapshot to fetch before the log.
        2 => pub snapshot_id: SnapshotId [12..] = SnapshotId::NONE,
    }

    /// The last epoch that a follower's log shares with the leader's.
    pub struct EpochEndOffset {
        /// The epoch, -1 for none.
        pub epoch: i32,
        /// One past the epoch's last offset, -1 for none.
        pub end_offset: i64,
    }

    /// Who leads a partition.
    pub struct LeaderIdAndEpoch {
        /// The leader's broker id, -1 when it isn't known.
        pub leader_id: i32,
        /// The leader epoch, -1 when it isn't known.
        pub leader_epoch: i32,
    }

    /// A snapshot of the metadata log.
    pub struct SnapshotId {
        /// One past the last offset in it, -1 for none.
        pub end_offset: i64,
        /// The epoch of that offset, -1 for none.
        pub epoch: i32,
    }

    /// A transaction that was aborted.
    pub struct AbortedTransaction {
        /// Whose it was.
        pub producer_id: i64,
        /// Its first offset.
        pub first_offset: i64,
    }

    /// Where a broker is.
    pub struct NodeEndpoint<'a> {
        /// Its id.
        pub node_id: i32,
        /// Its host name.
        pub host: &'a str,
        /// Its port.
        pub port: i32,
        /// Its rack.
        pub rack: Option<&'a str>,
    }
}

impl EpochEndOffset {
    /// The logs don't part.
    pub const NONE: Self = Self {
        epoch: -1,
        end_offset: -1,
    };
}

impl LeaderIdAndEpoch {
    /// The broker doesn't say.
    pub const UNKNOWN: Self = Self {
        leader_id: -1,
        leader_epoch: -1,
    };
}

impl SnapshotId {
    /// No snapshot is needed.
    pub const NONE: Self = Self {
        end_offset: -1,
        epoch: -1,
    };
}
