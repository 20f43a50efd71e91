//! What a partition knows of its producers, on disk: our own form and Kafka's.
//!
//! Ours (`<offset>.producers`) keeps everything: magic `MRPRODUC`, `u16` version 1, `u32` CRC-32C of
//! all that follows, `i64` offset (the state is that before the record at this offset), `u32` number
//! of producers, then each. Kafka's (`<offset>.snapshot`, version 1) keeps the newest batch of each
//! producer and is written for its tools only. All numbers are big-endian. What always holds: a file
//! is believed only when a mark of the journal names its offset and its CRC (`durability.md` A2).

use millrace_protocol::producer::{
    PRODUCER_BATCHES_MAX, PRODUCER_EPOCH_NONE, ProducerBatch, ProducerEntry,
};

use crate::error::Error;

const MAGIC: &[u8; 8] = b"MRPRODUC";
const VERSION: u16 = 1;
/// Magic, version, CRC.
const CRC_END: usize = 14;
/// Bytes of a producer without its batches.
const ENTRY_LEN: usize = 8 + 2 + 4 + 8 + 8 + 1;
/// Bytes of a batch.
const BATCH_LEN: usize = 4 + 4 + 8 + 4 + 8;

/// Kafka: version and CRC stand before the part that the CRC covers.
const KAFKA_CRC_END: usize = 6;
/// Bytes of a producer in it.
const KAFKA_ENTRY_LEN: usize = 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8;

/// An encoded snapshot and the CRC by which a mark names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The file's bytes.
    pub bytes: Vec<u8>,
    /// CRC-32C of its content.
    pub crc: u32,
}

/// Our form of the state before the record at `offset`. At most five batches of each producer are
/// kept, the newest.
pub fn encode(offset: i64, entries: &[ProducerEntry]) -> Encoded {
    let mut out = Vec::with_capacity(CRC_END + 12 + entries.len() * (ENTRY_LEN + BATCH_LEN));
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&offset.to_be_bytes());
    out.extend_from_slice(&(entries.len() as u32).to_be_bytes());
    for entry in entries {
        out.extend_from_slice(&entry.producer_id.to_be_bytes());
        out.extend_from_slice(&entry.producer_epoch.to_be_bytes());
        out.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        out.extend_from_slice(&entry.open_txn_first_offset.unwrap_or(-1).to_be_bytes());
        out.extend_from_slice(&entry.last_seen_ms.to_be_bytes());
        let newest = entry.batches.len().saturating_sub(PRODUCER_BATCHES_MAX);
        let batches = &entry.batches[newest..];
        out.push(batches.len() as u8);
        for batch in batches {
            out.extend_from_slice(&batch.first_sequence.to_be_bytes());
            out.extend_from_slice(&batch.last_sequence.to_be_bytes());
            out.extend_from_slice(&batch.last_offset.to_be_bytes());
            out.extend_from_slice(&batch.offset_delta.to_be_bytes());
            out.extend_from_slice(&batch.timestamp_ms.to_be_bytes());
        }
    }
    let crc = crc32c::crc32c(&out[CRC_END..]);
    out[CRC_END - 4..CRC_END].copy_from_slice(&crc.to_be_bytes());
    Encoded { bytes: out, crc }
}

/// Reads our form back: the offset and the producers. Refuses anything but a whole file with a
/// right CRC.
pub fn decode(bytes: &[u8]) -> Result<(i64, Vec<ProducerEntry>), Error> {
    let bad = |what: &str| Error::BadFile {
        what: format!("producer snapshot: {what}"),
    };
    let mut input = Input(bytes);
    if input.take::<8>() != Some(*MAGIC) {
        return Err(bad("not one of ours"));
    }
    if input.take().map(u16::from_be_bytes) != Some(VERSION) {
        return Err(bad("an unknown version"));
    }
    let crc = input
        .take()
        .map(u32::from_be_bytes)
        .ok_or_else(|| bad("cut short"))?;
    if crc32c::crc32c(input.0) != crc {
        return Err(bad("the checksum is wrong"));
    }
    let parsed = input.content().ok_or_else(|| bad("cut short"))?;
    if !input.0.is_empty() {
        return Err(bad("more bytes than producers"));
    }
    Ok(parsed)
}

