//! Which topic names are legal (Kafka's `Topic.validate`). A name becomes a directory's name, so
//! this is also what keeps paths where they belong.

/// Longest name, in bytes: with a partition number and a suffix it is still a file name.
pub(super) const TOPIC_NAME_BYTES_MAX: usize = 249;

/// The metadata log has this name: no topic may, though it is legal.
pub(super) const METADATA_TOPIC: &str = "__cluster_metadata";

/// Why a name is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The empty name.
    #[error("a topic name can't be empty")]
    Empty,
    /// `.` and `..` are directories.
    #[error("a topic can't be called '.' or '..'")]
    Dots,
    /// Longer than 249 bytes.
    #[error("a topic name has at most 249 characters, this one has {0}")]
    Long(usize),
    /// Something else than letters, digits, dot, underscore and hyphen.
    #[error("a topic name has only the letters a-z and A-Z, digits, '.', '_' and '-'")]
    Character,
}

/// Whether `name` may name a topic.
pub fn check_topic_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name == "." || name == ".." {
        return Err(NameError::Dots);
    }
    if name.len() > TOPIC_NAME_BYTES_MAX {
        return Err(NameError::Long(name.len()));
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.bytes().all(legal) {
        Ok(())
    } else {
        Err(NameError::Character)
    }
}

/// What two names must not have in common: Kafka's metrics can't tell `.` from `_`.
pub(super) fn collision_key(name: &str) -> String {
    name.replace('.', "_")
}
