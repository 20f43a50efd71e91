//! Which of Kafka's codes an error of another room becomes. The only place that decides it.

use millrace_log::partition::AppendError;
use millrace_protocol::error_code::ErrorCode;

use crate::cluster::MetadataError;
use crate::runtime::partition::{NotDeleted, Refused};
use crate::runtime::registry::NotServed;

/// The code and the words for a proposal that failed.
pub(crate) fn metadata_error(error: &MetadataError) -> (ErrorCode, String) {
    let code = match error {
        // Nothing happened, and the same request may succeed once there is room; or nobody knows
        // what a restart will find, as after Kafka's controller was too slow to say.
        MetadataError::Refused(_) | MetadataError::Unknown(_) => ErrorCode::RequestTimedOut,
        MetadataError::Log(_)
        | MetadataError::Damaged(_)
        | MetadataError::Replay(_)
        | MetadataError::Record(_) => ErrorCode::UnknownServerError,
    };
    (code, error.to_string())
}

/// The code and the words for a partition that isn't served.
pub(crate) fn not_served(error: &NotServed) -> (ErrorCode, &str) {
    (error.code, &error.message)
}

/// The code for records that were not deleted.
pub(crate) fn not_deleted(error: &NotDeleted) -> ErrorCode {
    match error {
        NotDeleted::Reject(reject) => reject.code(),
        NotDeleted::Log(_) | NotDeleted::ProducersNotKept => ErrorCode::KafkaStorageError,
    }
}

/// The code and the words for a batch that was not appended. A full disk is a storage error:
/// producers try again until there is room.
pub(crate) fn append_error(error: &Refused) -> (ErrorCode, String) {
    let code = match error {
        Refused::Reject(reject) => reject.code(),
        Refused::Log(
            AppendError::DiskFull
            | AppendError::NameInUse
            | AppendError::TooManyOpenFiles
            | AppendError::Failed(_),
        ) => ErrorCode::KafkaStorageError,
        // Retried by every client.
        Refused::Held => ErrorCode::NotLeaderOrFollower,
    };
    (code, error.to_string())
}
