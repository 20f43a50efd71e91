//! Record batches, format version 2 (KIP-98): what producers send, what the log stores and what
//! consumers get, byte for byte the same.
//!
//! Batches come from clients and from disks, so everything here treats them as hostile: nothing
//! panics, nothing is allocated beyond a small multiple of the bytes at hand except decompressed
//! content, which a named cap bounds.

mod batch;
mod build;
pub mod compression;
mod control;
mod error;
mod header;
mod owned;
mod read;
mod refusal;
mod rewrite;
mod scan;
pub mod validate;
mod varint;

pub use batch::{Batch, Batches, Stamp, batches, checksum, verify_crc};
pub use build::{BatchBuilder, Options, emptied};
pub use compression::{Codec, CompressionError, Decompressor};
pub use control::{ControlType, Marker, TransactionEnd, control_batch};
pub use error::RecordError;
pub use header::{
    Attributes, BatchHeader, CHECKED_FROM, CRC_AT, HEADER_LEN, LOG_OVERHEAD, MAGIC, TimestampType,
    prefix, sequence_after,
};
pub use owned::{SharedHeader, SharedRecord, SharedRecords};
pub use read::{
    Header, Headers, Record, Records, Scratch, TimedOffset, first_at_or_after, greatest_timestamp,
    greatest_timestamp_from, record_iter,
};
pub use refusal::{RECORD_FAULTS_MAX, RecordFault, Refusal};
pub use rewrite::{Kept, Rewrite, RewriteBuffer, keep_header, rewrite};
pub use validate::{Depth, ProduceRules, Produced, check_produced};
