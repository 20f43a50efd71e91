//! The one error of reading metadata records.

/// Why bytes are not a metadata record this version knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// The frame around the record is of another version than 1, or not there.
    #[error("metadata record has frame version {0:?}; only 1 is known")]
    Frame(Option<u32>),
    /// A type of record this broker doesn't know: written by a newer one, or damaged.
    #[error("metadata record type {0} is not known; a newer version may have written it")]
    UnknownType(u32),
    /// A version of a known record this broker doesn't know.
    #[error(
        "{record} version {version} is not known, only up to {known}; a newer version may have written it"
    )]
    UnknownVersion {
        /// The record.
        record: &'static str,
        /// Its version in the bytes.
        version: u32,
        /// The newest version known.
        known: u32,
    },
    /// The bytes break the record's layout.
    #[error("{record} is malformed: {what}")]
    Malformed {
        /// The record.
        record: &'static str,
        /// Which rule is broken.
        what: &'static str,
    },
    /// The record says something this broker can't act on and mustn't lose.
    #[error("{record} has {what}, which this version does not support")]
    Unsupported {
        /// The record.
        record: &'static str,
        /// The field.
        what: &'static str,
    },
}
