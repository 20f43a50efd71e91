//! The one error of reading and building record batches.
//!
//! Every variant says which batch rule was broken; none of them carries bytes of the record, so that
//! nothing a client wrote reaches a log file.

use super::compression::CompressionError;

/// Why bytes are not a record batch (format version 2), or a batch can't be opened or built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end before the batch does.
    #[error("record batch is cut short: {needed} bytes needed, {available} there")]
    Truncated {
        /// Bytes the batch (or its header) needs.
        needed: usize,
        /// Bytes there are.
        available: usize,
    },
    /// More bytes follow where exactly one batch was expected.
    #[error("{0} bytes follow the record batch")]
    TrailingBytes(usize),
    /// A message format other than 2. Formats 0 and 1 ended with Kafka 4.0.
    #[error("message format {0} is not supported; only format 2 is")]
    Magic(i8),
    /// The length field can't be that of a batch (shorter than a header).
    #[error("record batch length {0} is impossible")]
    Length(i32),
    /// A header field has a value no batch may have.
    #[error("record batch header is wrong: {0}")]
    Header(&'static str),
    /// The stored checksum isn't that of the bytes.
    #[error("record batch checksum is {computed:#010x}, its header says {stored:#010x}")]
    Crc {
        /// CRC-32C in the header.
        stored: u32,
        /// CRC-32C of the bytes.
        computed: u32,
    },
    /// Compression codec bits that Kafka doesn't define (5 to 7).
    #[error("compression codec {0} is not known")]
    Codec(u8),
    /// The compressed records can't be opened.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// A record inside the batch is malformed.
    #[error("record {index} is malformed: {what}")]
    Record {
        /// Position of the record in its batch, from 0.
        index: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A control record's key or value is malformed.
    #[error("control record is malformed: {0}")]
    Control(&'static str),
    /// The batch under construction would exceed what its length fields can say.
    #[error("record batch would hold more than {limit} bytes or records")]
    Full {
        /// The limit that would be passed.
        limit: usize,
    },
}
