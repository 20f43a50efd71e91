//! Why a produced batch is refused, in words for people and as the Kafka error code for the client.

use super::compression::CompressionError;
use super::error::RecordError;
use crate::error_code::ErrorCode;

/// At most this many offending records are reported for one batch.
pub const RECORD_FAULTS_MAX: usize = 100;

/// One offending record, as `RecordErrors` in a Produce response (v8+) reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordFault {
    /// Position of the record in its batch, from 0.
    pub index: i32,
    /// What is wrong with it.
    pub message: String,
}

/// Why the `records` of one partition in a Produce request are not appended. The whole batch is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not exactly one batch.
    #[error("expected exactly one record batch per partition, found {0}")]
    BatchCount(&'static str),
    /// The message format isn't 2.
    #[error("message format {0} can't be produced; use format 2 (client 0.11 or newer)")]
    Magic(i8),
    /// Length or checksum of the batch is wrong: damaged on its way. Clients send it again.
    #[error("record batch is corrupt: {0}")]
    Corrupt(RecordError),
    /// The header or the records break a rule for clients' batches.
    #[error("record batch is invalid: {0}")]
    Invalid(&'static str),
    /// A record is malformed, or the compressed records can't be opened.
    #[error("records are invalid: {0}")]
    Unreadable(RecordError),
    /// Records that break the topic's rules.
    #[error("{} record(s) have been rejected: {}", .0.len(), first_message(.0))]
    Records(Vec<RecordFault>),
    /// Records whose time the topic doesn't accept.
    #[error("{} record(s) have been rejected due to invalid timestamp: {}", .0.len(), first_message(.0))]
    Timestamps(Vec<RecordFault>),
    /// The batch itself is larger than the topic allows.
    #[error("record batch of {size} bytes exceeds the limit of {limit} bytes (max.message.bytes)")]
    TooLarge {
        /// Bytes of the batch.
        size: usize,
        /// The topic's limit.
        limit: usize,
    },
    /// The records decompress to more than the broker opens.
    #[error("records decompress to more than {limit} bytes; send smaller batches")]
    InflatesTooMuch {
        /// The limit on content.
        limit: usize,
    },
    /// The codec isn't known, or not allowed in this version of the request.
    #[error("compression codec {0} can't be used here")]
    Codec(u8),
}

impl Refusal {
    /// The error code of the partition in the Produce response.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::Corrupt(_) => ErrorCode::CorruptMessage,
            Self::BatchCount(_)
            | Self::Magic(_)
            | Self::Invalid(_)
            | Self::Unreadable(_)
            | Self::Records(_) => ErrorCode::InvalidRecord,
            Self::Timestamps(_) => ErrorCode::InvalidTimestamp,
            Self::TooLarge { .. } | Self::InflatesTooMuch { .. } => ErrorCode::MessageTooLarge,
            Self::Codec(_) => ErrorCode::UnsupportedCompressionType,
        }
    }

    /// The offending records, for `RecordErrors`; empty when the batch as a whole is at fault.
    pub fn record_faults(&self) -> &[RecordFault] {
        match self {
            Self::Records(faults) | Self::Timestamps(faults) => faults,
            Self::BatchCount(_)
            | Self::Magic(_)
            | Self::Corrupt(_)
            | Self::Invalid(_)
            | Self::Unreadable(_)
            | Self::TooLarge { .. }
            | Self::InflatesTooMuch { .. }
            | Self::Codec(_) => &[],
        }
    }

    /// What an error while walking the records means for the batch whose checksum was right: the
    /// client made it so, sending it again won't help.
    pub(super) fn from_walk(error: RecordError) -> Self {
        match error {
            RecordError::Compression(CompressionError::TooLarge { cap, .. }) => {
                Self::InflatesTooMuch { limit: cap }
            }
            RecordError::Codec(id) => Self::Codec(id),
            other @ (RecordError::Truncated { .. }
            | RecordError::TrailingBytes(_)
            | RecordError::Magic(_)
            | RecordError::Length(_)
            | RecordError::Header(_)
            | RecordError::Crc { .. }
            | RecordError::Compression(_)
            | RecordError::Record { .. }
            | RecordError::Control(_)
            | RecordError::Full { .. }) => Self::Unreadable(other),
        }
    }
}

fn first_message(faults: &[RecordFault]) -> &str {
    faults.first().map_or("", |fault| fault.message.as_str())
}
