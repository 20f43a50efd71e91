//! Whole batches in a run of bytes: cutting them apart without copying, their checksum, and the
//! one change a broker makes inside the checksummed part (timestamp type and max timestamp).

use bytes::{Bytes, BytesMut};

use super::error::RecordError;
use super::header::{BatchHeader, CHECKED_FROM, CRC_AT, HEADER_LEN, TimestampType};

/// One whole batch: its parsed header and all its bytes, header included.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The parsed header.
    pub header: BatchHeader,
    /// The whole batch, `header.size()` bytes.
    pub bytes: Bytes,
}

impl Batch {
    /// Takes `bytes` as exactly one batch; fewer bytes are `Truncated`, more `TrailingBytes`.
    pub fn parse(bytes: Bytes) -> Result<Self, RecordError> {
        let header = BatchHeader::parse(&bytes)?;
        let size = header.size();
        if bytes.len() < size {
            return Err(RecordError::Truncated {
                needed: size,
                available: bytes.len(),
            });
        }
        if bytes.len() > size {
            return Err(RecordError::TrailingBytes(bytes.len() - size));
        }
        Ok(Self { header, bytes })
    }

    /// The records as they lie in the batch: compressed as one block unless the codec is none.
    pub fn records(&self) -> &[u8] {
        self.bytes.get(HEADER_LEN..).unwrap_or_default()
    }

    /// A copy of the batch that says somebody else sends it, or the same under another number: producer
    /// id, epoch, and the first record's sequence number. The records stay as they are.
    #[must_use]
    pub fn sent_by(&self, (producer_id, producer_epoch, base_sequence): (i64, i16, i32)) -> Bytes {
        let mut bytes = self.bytes.to_vec();
        let mut header = BatchHeader {
            producer_id,
            producer_epoch,
            base_sequence,
            ..self.header
        };
        if let Some(head) = bytes.first_chunk_mut::<HEADER_LEN>() {
            header.write(head);
        }
        header.crc = checksum(&bytes);
        if let Some(head) = bytes.first_chunk_mut::<HEADER_LEN>() {
            header.write(head);
        }
        Bytes::from(bytes)
    }

    /// Compares the checksum in the header with that of the bytes.
    pub fn verify_crc(&self) -> Result<(), RecordError> {
        let computed = checksum(&self.bytes);
        if computed == self.header.crc {
            Ok(())
        } else {
            Err(RecordError::Crc {
                stored: self.header.crc,
                computed,
            })
        }
    }
}

/// Whether `batch` (one whole batch) carries its right checksum; false when it is too short.
pub fn verify_crc(batch: &[u8]) -> bool {
    batch
        .get(CRC_AT..CHECKED_FROM)
        .is_some_and(|stored| stored == checksum(batch).to_be_bytes())
}

/// CRC-32C of the checksummed part of one whole batch (byte 21 to the end).
pub fn checksum(batch: &[u8]) -> u32 {
    crc32c::crc32c(batch.get(CHECKED_FROM..).unwrap_or_default())
}

/// Cuts `bytes` into batches without copying.
///
/// After an error (a batch that is broken or not wholly there) the iterator ends, since nothing tells
/// where the next batch begins. Checksums are not verified here.
pub fn batches(bytes: Bytes) -> Batches {
    Batches { rest: bytes }
}

/// The iterator of [`batches`].
#[derive(Debug, Clone)]
pub struct Batches {
    rest: Bytes,
}

impl Batches {
    /// The bytes not yet cut; after an error empty.
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }

    fn cut(&mut self) -> Result<Batch, RecordError> {
        let header = BatchHeader::parse(&self.rest)?;
        let size = header.size();
        if size > self.rest.len() {
            return Err(RecordError::Truncated {
                needed: size,
                available: self.rest.len(),
            });
        }
        Ok(Batch {
            header,
            bytes: self.rest.split_to(size),
        })
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let batch = self.cut();
        if batch.is_err() {
            self.rest = Bytes::new();
        }
        Some(batch)
    }
}

impl std::iter::FusedIterator for Batches {}

/// The timestamp fields a broker sets in a produced batch before it is appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The topic's timestamp type, to stand in the attributes.
    pub timestamp_type: TimestampType,
    /// The max timestamp (ms): the time of append, or the records' true maximum.
    pub max_timestamp: i64,
}

impl Stamp {
    /// Sets the fields in one whole batch in place and gives it its new checksum.
    ///
    /// Returns `Truncated` when `batch` is shorter than a header; the header is otherwise not judged.
    pub fn apply(self, batch: &mut [u8]) -> Result<(), RecordError> {
        let available = batch.len();
        let Some(head) = batch.first_chunk_mut::<HEADER_LEN>() else {
            return Err(RecordError::Truncated {
                needed: HEADER_LEN,
                available,
            });
        };
        let mut header = BatchHeader::read(head);
        header.attributes = header.attributes.with_timestamp_type(self.timestamp_type);
        header.max_timestamp = self.max_timestamp;
        header.write(head);
        let crc = checksum(batch);
        batch[CRC_AT..CHECKED_FROM].copy_from_slice(&crc.to_be_bytes());
        Ok(())
    }

    /// A stamped copy of one whole batch; in place, without a copy, when nobody else holds `batch`.
    pub fn stamped(self, batch: Bytes) -> Result<Bytes, RecordError> {
        let mut own = batch
            .try_into_mut()
            .unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        self.apply(&mut own)?;
        Ok(own.freeze())
    }
}
