//! Record batches, format version 2 (KIP-98): what producers send, what the log stores and what
//! consumers get, byte for byte the same.
//!
//! Batches come from clients and from disks, so everything here treats them as hostile: nothing
//! panics, nothing is allocated beyond a small multiple of the bytes at hand except decompressed
//! content, which a named cap bounds.

mod batch;
pub mod compression;
mod error;
mod header;
mod varint;

pub use batch::{Batch, Batches, Stamp, batches, checksum, verify_crc};
pub use compression::{Codec, CompressionError, Decompressor};
pub use error::RecordError;
pub use header::{
    Attributes, BatchHeader, CHECKED_FROM, CRC_AT, HEADER_LEN, LOG_OVERHEAD, MAGIC, TimestampType,
    prefix, sequence_after,
};
