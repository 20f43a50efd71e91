//! Reading the records of a batch: iterating over keys and values, and finding records by time.
//!
//! An uncompressed batch is read where it lies; a compressed one is decompressed into the [`Scratch`],
//! capped. Reading tolerates what compaction leaves (offset gaps, fewer records than offsets, none).

use super::batch::Batch;
use super::compression::{Codec, Decompressor};
use super::error::RecordError;
use super::header::{BatchHeader, TimestampType};
use super::scan::{Inflating, Plain, Source, Walk};
use super::varint::{read_varint, read_varlong};

/// A content buffer larger than this is given back before the next batch.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// Reusable memory for opening batches, and the cap on what one batch may decompress to.
#[derive(Debug)]
pub struct Scratch {
    pub(super) decompressor: Decompressor,
    content: Vec<u8>,
    inflated_bytes_max: usize,
}

impl Scratch {
    /// Opens a compressed batch in memory of its own.
    pub(super) fn inflated(&mut self, codec: Codec, bytes: &[u8]) -> Result<Vec<u8>, RecordError> {
        let mut content = Vec::new();
        let cap = self.inflated_bytes_max;
        self.decompressor
            .decompress(codec, bytes, cap, &mut content)?;
        Ok(content)
    }

    /// Memory for reading batches of at most `inflated_bytes_max` bytes of decompressed records. Nothing is
    /// allocated before a compressed batch needs it.
    pub fn new(inflated_bytes_max: usize) -> Self {
        Self {
            decompressor: Decompressor::new(),
            content: Vec::new(),
            inflated_bytes_max,
        }
    }

    /// The cap on decompressed content, in bytes.
    pub fn inflated_bytes_max(&self) -> usize {
        self.inflated_bytes_max
    }

    /// Bytes held for the next batch.
    pub fn kept_bytes(&self) -> usize {
        self.content.capacity() + self.decompressor.kept_bytes()
    }
}

/// One record, borrowed from its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its offset in the partition.
    pub offset: i64,
    /// Its time (ms), or the batch's under `LogAppendTime`.
    pub timestamp: i64,
    /// The key, if any.
    pub key: Option<&'a [u8]>,
    /// The value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers, in their order.
    pub headers: Headers<'a>,
}

/// One header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// The name, by convention UTF-8; not checked.
    pub key: &'a [u8],
    /// The value, if any.
    pub value: Option<&'a [u8]>,
}

/// The headers of one record: an iterator over bytes that were checked when the record was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headers<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    /// Their encoding, without the count.
    pub(super) fn raw(&self) -> &'a [u8] {
        self.bytes
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        let mut cursor = Cursor { bytes: self.bytes };
        let key = cursor.nullable()??;
        let value = cursor.nullable()?;
        self.bytes = cursor.bytes;
        Some(Header { key, value })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for Headers<'_> {}

/// Iterates over the records of `batch`; the batch's checksum is taken as verified.
///
/// Fails at once when a compressed batch can't be opened within the scratch's cap. After a malformed
/// record the iterator ends; bytes left after the last record are an error too.
pub fn record_iter<'a>(
    batch: &'a Batch,
    scratch: &'a mut Scratch,
) -> Result<Records<'a>, RecordError> {
    let codec = batch.header.codec()?;
    // What compaction leaves of an emptied batch is a header alone, without a compressed stream.
    let bytes = match codec {
        _ if batch.header.record_count == 0 => batch.records(),
        Codec::None => batch.records(),
        Codec::Gzip | Codec::Snappy | Codec::Lz4 | Codec::Zstd => {
            scratch.content.clear();
            if scratch.content.capacity() > KEPT_BYTES_MAX {
                scratch.content = Vec::new();
            }
            scratch.decompressor.decompress(
                codec,
                batch.records(),
                scratch.inflated_bytes_max,
                &mut scratch.content,
            )?;
            &scratch.content
        }
    };
    Ok(Records {
        header: batch.header,
        rest: Cursor { bytes },
        index: 0,
        failed: false,
    })
}

/// The iterator of [`record_iter`].
#[derive(Debug, Clone)]
pub struct Records<'a> {
    header: BatchHeader,
    rest: Cursor<'a>,
    index: usize,
    failed: bool,
}

impl<'a> Records<'a> {
    /// Goes on behind the first `index` records of a batch, in bytes that aren't compressed.
    pub(super) fn behind(header: BatchHeader, index: usize, bytes: &'a [u8]) -> Self {
        Self {
            header,
            rest: Cursor { bytes },
            index,
            failed: false,
        }
    }

    /// The bytes that are left.
    pub(super) fn left(&self) -> usize {
        self.rest.bytes.len()
    }

