//! The 61-byte header of a record batch, format version 2 (KIP-98), and its attribute bits.
//!
//! Layout, all big endian, offsets from the start of the batch:
//!
//! | at | bytes | field |
//! |---|---|---|
//! | 0 | 8 | base offset |
//! | 8 | 4 | batch length, counted from byte 12 |
//! | 12 | 4 | partition leader epoch |
//! | 16 | 1 | magic, 2 |
//! | 17 | 4 | CRC-32C of byte 21 to the end |
//! | 21 | 2 | attributes |
//! | 23 | 4 | last offset delta |
//! | 27 | 8 | base timestamp (the delete horizon when attribute bit 6 is set) |
//! | 35 | 8 | max timestamp |
//! | 43 | 8 | producer id, -1 none |
//! | 51 | 2 | producer epoch, -1 none |
//! | 53 | 4 | base sequence, -1 none |
//! | 57 | 4 | record count |
//!
//! The first 16 bytes lie outside the checksum: a leader sets base offset and epoch without a new CRC.

use super::compression::Codec;
use super::error::RecordError;

/// Bytes of a batch header, base offset to record count.
pub const HEADER_LEN: usize = 61;
/// Bytes before the point from which the batch length counts (base offset and the length itself).
pub const LOG_OVERHEAD: usize = 12;
/// Where the checksum stands.
pub const CRC_AT: usize = 17;
/// Where the checksummed bytes begin (the attributes).
pub const CHECKED_FROM: usize = 21;
/// The only message format there is (`magic`).
pub const MAGIC: i8 = 2;
/// "No producer id", "no epoch", "no sequence", "no timestamp".
pub(super) const NONE: i8 = -1;

/// Where the times of a batch's records come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimestampType {
    /// Each record's own, from the producer.
    #[default]
    CreateTime,
    /// The broker's at append: every record takes the header's max timestamp.
    LogAppendTime,
}

/// The attribute bits of a batch: 0-2 codec, 3 timestamp type, 4 transactional, 5 control, 6 delete
/// horizon; the rest is unused and kept as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    const CODEC: i16 = 0b111;
    const LOG_APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    /// The codec of the records; `RecordError::Codec` for the undefined values 5 to 7.
    pub fn codec(self) -> Result<Codec, RecordError> {
        let id = (self.0 & Self::CODEC) as u8;
        Codec::from_id(id).ok_or(RecordError::Codec(id))
    }

    /// Where the records' times come from.
    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the batch holds a control record, which no application sees.
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp slot holds the time from which tombstones and markers may go.
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// These attributes with another codec.
    #[must_use]
    pub fn with_codec(self, codec: Codec) -> Self {
        Self((self.0 & !Self::CODEC) | i16::from(codec.id()))
    }

    /// These attributes with another timestamp type.
    #[must_use]
    pub fn with_timestamp_type(self, timestamp_type: TimestampType) -> Self {
        self.with(
            Self::LOG_APPEND_TIME,
            timestamp_type == TimestampType::LogAppendTime,
        )
    }

    /// These attributes with the transactional bit set or cleared.
    #[must_use]
    pub fn with_transactional(self, on: bool) -> Self {
        self.with(Self::TRANSACTIONAL, on)
    }

    /// These attributes with the control bit set or cleared.
    #[must_use]
    pub fn with_control(self, on: bool) -> Self {
        self.with(Self::CONTROL, on)
    }

    /// These attributes with the delete horizon bit set or cleared.
    #[must_use]
    pub fn with_delete_horizon(self, on: bool) -> Self {
        self.with(Self::DELETE_HORIZON, on)
    }

    fn with(self, bit: i16, on: bool) -> Self {
        Self(if on { self.0 | bit } else { self.0 & !bit })
    }
}

