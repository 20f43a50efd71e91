//! Building batches, byte for byte as Kafka's `MemoryRecordsBuilder` lays them out.

use bytes::Bytes;

use super::batch::checksum;
use super::compression::{Codec, compress};
use super::error::RecordError;
use super::header::{
    Attributes, BatchHeader, CHECKED_FROM, CRC_AT, HEADER_LEN, LOG_OVERHEAD, MAGIC, NONE,
    TimestampType,
};
use super::read::{Header, Record};
use super::varint::{varlong_len, write_varint, write_varlong};

/// Most bytes of records (before compression) one batch may take, so that every length fits 31 bits.
const BUILT_BYTES_MAX: usize = 1 << 30;

/// What a batch under construction is to be. `Options::default()` is a plain producer's batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The codec.
    pub codec: Codec,
    /// The codec's level; `None` is Kafka's default.
    pub level: Option<i32>,
    /// The timestamp type. Under `LogAppendTime` the greatest pushed timestamp is the batch's.
    pub timestamp_type: TimestampType,
    /// Producer id, its epoch, and the first record's sequence number (-1 in control batches).
    pub producer: Option<(i64, i16, i32)>,
    /// Whether the batch belongs to a transaction.
    pub transactional: bool,
    /// Whether the batch holds a control record.
    pub control: bool,
    /// Offset of the first record; 0 from a producer.
    pub base_offset: i64,
    /// The leader's epoch; -1 from a producer.
    pub leader_epoch: i32,
    /// Last offset delta, if not that of the last record (kept by compaction).
    pub last_offset_delta: Option<i32>,
    /// Delete horizon (ms) to stand in the base timestamp's place (set by compaction).
    pub delete_horizon_ms: Option<i64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            codec: Codec::None,
            level: None,
            timestamp_type: TimestampType::CreateTime,
            producer: None,
            transactional: false,
            control: false,
            base_offset: 0,
            leader_epoch: i32::from(NONE),
            last_offset_delta: None,
            delete_horizon_ms: None,
        }
    }
}

/// Collects records and makes one batch of them.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    options: Options,
    /// Room for the header, then the records, not yet compressed.
    bytes: Vec<u8>,
    base_timestamp: Option<i64>,
    max_timestamp: i64,
    next_offset_delta: i32,
    record_count: i32,
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new(options: Options) -> Self {
        Self::in_buffer(options, Vec::new())
    }

    /// An empty batch whose records are collected in this buffer; what is in it goes.
    pub fn in_buffer(options: Options, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.resize(HEADER_LEN, 0);
        Self {
            options,
            bytes: buffer,
            base_timestamp: options.delete_horizon_ms,
            max_timestamp: i64::from(NONE),
            next_offset_delta: 0,
            record_count: 0,
        }
    }

    /// Adds a record with the next offset. `Full` when the batch would pass its limits; it then is
    /// as before.
    pub fn push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<(), RecordError> {
        let mut raw = Vec::new();
        for header in headers {
            write_bytes(&mut raw, Some(header.key));
            write_bytes(&mut raw, header.value);
        }
        let content = Content {
            key,
            value,
            header_count: headers.len(),
            headers: &raw,
        };
        self.add(self.next_offset_delta, timestamp, content)
    }

    /// Adds a copy of a record of another batch, with the offset it has there.
    ///
    /// `Header` when the offset isn't above that of the record before, or too far from the base offset.
    pub fn push_record(&mut self, record: &Record<'_>) -> Result<(), RecordError> {
        let delta = record.offset.checked_sub(self.options.base_offset);
        let delta = delta
            .and_then(|delta| i32::try_from(delta).ok())
            .filter(|delta| *delta >= self.next_offset_delta)
            .ok_or(RecordError::Header("offset not above the one before"))?;
        self.add(delta, record.timestamp, Content::of(record))
    }

    /// Says who sends the batch, in place of what the options said: producer id, epoch, and the first
    /// record's sequence number.
    pub fn set_producer(&mut self, producer: Option<(i64, i16, i32)>) {
        self.options.producer = producer;
    }

    /// Gives back memory that was taken for more records than came, if that is more than a quarter.
    pub fn shrink(&mut self) {
        if self.bytes.len() < self.bytes.capacity() / 4 * 3 {
            self.bytes.shrink_to_fit();
        }
    }

    /// Records so far.
    pub fn record_count(&self) -> usize {
        usize::try_from(self.record_count).unwrap_or(0)
    }

    /// Whether there is no record yet.
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Bytes of the batch so far, before compression.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The batch; empty bytes when there is no record (see [`emptied`] for what compaction keeps).
    pub fn build(self) -> Bytes {
        let options = self.options;
        if self.record_count == 0 && options.last_offset_delta.is_none() {
            return Bytes::new();
        }
        // A batch without records isn't compressed: there is nothing a reader would have to open.
        let codec = if self.record_count == 0 {
            Codec::None
        } else {
            options.codec
        };
        let mut batch = match codec {
            Codec::None => self.bytes,
            codec @ (Codec::Gzip | Codec::Snappy | Codec::Lz4 | Codec::Zstd) => {
                let mut out = vec![0; HEADER_LEN];
                compress(codec, options.level, &self.bytes[HEADER_LEN..], &mut out);
                out
            }
        };
        let (producer_id, producer_epoch, base_sequence) =
            options
                .producer
                .unwrap_or((NONE.into(), NONE.into(), NONE.into()));
        let header = BatchHeader {
            base_offset: options.base_offset,
            batch_length: i32::try_from(batch.len() - LOG_OVERHEAD)
                .expect("records are limited to 1 GiB and codecs expand them by a fraction"),
            partition_leader_epoch: options.leader_epoch,
            magic: MAGIC,
            crc: 0,
            attributes: Attributes::default()
                .with_codec(options.codec)
                .with_timestamp_type(options.timestamp_type)
                .with_transactional(options.transactional)
                .with_control(options.control)
                .with_delete_horizon(options.delete_horizon_ms.is_some()),
            last_offset_delta: options
                .last_offset_delta
                .unwrap_or(0)
                .max(self.next_offset_delta.saturating_sub(1)),
            base_timestamp: self.base_timestamp.unwrap_or(NONE.into()),
            max_timestamp: self.max_timestamp,
            producer_id,
            producer_epoch,
            base_sequence,
            record_count: self.record_count,
        };
        if let Some(head) = batch.first_chunk_mut::<HEADER_LEN>() {
            header.write(head);
        }
        let crc = checksum(&batch);
        batch[CRC_AT..CHECKED_FROM].copy_from_slice(&crc.to_be_bytes());
        Bytes::from(batch)
    }

    fn add(
        &mut self,
        offset_delta: i32,
        timestamp: i64,
        content: Content<'_>,
    ) -> Result<(), RecordError> {
        let full = RecordError::Full {
            limit: BUILT_BYTES_MAX,
        };
        let base_timestamp = self.base_timestamp.unwrap_or(timestamp);
        let timestamp_delta = timestamp
            .checked_sub(base_timestamp)
            .ok_or(RecordError::Header("timestamps too far apart"))?;
        let len = content.len(timestamp_delta, offset_delta);
        if len > BUILT_BYTES_MAX - self.bytes.len().min(BUILT_BYTES_MAX) || offset_delta == i32::MAX
        {
            return Err(full);
        }
        content.write_framed(timestamp_delta, offset_delta, &mut self.bytes);
        self.base_timestamp = Some(base_timestamp);
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.next_offset_delta = offset_delta + 1;
        self.record_count += 1;
        Ok(())
    }
}