    fn record(&mut self) -> Result<Record<'a>, RecordError> {
        let broken = |what| RecordError::Record {
            index: self.index,
            what,
        };
        let len = self.rest.int().ok_or(broken("length"))?;
        let body = usize::try_from(len)
            .ok()
            .and_then(|len| self.rest.take(len));
        let mut body = Cursor {
            bytes: body.ok_or(broken("length runs past the batch"))?,
        };
        body.take(1).ok_or(broken("no attributes"))?;
        let timestamp_delta = body.long().ok_or(broken("timestamp delta"))?;
        let offset_delta = body.int().ok_or(broken("offset delta"))?;
        if offset_delta < 0 || offset_delta > self.header.last_offset_delta {
            return Err(broken("offset delta outside the batch"));
        }
        let key = body.nullable().ok_or(broken("key runs past the record"))?;
        let value = body
            .nullable()
            .ok_or(broken("value runs past the record"))?;
        let headers = body.headers().ok_or(broken("broken headers"))?;
        let timestamp = record_time(&self.header, timestamp_delta)
            .ok_or(broken("timestamp outside 64 bits"))?;
        let offset = self
            .header
            .base_offset
            .saturating_add(i64::from(offset_delta));
        self.index += 1;
        Ok(Record {
            offset,
            timestamp,
            key,
            value,
            headers,
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let left = usize::try_from(self.header.record_count).unwrap_or(0) - self.index;
        if left == 0 && self.rest.bytes.is_empty() {
            return None;
        }
        let record = if left == 0 {
            Err(RecordError::TrailingBytes(self.rest.bytes.len()))
        } else {
            self.record()
        };
        self.failed = record.is_err();
        Some(record)
    }
}

impl std::iter::FusedIterator for Records<'_> {}

/// The time of a record; `None` when it doesn't fit 64 bits.
pub(super) fn record_time(header: &BatchHeader, delta: i64) -> Option<i64> {
    match header.timestamp_type() {
        TimestampType::CreateTime => header.base_timestamp.checked_add(delta),
        TimestampType::LogAppendTime => Some(header.max_timestamp),
    }
}

/// A record's place and time, as `ListOffsets` answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedOffset {
    /// Offset of the record.
    pub offset: i64,
    /// Its time (ms).
    pub timestamp: i64,
}

/// The first record of `batch` at or after `from_offset` whose time is at least `timestamp`.
pub fn first_at_or_after(
    batch: &Batch,
    timestamp: i64,
    from_offset: i64,
    scratch: &mut Scratch,
) -> Result<Option<TimedOffset>, RecordError> {
    let mut found = None;
    visit(batch, scratch, |at| {
        if at.timestamp >= timestamp && at.offset >= from_offset {
            found = Some(at);
        }
        found.is_none()
    })?;
    Ok(found)
}

/// The first record of `batch` with the greatest time; `None` in a batch without records.
pub fn greatest_timestamp(
    batch: &Batch,
    scratch: &mut Scratch,
) -> Result<Option<TimedOffset>, RecordError> {
    greatest_timestamp_from(batch, i64::MIN, scratch)
}

/// The same of the records at offsets from `from` on.
pub fn greatest_timestamp_from(
    batch: &Batch,
    from: i64,
    scratch: &mut Scratch,
) -> Result<Option<TimedOffset>, RecordError> {
    let mut found: Option<TimedOffset> = None;
    visit(batch, scratch, |at| {
        if at.offset >= from && found.is_none_or(|best| at.timestamp > best.timestamp) {
            found = Some(at);
        }
        true
    })?;
    Ok(found)
}

/// Walks the records without keeping them, until `seen` says false.
fn visit(
    batch: &Batch,
    scratch: &mut Scratch,
    seen: impl FnMut(TimedOffset) -> bool,
) -> Result<(), RecordError> {
    match batch.header.codec()? {
        Codec::None => visit_source(&batch.header, Plain::new(batch.records()), seen),
        codec @ (Codec::Gzip | Codec::Snappy | Codec::Lz4 | Codec::Zstd) => {
            let cap = scratch.inflated_bytes_max;
            let stream = scratch.decompressor.stream(codec, batch.records(), cap)?;
            visit_source(&batch.header, Inflating::new(stream), seen)
        }
    }
}

fn visit_source(
    header: &BatchHeader,
    source: impl Source,
    mut seen: impl FnMut(TimedOffset) -> bool,
) -> Result<(), RecordError> {
    let mut walk = Walk::new(source);
    for index in 0..usize::try_from(header.record_count).unwrap_or(0) {
        let outline = walk.record()?;
        let timestamp =
            record_time(header, outline.timestamp_delta).ok_or(RecordError::Record {
                index,
                what: "timestamp outside 64 bits",
            })?;
        let offset = header
            .base_offset
            .saturating_add(i64::from(outline.offset_delta));
        if !seen(TimedOffset { offset, timestamp }) {
            break;
        }
    }
    Ok(())
}

/// The unread part of some bytes.
#[derive(Debug, Clone, Copy)]
struct Cursor<'a> {
    bytes: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.bytes.split_at_checked(len)?;
        self.bytes = rest;
        Some(head)
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    fn int(&mut self) -> Option<i32> {
        read_varint(|| self.byte())
    }

    fn long(&mut self) -> Option<i64> {
        read_varlong(|| self.byte())
    }

    /// A length and that many bytes, or null (-1); `None` when malformed.
    #[expect(clippy::option_option, reason = "outer: readable, inner: Kafka's null")]
    fn nullable(&mut self) -> Option<Option<&'a [u8]>> {
        let len = self.int()?;
        if len == -1 {
            return Some(None);
        }
        self.take(usize::try_from(len).ok()?).map(Some)
    }

    /// The header count and as many headers, which must be all that is left.
    fn headers(&mut self) -> Option<Headers<'a>> {
        let count = usize::try_from(self.int()?).ok()?;
        let bytes = self.bytes;
        if count > bytes.len() / 2 {
            return None;
        }
        for _ in 0..count {
            self.nullable()??;
            self.nullable()?;
        }
        self.bytes.is_empty().then_some(Headers { count, bytes })
    }
}
