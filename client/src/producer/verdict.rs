//! What a broker's error code says about a batch.
//!
//! What always holds: [`Verdict::Refused`] only for codes that a broker gives before it stores
//! anything; a code that it may give after it stored, or that we don't know, leaves the batch's fate
//! open. The table is Kafka's (`Sender.canRetry`, KIP-360), told apart more finely.

use millrace_protocol::error_code::ErrorCode;

use super::lane::Verdict;
use crate::Error;

/// The broker has newer or nothing of the producer's identity.
const FENCED: [ErrorCode; 4] = [
    ErrorCode::UnknownProducerId,
    ErrorCode::InvalidProducerEpoch,
    ErrorCode::ProducerFenced,
    ErrorCode::InvalidProducerIdMapping,
];

/// The batch, or whoever sends it, is not accepted, now or later.
const REFUSED: [ErrorCode; 11] = [
    ErrorCode::InvalidRecord,
    ErrorCode::InvalidTimestamp,
    ErrorCode::InvalidRequiredAcks,
    ErrorCode::InvalidTopicException,
    ErrorCode::InvalidRequest,
    ErrorCode::PolicyViolation,
    ErrorCode::TopicAuthorizationFailed,
    ErrorCode::ClusterAuthorizationFailed,
    ErrorCode::UnsupportedCompressionType,
    ErrorCode::UnsupportedForMessageFormat,
    ErrorCode::UnsupportedVersion,
];

/// Not accepted in one piece.
const TOO_LARGE: [ErrorCode; 2] = [ErrorCode::MessageTooLarge, ErrorCode::RecordListTooLarge];

/// Not accepted now: nothing was stored.
const NOT_YET: [ErrorCode; 5] = [
    ErrorCode::NotEnoughReplicas,
    ErrorCode::UnknownTopicOrPartition,
    ErrorCode::UnknownTopicId,
    ErrorCode::CorruptMessage,
    ErrorCode::ThrottlingQuotaExceeded,
];

/// The verdict of a code other than `None`.
pub(super) fn of_code(code: ErrorCode, error: Error) -> Verdict {
    if code == ErrorCode::DuplicateSequenceNumber {
        Verdict::Stored { base_offset: None }
    } else if code == ErrorCode::OutOfOrderSequenceNumber {
        Verdict::OutOfOrder(error)
    } else if FENCED.contains(&code) {
        Verdict::Fenced(error)
    } else if TOO_LARGE.contains(&code) {
        Verdict::TooLarge(code)
    } else if REFUSED.contains(&code) {
        Verdict::Refused(error)
    } else if NOT_YET.contains(&code) {
        Verdict::NotStored(error)
    } else {
        Verdict::Unknown(error)
    }
}
