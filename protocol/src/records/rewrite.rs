//! Rewriting a stored batch with some of its records: what compaction leaves of it, byte for byte as
//! Kafka's `MemoryRecords.filterTo` (KIP-58, KIP-98, KIP-534).
//!
//! What holds: no record's offset changes; base offset, last offset delta, leader epoch, producer id,
//! its epoch and base sequence stand as they did, so that a rewritten batch takes the offsets and the
//! sequence numbers of the original; codec and timestamp type are kept; the max timestamp is that of
//! the records that are left, and the checksum is new. Content is opened within the scratch's cap, so
//! a rewrite holds at most two such contents and the batch that comes out.

use super::batch::{Batch, checksum};
use super::build::{Content, emptied};
use super::compression::{Codec, compress};
use super::error::RecordError;
use super::header::{
    BatchHeader, CHECKED_FROM, CRC_AT, HEADER_LEN, LOG_OVERHEAD, NONE, TimestampType,
};
use super::read::{Record, Records, Scratch, record_iter};

/// A buffer larger than this is given back before the next batch.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// What is to become of a batch besides the records it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rewrite {
    /// The batch stays, as a header alone, when none of its records does.
    pub keep_empty: bool,
    /// It is a transaction's marker, and no data of that transaction are left.
    pub marker_of_nothing: bool,
    /// The time (ms since 1970) from which what it deletes may go: set in a batch that keeps a tombstone, or
    /// is such a marker, unless it has one. `None` sets none.
    pub delete_horizon_ms: Option<i64>,
}

/// What a rewrite left of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// All of it: the bytes stand as they are, and nothing was written.
    Whole,
    /// Part of it, or all with a delete horizon: one batch was written.
    Rewritten,
    /// Nothing.
    Dropped,
}

/// Memory for rewriting batches, one after the other.
#[derive(Debug, Default)]
pub struct RewriteBuffer {
    /// Which records stay, by their order.
    stays: Vec<bool>,
    /// The records that stay, before compression.
    plain: Vec<u8>,
}

impl RewriteBuffer {
    /// An empty buffer; it grows with what it is used for, and is trimmed between batches.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes held for the next batch.
    pub fn kept_bytes(&self) -> usize {
        self.stays.capacity() + self.plain.capacity()
    }

    fn clear(&mut self) {
        self.stays.clear();
        self.plain.clear();
        if self.kept_bytes() > KEPT_BYTES_MAX {
            *self = Self::default();
        }
    }
}