/// The header of one batch, as it stands in the bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchHeader {
    /// Offset of the batch's first record (also when that record was compacted away).
    pub base_offset: i64,
    /// Bytes of the batch after byte 12.
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch; -1 from a producer.
    pub partition_leader_epoch: i32,
    /// Message format, always 2.
    pub magic: i8,
    /// CRC-32C of byte 21 to the end.
    pub crc: u32,
    /// Codec, timestamp type, transactional, control, delete horizon.
    pub attributes: Attributes,
    /// Offset of the last record less the base offset; survives compaction of that record.
    pub last_offset_delta: i32,
    /// Time (ms) the records' timestamp deltas count from; the delete horizon when that bit is set.
    pub base_timestamp: i64,
    /// Greatest record time (ms); under `LogAppendTime` the time of every record.
    pub max_timestamp: i64,
    /// Producer id, -1 none.
    pub producer_id: i64,
    /// Producer epoch, -1 none.
    pub producer_epoch: i16,
    /// Sequence number of the first record, -1 none.
    pub base_sequence: i32,
    /// Records in the batch; 0 is legal after compaction.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header from the first 61 bytes; more bytes may follow, fewer are `Truncated`.
    ///
    /// Checks magic 2, a length of at least a header, a count and last offset delta that aren't
    /// negative. It does not check that the whole batch is there, nor the checksum.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let Some(head) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(RecordError::Truncated {
                needed: HEADER_LEN,
                available: bytes.len(),
            });
        };
        let header = Self::read(head);
        if header.magic != MAGIC {
            return Err(RecordError::Magic(header.magic));
        }
        if header.batch_length < (HEADER_LEN - LOG_OVERHEAD) as i32 {
            return Err(RecordError::Length(header.batch_length));
        }
        if header.record_count < 0 {
            return Err(RecordError::Header("negative record count"));
        }
        if header.last_offset_delta < 0 {
            return Err(RecordError::Header("negative last offset delta"));
        }
        if header.base_offset < 0
            || header
                .base_offset
                .checked_add(i64::from(header.last_offset_delta))
                .is_none()
        {
            return Err(RecordError::Header("offsets outside 0 to 2^63-1"));
        }
        Ok(header)
    }

    /// Reads the fields without judging them.
    pub(super) fn read(head: &[u8; HEADER_LEN]) -> Self {
        Self {
            base_offset: i64::from_be_bytes(field(head, 0)),
            batch_length: i32::from_be_bytes(field(head, 8)),
            partition_leader_epoch: i32::from_be_bytes(field(head, 12)),
            magic: i8::from_be_bytes(field(head, 16)),
            crc: u32::from_be_bytes(field(head, CRC_AT)),
            attributes: Attributes(i16::from_be_bytes(field(head, CHECKED_FROM))),
            last_offset_delta: i32::from_be_bytes(field(head, 23)),
            base_timestamp: i64::from_be_bytes(field(head, 27)),
            max_timestamp: i64::from_be_bytes(field(head, 35)),
            producer_id: i64::from_be_bytes(field(head, 43)),
            producer_epoch: i16::from_be_bytes(field(head, 51)),
            base_sequence: i32::from_be_bytes(field(head, 53)),
            record_count: i32::from_be_bytes(field(head, 57)),
        }
    }

    /// Writes all fields, the checksum as it is in `self`.
    pub fn write(&self, out: &mut [u8; HEADER_LEN]) {
        out[0..16].copy_from_slice(&prefix(
            self.base_offset,
            self.batch_length,
            self.partition_leader_epoch,
        ));
        out[16..17].copy_from_slice(&self.magic.to_be_bytes());
        out[CRC_AT..CHECKED_FROM].copy_from_slice(&self.crc.to_be_bytes());
        out[21..23].copy_from_slice(&self.attributes.0.to_be_bytes());
        out[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        out[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        out[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        out[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        out[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        out[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        out[57..61].copy_from_slice(&self.record_count.to_be_bytes());
    }

    /// Bytes of the whole batch.
    pub fn size(&self) -> usize {
        LOG_OVERHEAD + usize::try_from(self.batch_length).unwrap_or(0)
    }

    /// Offset of the last record the batch ever held; a consumer goes on at the one after it.
    pub fn last_offset(&self) -> i64 {
        self.base_offset
            .saturating_add(i64::from(self.last_offset_delta))
    }

    /// Sequence number of the last record, wrapping from 2147483647 to 0; -1 without a sequence.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return i32::from(NONE);
        }
        sequence_after(self.base_sequence, self.last_offset_delta)
    }

    /// Whether an idempotent or transactional producer wrote the batch.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > i64::from(NONE)
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes.is_transactional()
    }

    /// Whether the batch holds a control record.
    pub fn is_control(&self) -> bool {
        self.attributes.is_control()
    }

    /// The codec of the records; an error for undefined codec bits.
    pub fn codec(&self) -> Result<Codec, RecordError> {
        self.attributes.codec()
    }

    /// Where the records' times come from.
    pub fn timestamp_type(&self) -> TimestampType {
        self.attributes.timestamp_type()
    }

    /// Whether the base timestamp slot holds a delete horizon.
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes.has_delete_horizon()
    }
}

/// The sequence number `delta` records after `base` (neither negative), wrapping to 0 past 2^31-1.
pub fn sequence_after(base: i32, delta: i32) -> i32 {
    ((i64::from(base) + i64::from(delta)) & i64::from(i32::MAX)) as i32
}

/// The 16 bytes in front of the checksummed part: base offset, batch length, leader epoch.
///
/// A leader writes `[prefix, &batch[16..]]` and so sets both without copying or touching the CRC.
pub fn prefix(base_offset: i64, batch_length: i32, leader_epoch: i32) -> [u8; 16] {
    let mut out = [0; 16];
    out[0..8].copy_from_slice(&base_offset.to_be_bytes());
    out[8..12].copy_from_slice(&batch_length.to_be_bytes());
    out[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
    out
}

/// `N` bytes of the header at a constant place.
fn field<const N: usize>(head: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&head[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> BatchHeader {
        BatchHeader {
            base_offset: 7,
            batch_length: 49,
            partition_leader_epoch: 3,
            magic: MAGIC,
            crc: 0xdead_beef,
            attributes: Attributes(0)
                .with_transactional(true)
                .with_codec(Codec::Zstd),
            last_offset_delta: 2,
            base_timestamp: 1000,
            max_timestamp: 2000,
            producer_id: 9,
            producer_epoch: 1,
            base_sequence: i32::MAX - 1,
            record_count: 3,
        }
    }

    #[test]
    fn a_written_header_reads_back() {
        let header = sample();
        let mut bytes = [0; HEADER_LEN];
        header.write(&mut bytes);
        assert_eq!(BatchHeader::parse(&bytes), Ok(header));
        assert_eq!(bytes[..16], prefix(7, 49, 3));
    }

    #[test]
    fn sequences_wrap_to_zero_after_the_greatest_int() {
        assert_eq!(sample().last_sequence(), 0);
        assert_eq!(sequence_after(i32::MAX, 0), i32::MAX);
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(
            BatchHeader {
                base_sequence: -1,
                ..sample()
            }
            .last_sequence(),
            -1
        );
    }

    #[test]
    fn impossible_headers_are_errors() {
        let parse = |header: BatchHeader| {
            let mut bytes = [0; HEADER_LEN];
            header.write(&mut bytes);
            BatchHeader::parse(&bytes)
        };
        for magic in [0, 1, 3, -1] {
            assert_eq!(
                parse(BatchHeader { magic, ..sample() }),
                Err(RecordError::Magic(magic))
            );
        }
        for batch_length in [i32::MIN, -1, 0, 48] {
            let broken = BatchHeader {
                batch_length,
                ..sample()
            };
            assert_eq!(parse(broken), Err(RecordError::Length(batch_length)));
        }
        for broken in [
            BatchHeader {
                record_count: -1,
                ..sample()
            },
            BatchHeader {
                last_offset_delta: -1,
                ..sample()
            },
            BatchHeader {
                base_offset: -1,
                ..sample()
            },
            BatchHeader {
                base_offset: i64::MAX,
                ..sample()
            },
        ] {
            assert!(
                matches!(parse(broken), Err(RecordError::Header(_))),
                "{broken:?}"
            );
        }
        assert_eq!(
            BatchHeader::parse(&[0; 60]),
            Err(RecordError::Truncated {
                needed: 61,
                available: 60
            })
        );
    }

    #[test]
    fn undefined_codecs_are_errors() {
        for id in 5..8_i16 {
            assert_eq!(Attributes(id).codec(), Err(RecordError::Codec(id as u8)));
        }
    }
}