/// Kafka's form, version 1. A producer without a batch has last sequence and offset -1.
pub fn encode_kafka(entries: &[ProducerEntry]) -> Encoded {
    let mut out = Vec::with_capacity(KAFKA_CRC_END + 4 + entries.len() * KAFKA_ENTRY_LEN);
    out.extend_from_slice(&1_i16.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(entries.len() as i32).to_be_bytes());
    for entry in entries {
        let last = entry.batches.last();
        out.extend_from_slice(&entry.producer_id.to_be_bytes());
        out.extend_from_slice(&entry.producer_epoch.to_be_bytes());
        out.extend_from_slice(&last.map_or(-1, |batch| batch.last_sequence).to_be_bytes());
        out.extend_from_slice(&last.map_or(-1, |batch| batch.last_offset).to_be_bytes());
        out.extend_from_slice(&last.map_or(0, |batch| batch.offset_delta).to_be_bytes());
        out.extend_from_slice(&entry.last_seen_ms.to_be_bytes());
        out.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        out.extend_from_slice(&entry.open_txn_first_offset.unwrap_or(-1).to_be_bytes());
    }
    let crc = crc32c::crc32c(&out[KAFKA_CRC_END..]);
    out[2..KAFKA_CRC_END].copy_from_slice(&crc.to_be_bytes());
    Encoded { bytes: out, crc }
}

/// Reads Kafka's form back: each producer with its newest batch, if it has one.
pub(crate) fn decode_kafka(bytes: &[u8]) -> Result<Vec<ProducerEntry>, Error> {
    let bad = |what: &str| Error::BadFile {
        what: format!("producer snapshot: {what}"),
    };
    let mut input = Input(bytes);
    if input.take().map(i16::from_be_bytes) != Some(1) {
        return Err(bad("the version is not 1"));
    }
    let crc = input.take().map(u32::from_be_bytes);
    if crc != Some(crc32c::crc32c(input.0)) {
        return Err(bad("the checksum is wrong"));
    }
    input.kafka_content().ok_or_else(|| bad("cut short"))
}