/// What compaction keeps of a batch whose records are all gone, so that its producer's sequence number and
/// its last offset stay known: the header alone, as Kafka's `writeEmptyHeader` has it.
pub fn emptied(header: &BatchHeader) -> Bytes {
    let mut bytes = [0; HEADER_LEN];
    let mut kept = BatchHeader {
        batch_length: (HEADER_LEN - LOG_OVERHEAD) as i32,
        attributes: header
            .attributes
            .with_codec(Codec::None)
            .with_delete_horizon(false),
        base_timestamp: NONE.into(),
        record_count: 0,
        ..*header
    };
    kept.write(&mut bytes);
    kept.crc = checksum(&bytes);
    kept.write(&mut bytes);
    Bytes::copy_from_slice(&bytes)
}

/// The parts of a record that don't depend on its batch.
#[derive(Clone, Copy)]
pub(super) struct Content<'a> {
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    header_count: usize,
    /// Encoded headers.
    headers: &'a [u8],
}

impl<'a> Content<'a> {
    /// That of a record of another batch.
    pub(super) fn of(record: &Record<'a>) -> Self {
        Self {
            key: record.key,
            value: record.value,
            header_count: record.headers.len(),
            headers: record.headers.raw(),
        }
    }

    /// Bytes after the length field.
    fn len(&self, timestamp_delta: i64, offset_delta: i32) -> usize {
        1 + varlong_len(timestamp_delta)
            + varlong_len(offset_delta.into())
            + bytes_len(self.key)
            + bytes_len(self.value)
            + varlong_len(self.header_count as i64)
            + self.headers.len()
    }

    /// Appends the record: its length, then its fields.
    pub(super) fn write_framed(&self, timestamp_delta: i64, offset_delta: i32, out: &mut Vec<u8>) {
        let len = self.len(timestamp_delta, offset_delta);
        out.reserve(len + varlong_len(len as i64));
        write_varlong(out, len as i64);
        out.push(0);
        write_varlong(out, timestamp_delta);
        write_varint(out, offset_delta);
        write_bytes(out, self.key);
        write_bytes(out, self.value);
        write_varlong(out, self.header_count as i64);
        out.extend_from_slice(self.headers);
    }
}

fn bytes_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varlong_len(bytes.len() as i64) + bytes.len())
}

fn write_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => write_varint(out, -1),
        Some(bytes) => {
            write_varlong(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}