/// Asks `keep` of each record of `batch`, whose checksum is taken as verified, and appends to `out` what is
/// left of it, unless that is the whole batch or nothing.
///
/// An error (a record that can't be read, content beyond the scratch's cap) leaves `out` as it was.
pub fn rewrite(
    batch: &Batch,
    wish: Rewrite,
    keep: impl FnMut(&Record<'_>) -> bool,
    (scratch, buffer): (&mut Scratch, &mut RewriteBuffer),
    out: &mut Vec<u8>,
) -> Result<Kept, RecordError> {
    buffer.clear();
    let records = record_iter(batch, scratch)?;
    let left = Left::of(records.clone(), keep, &mut buffer.stays)?;
    if left.count == 0 {
        return Ok(keep_header(batch, wish.keep_empty, out));
    }
    let wants_horizon =
        (left.has_tombstone || wish.marker_of_nothing) && !batch.header.has_delete_horizon();
    let horizon = wish
        .delete_horizon_ms
        .filter(|horizon| wants_horizon && left.fits(*horizon));
    if left.count == buffer.stays.len() && horizon.is_none() {
        return Ok(Kept::Whole);
    }
    let header = BatchHeader {
        base_timestamp: horizon.unwrap_or_else(|| left.base_timestamp(&batch.header)),
        max_timestamp: match batch.header.timestamp_type() {
            TimestampType::CreateTime => left.latest.max(NONE.into()),
            TimestampType::LogAppendTime => batch.header.max_timestamp,
        },
        attributes: batch
            .header
            .attributes
            .with_delete_horizon(horizon.is_some() || batch.header.has_delete_horizon()),
        record_count: left.count as i32,
        ..batch.header
    };
    let start = out.len();
    let written = write(&header, records, buffer, out);
    if written.is_err() {
        out.truncate(start);
    }
    written.map(|()| Kept::Rewritten)
}

/// Appends the header of `batch` alone if `keep_empty`, and says what that is of the batch.
pub fn keep_header(batch: &Batch, keep_empty: bool, out: &mut Vec<u8>) -> Kept {
    if !keep_empty {
        return Kept::Dropped;
    }
    let header = emptied(&batch.header);
    if header == batch.bytes {
        return Kept::Whole;
    }
    out.extend_from_slice(&header);
    Kept::Rewritten
}

/// What is known of the records that stay.
struct Left {
    count: usize,
    has_tombstone: bool,
    /// Time of the first.
    first: i64,
    earliest: i64,
    latest: i64,
}

impl Left {
    fn of(
        records: Records<'_>,
        mut keep: impl FnMut(&Record<'_>) -> bool,
        stays: &mut Vec<bool>,
    ) -> Result<Self, RecordError> {
        let mut left = Self {
            count: 0,
            has_tombstone: false,
            first: 0,
            earliest: i64::MAX,
            latest: i64::MIN,
        };
        for record in records {
            let record = record?;
            let stay = keep(&record);
            stays.push(stay);
            if stay {
                if left.count == 0 {
                    left.first = record.timestamp;
                }
                left.count += 1;
                left.has_tombstone |= record.value.is_none();
                left.earliest = left.earliest.min(record.timestamp);
                left.latest = left.latest.max(record.timestamp);
            }
        }
        Ok(left)
    }

    /// Whether every time can be told by its distance from `base`.
    fn fits(&self, base: i64) -> bool {
        self.earliest.checked_sub(base).is_some() && self.latest.checked_sub(base).is_some()
    }

    /// What the deltas count from: a horizon stays one; else the first record's time, as Kafka has it.
    /// Times too far apart for that are told as they were.
    fn base_timestamp(&self, header: &BatchHeader) -> i64 {
        if header.has_delete_horizon() || !self.fits(self.first) {
            header.base_timestamp
        } else {
            self.first
        }
    }
}

/// Appends the batch of the records that stay.
fn write(
    header: &BatchHeader,
    records: Records<'_>,
    buffer: &mut RewriteBuffer,
    out: &mut Vec<u8>,
) -> Result<(), RecordError> {
    let codec = header.codec()?;
    let start = out.len();
    out.resize(start + HEADER_LEN, 0);
    let plain = match codec {
        Codec::None => &mut *out,
        Codec::Gzip | Codec::Snappy | Codec::Lz4 | Codec::Zstd => &mut buffer.plain,
    };
    for (record, stays) in records.zip(&buffer.stays) {
        if *stays {
            write_record(header, &record?, plain);
        }
    }
    if codec != Codec::None {
        compress(codec, None, &buffer.plain, out);
    }
    let size = out.len() - start;
    let batch_length = i32::try_from(size - LOG_OVERHEAD).map_err(|_| RecordError::Full {
        limit: i32::MAX as usize,
    })?;
    let batch = &mut out[start..];
    if let Some(head) = batch.first_chunk_mut::<HEADER_LEN>() {
        BatchHeader {
            batch_length,
            ..*header
        }
        .write(head);
    }
    let crc = checksum(batch);
    batch[CRC_AT..CHECKED_FROM].copy_from_slice(&crc.to_be_bytes());
    Ok(())
}

fn write_record(header: &BatchHeader, record: &Record<'_>, out: &mut Vec<u8>) {
    let timestamp_delta = record.timestamp.wrapping_sub(header.base_timestamp);
    let offset_delta = record.offset.wrapping_sub(header.base_offset) as i32;
    Content::of(record).write_framed(timestamp_delta, offset_delta, out);
}
