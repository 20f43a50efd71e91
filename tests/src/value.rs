//! What a record says of itself, so that it convicts itself wherever it should not be.

use std::fmt;

/// Least bytes of a record's value.
pub const VALUE_BYTES_MIN: usize = 32;

/// What one record says of itself; 28 bytes and a checksum over them. No two are the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value {
    /// Which producer made it: one number for each identity, so that order is owed within it.
    pub producer: u32,
    /// For which incarnation of the topic: how often it had been made before.
    pub incarnation: u32,
    /// For which partition.
    pub partition: i32,
    /// The how-manieth value of this producer for this partition, from 0.
    pub sequence: u64,
    /// The timestamp of its record, in milliseconds since the Unix epoch.
    pub made_ms: i64,
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            producer,
            incarnation,
            partition,
            sequence,
            ..
        } = self;
        write!(
            f,
            "value {sequence} of producer {producer} for {incarnation}/{partition}"
        )
    }
}

impl Value {
    /// The bytes of the record's value, padded to `len` (at least [`VALUE_BYTES_MIN`]).
    pub fn encode(self, len: usize) -> Vec<u8> {
        let len = len.max(VALUE_BYTES_MIN);
        let mut bytes = Vec::with_capacity(len);
        bytes.extend_from_slice(&self.producer.to_be_bytes());
        bytes.extend_from_slice(&self.incarnation.to_be_bytes());
        bytes.extend_from_slice(&self.partition.to_be_bytes());
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.made_ms.to_be_bytes());
        let fill = (self.sequence as u8) ^ (self.producer as u8);
        bytes.resize(len - 4, fill);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Reads a value back; `None` when its bytes are not what was made.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, crc) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(content) != u32::from_be_bytes(*crc) {
            return None;
        }
        let (producer, rest) = content.split_first_chunk::<4>()?;
        let (incarnation, rest) = rest.split_first_chunk::<4>()?;
        let (partition, rest) = rest.split_first_chunk::<4>()?;
        let (sequence, rest) = rest.split_first_chunk::<8>()?;
        let (made_ms, _) = rest.split_first_chunk::<8>()?;
        Some(Self {
            producer: u32::from_be_bytes(*producer),
            incarnation: u32::from_be_bytes(*incarnation),
            partition: i32::from_be_bytes(*partition),
            sequence: u64::from_be_bytes(*sequence),
            made_ms: i64::from_be_bytes(*made_ms),
        })
    }
}
