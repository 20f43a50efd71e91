//! Why a partition refuses, and which of Kafka's error codes says so.
//!
//! Always: one reason has one code, given here and nowhere else.

use millrace_protocol::error_code::ErrorCode;
use thiserror::Error;

/// Why this replica does not serve the request at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unserved {
    /// Another replica leads, or nobody does.
    #[error("this broker does not lead the partition; ask for metadata again")]
    NotLeader,
    /// The sender knows an older leader epoch than this leader's.
    #[error("leader epoch {asked} is over, {current} has begun; ask for metadata again")]
    FencedLeaderEpoch {
        /// The epoch the sender named.
        asked: i32,
        /// The epoch in force here.
        current: i32,
    },
    /// The sender knows a newer leader epoch than this replica.
    #[error("leader epoch {asked} is not known here yet, {current} is; try again")]
    UnknownLeaderEpoch {
        /// The epoch the sender named.
        asked: i32,
        /// The epoch in force here.
        current: i32,
    },
    /// The log directory or the partition has failed; see the broker's log.
    #[error("the partition's log is offline; see the broker's log for the reason")]
    StorageFailed,
    /// The partition is deleted.
    #[error("the partition has been deleted")]
    Deleted,
}

impl Unserved {
    /// Kafka's code: 6, 74, 75, 56 or 3.
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::NotLeader => ErrorCode::NotLeaderOrFollower,
            Self::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
            Self::UnknownLeaderEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
            Self::StorageFailed => ErrorCode::KafkaStorageError,
            Self::Deleted => ErrorCode::UnknownTopicOrPartition,
        }
    }
}

/// Why an append is refused, or why a reply that waited says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Reject {
    /// Not served here.
    #[error(transparent)]
    Unserved(#[from] Unserved),
    /// acks=all with too few in-sync replicas; nothing was appended.
    #[error("{isr} in-sync replicas, {min} are needed for acks=all")]
    NotEnoughReplicas {
        /// Size of the ISR.
        isr: usize,
        /// What it must be: the smaller of `min.insync.replicas` and the replication factor.
        min: usize,
    },
    /// Appended, but the ISR fell below the minimum before the record was committed. It may still
    /// be committed later.
    #[error("appended, but the in-sync replicas are now fewer than the minimum")]
    NotEnoughReplicasAfterAppend,
    /// The batch's first sequence does not follow on the producer's last.
    #[error(
        "producer {producer_id} epoch {producer_epoch}: sequence {sequence} where {expected} was expected"
    )]
    OutOfOrderSequence {
        /// Producer id of the batch.
        producer_id: i64,
        /// Producer epoch of the batch.
        producer_epoch: i16,
        /// First sequence of the batch.
        sequence: i32,
        /// The sequence that would have been taken.
        expected: i32,
    },
    /// A newer epoch of that producer id has appended here.
    #[error("producer {producer_id}: epoch {producer_epoch} was fenced by epoch {current}")]
    InvalidProducerEpoch {
        /// Producer id of the batch.
        producer_id: i64,
        /// Producer epoch of the batch.
        producer_epoch: i16,
        /// The newest epoch seen here.
        current: i16,
    },
    /// Transactional where none is possible, or plain inside an open transaction.
    #[error("producer {producer_id}: the batch does not fit the state of its transaction")]
    InvalidTxnState {
        /// Producer id of the batch.
        producer_id: i64,
    },
    /// A batch no leader may take: control records of a client, negative or inconsistent numbers.
    #[error("{0}")]
    InvalidRecord(&'static str),
    /// The deadline passed, or too many replies wait already. The record is in the log and may be
    /// committed later.
    #[error("appended, but not acknowledged in time")]
    TimedOut,
    /// No producer may be forgotten to make room for another. Answered with the one code that every
    /// producer retries.
    #[error(
        "no room for another producer: the {remembered} that are remembered here appended lately or \
         have an open transaction; raise producer.ids.max or producer.ids.per.partition.max"
    )]
    TooManyProducers {
        /// How many the partition remembers.
        remembered: usize,
    },
}

impl Reject {
    /// Kafka's code.
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Unserved(unserved) => unserved.code(),
            Self::NotEnoughReplicas { .. } | Self::TooManyProducers { .. } => {
                ErrorCode::NotEnoughReplicas
            }
            Self::NotEnoughReplicasAfterAppend => ErrorCode::NotEnoughReplicasAfterAppend,
            Self::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
            Self::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            Self::InvalidTxnState { .. } => ErrorCode::InvalidTxnState,
            Self::InvalidRecord(_) => ErrorCode::InvalidRecord,
            Self::TimedOut => ErrorCode::RequestTimedOut,
        }
    }
}

/// Why a read, or a change of the log start, is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReadReject {
    /// Not served here.
    #[error(transparent)]
    Unserved(#[from] Unserved),
    /// The offset lies outside the log, or its epoch is unknown.
    #[error("offset {offset} is outside {log_start}..={end}")]
    OffsetOutOfRange {
        /// The offset asked for.
        offset: i64,
        /// First offset of the log.
        log_start: i64,
        /// The last offset that would have been allowed.
        end: i64,
    },
    /// This leader has not confirmed its own epoch yet, so its answer could go back in time.
    #[error("the leader's high watermark has not reached its epoch yet; try again")]
    OffsetNotAvailable,
}

impl ReadReject {
    /// Kafka's code.
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Unserved(unserved) => unserved.code(),
            Self::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::OffsetNotAvailable => ErrorCode::OffsetNotAvailable,
        }
    }
}