/// Bytes yet to be read.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn long(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    fn int(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn content(&mut self) -> Option<(i64, Vec<ProducerEntry>)> {
        let offset = self.long()?;
        let count = u32::from_be_bytes(self.take()?) as usize;
        // No more room than the bytes present can fill.
        if count > self.0.len() / ENTRY_LEN {
            return None;
        }
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            entries.push(self.entry()?);
        }
        Some((offset, entries))
    }

    fn kafka_content(&mut self) -> Option<Vec<ProducerEntry>> {
        let count = usize::try_from(self.int()?).ok()?;
        if self.0.len() != count.checked_mul(KAFKA_ENTRY_LEN)? {
            return None;
        }
        (0..count).map(|_| self.kafka_entry()).collect()
    }

    fn kafka_entry(&mut self) -> Option<ProducerEntry> {
        let producer_id = self.long()?;
        let producer_epoch = i16::from_be_bytes(self.take()?);
        let last_sequence = self.int()?;
        let last_offset = self.long()?;
        let offset_delta = self.int()?;
        let last_seen_ms = self.long()?;
        let coordinator_epoch = self.int()?;
        let open_txn_first_offset = Some(self.long()?).filter(|offset| *offset >= 0);
        let newest = ProducerBatch {
            first_sequence: last_sequence.wrapping_sub(offset_delta) & i32::MAX,
            last_sequence,
            last_offset,
            offset_delta,
            timestamp_ms: last_seen_ms,
        };
        let batches = Some(newest).filter(|_| last_offset >= 0);
        Some(ProducerEntry {
            producer_id,
            producer_epoch,
            coordinator_epoch,
            open_txn_first_offset,
            last_seen_ms,
            batches: batches.into_iter().collect(),
        })
    }

    fn entry(&mut self) -> Option<ProducerEntry> {
        let producer_id = self.long()?;
        let producer_epoch = i16::from_be_bytes(self.take()?);
        let coordinator_epoch = self.int()?;
        let open_txn_first_offset = Some(self.long()?).filter(|offset| *offset >= 0);
        let last_seen_ms = self.long()?;
        let count = usize::from(u8::from_be_bytes(self.take()?));
        let sound = producer_id >= 0
            && producer_epoch >= PRODUCER_EPOCH_NONE
            && count <= PRODUCER_BATCHES_MAX;
        if !sound {
            return None;
        }
        let mut batches = Vec::with_capacity(count);
        for _ in 0..count {
            batches.push(ProducerBatch {
                first_sequence: self.int()?,
                last_sequence: self.int()?,
                last_offset: self.long()?,
                offset_delta: self.int()?,
                timestamp_ms: self.long()?,
            });
        }
        Some(ProducerEntry {
            producer_id,
            producer_epoch,
            coordinator_epoch,
            open_txn_first_offset,
            last_seen_ms,
            batches,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batch() -> impl Strategy<Value = ProducerBatch> {
        (
            0..i32::MAX,
            0..i32::MAX,
            0..i64::MAX,
            0..i32::MAX,
            any::<i64>(),
        )
            .prop_map(
                |(first_sequence, last_sequence, last_offset, offset_delta, timestamp_ms)| {
                    ProducerBatch {
                        first_sequence,
                        last_sequence,
                        last_offset,
                        offset_delta,
                        timestamp_ms,
                    }
                },
            )
    }

    fn entry() -> impl Strategy<Value = ProducerEntry> {
        let batches = prop::collection::vec(batch(), 0..=PRODUCER_BATCHES_MAX);
        (
            0..i64::MAX,
            -1..i16::MAX,
            -1..9,
            prop::option::of(0..i64::MAX),
            any::<i64>(),
            batches,
        )
            .prop_map(
                |(producer_id, producer_epoch, coordinator_epoch, txn, seen, batches)| {
                    ProducerEntry {
                        producer_id,
                        producer_epoch,
                        coordinator_epoch,
                        open_txn_first_offset: txn,
                        last_seen_ms: seen,
                        batches,
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn everything_comes_back(offset: i64, entries in prop::collection::vec(entry(), 0..8)) {
            let encoded = encode(offset, &entries);
            prop_assert_eq!(decode(&encoded.bytes).unwrap(), (offset, entries));
        }

        #[test]
        fn any_flipped_bit_and_any_cut_is_refused(
            entries in prop::collection::vec(entry(), 0..3),
            at: prop::sample::Index,
            bit in 0..8_u8,
        ) {
            let mut bytes = encode(7, &entries).bytes;
            let at = at.index(bytes.len());
            prop_assert!(decode(&bytes[..at]).is_err());
            bytes[at] ^= 1 << bit;
            prop_assert!(decode(&bytes).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes: Vec<u8>) {
            prop_assert!(decode(&bytes).is_err());
            // The same with a right frame around them.
            let mut framed = encode(0, &[]).bytes;
            framed.truncate(CRC_END);
            framed.append(&mut bytes);
            let crc = crc32c::crc32c(&framed[CRC_END..]);
            framed[CRC_END - 4..CRC_END].copy_from_slice(&crc.to_be_bytes());
            let _outcome = decode(&framed);
        }
    }

    #[test]
    fn kafkas_form_has_kafkas_bytes() {
        let entry = ProducerEntry {
            producer_id: 9,
            producer_epoch: 2,
            coordinator_epoch: -1,
            open_txn_first_offset: None,
            last_seen_ms: 1000,
            batches: vec![ProducerBatch {
                first_sequence: 5,
                last_sequence: 7,
                last_offset: 42,
                offset_delta: 2,
                timestamp_ms: 1000,
            }],
        };
        let encoded = encode_kafka(std::slice::from_ref(&entry));
        assert_eq!(decode_kafka(&encoded.bytes).unwrap(), [entry]);
        for len in 0..encoded.bytes.len() {
            decode_kafka(&encoded.bytes[..len]).unwrap_err();
        }
        assert_eq!(encoded.bytes[..2], [0, 1]);
        assert_eq!(
            encoded.bytes[2..6],
            crc32c::crc32c(&encoded.bytes[6..]).to_be_bytes()
        );
        assert_eq!(encoded.bytes[6..10], [0, 0, 0, 1]);
        assert_eq!(encoded.bytes[10..18], 9_i64.to_be_bytes());
        assert_eq!(encoded.bytes[18..20], [0, 2]);
        assert_eq!(encoded.bytes[20..24], [0, 0, 0, 7]);
        assert_eq!(encoded.bytes[24..32], 42_i64.to_be_bytes());
        assert_eq!(encoded.bytes[32..36], [0, 0, 0, 2]);
        assert_eq!(encoded.bytes[36..44], 1000_i64.to_be_bytes());
        assert_eq!(encoded.bytes[44..48], [0xff; 4]);
        assert_eq!(encoded.bytes[48..], [0xff; 8]);
    }
}
