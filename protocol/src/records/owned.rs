//! Records that own a share of their batch's bytes, one at a time.
//!
//! What always holds: nothing is copied; a batch that isn't compressed is shared as it came, another
//! one is decompressed once, into memory that its records share; at most one record is built ahead.

use bytes::Bytes;

use super::batch::Batch;
use super::compression::Codec;
use super::error::RecordError;
use super::header::{BatchHeader, HEADER_LEN};
use super::read::{Record, Records, Scratch};

/// A header with a share of its batch's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedHeader {
    /// The name, by convention UTF-8; not checked.
    pub key: Bytes,
    /// The value, if any.
    pub value: Option<Bytes>,
}

/// A record with a share of its batch's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedRecord {
    /// Its offset in the partition.
    pub offset: i64,
    /// Its time (ms), or the batch's under `LogAppendTime`.
    pub timestamp: i64,
    /// The key, if any.
    pub key: Option<Bytes>,
    /// The value; none is a tombstone.
    pub value: Option<Bytes>,
    /// The headers, in their order.
    pub headers: Vec<SharedHeader>,
}

/// The records of one batch, in order; the batch's checksum is taken as verified.
#[derive(Clone, Debug)]
pub struct SharedRecords {
    header: BatchHeader,
    content: Bytes,
    at: usize,
    index: usize,
    failed: bool,
}

impl SharedRecords {
    /// Opens a batch. An error when a compressed one can't be opened within the scratch's cap.
    pub fn open(batch: &Batch, scratch: &mut Scratch) -> Result<Self, RecordError> {
        let codec = batch.header.codec()?;
        let content = if codec == Codec::None || batch.header.record_count == 0 {
            batch.bytes.slice(HEADER_LEN.min(batch.bytes.len())..)
        } else {
            Bytes::from(scratch.inflated(codec, batch.records())?)
        };
        Ok(Self {
            header: batch.header,
            content,
            at: 0,
            index: 0,
            failed: false,
        })
    }

    fn share(&self, record: &Record<'_>) -> SharedRecord {
        let part = |bytes: &[u8]| self.content.slice_ref(bytes);
        let headers = record.headers.clone().map(|header| SharedHeader {
            key: part(header.key),
            value: header.value.map(part),
        });
        SharedRecord {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(part),
            value: record.value.map(part),
            headers: headers.collect(),
        }
    }
}

impl Iterator for SharedRecords {
    type Item = Result<SharedRecord, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let rest = self.content.get(self.at..).unwrap_or_default();
        let mut records = Records::behind(self.header, self.index, rest);
        let next = records.next()?;
        let left = records.left();
        let shared = next.map(|record| self.share(&record));
        self.failed = shared.is_err();
        self.index += 1;
        self.at = self.content.len() - left;
        Some(shared)
    }
}

impl std::iter::FusedIterator for SharedRecords {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{BatchBuilder, Header, Options, record_iter};

    fn batch(codec: Codec) -> Batch {
        let mut builder = BatchBuilder::new(Options {
            codec,
            base_offset: 40,
            ..Options::default()
        });
        for at in 0..50_u8 {
            let key = [at; 3];
            let headers = [Header {
                key: b"name",
                value: (at % 2 == 0).then_some(&key[..]),
            }];
            let key = (at % 3 != 0).then_some(&key[..]);
            builder
                .push(
                    i64::from(at),
                    key,
                    Some(&[at; 20]),
                    &headers[..usize::from(at % 2)],
                )
                .unwrap();
        }
        Batch::parse(builder.build()).unwrap()
    }

    #[test]
    fn they_are_the_records_that_are_read_in_place() {
        for codec in Codec::ALL {
            let batch = batch(codec);
            let mut scratch = Scratch::new(1 << 20);
            let shared = SharedRecords::open(&batch, &mut scratch).unwrap();
            let shared: Vec<_> = shared.map(Result::unwrap).collect();
            let read = record_iter(&batch, &mut scratch).unwrap();
            let read: Vec<_> = read.map(Result::unwrap).collect();
            assert_eq!(shared.len(), 50);
            for (shared, read) in shared.iter().zip(read) {
                assert_eq!(
                    (shared.offset, shared.timestamp),
                    (read.offset, read.timestamp)
                );
                assert_eq!(shared.key.as_deref(), read.key);
                assert_eq!(shared.value.as_deref(), read.value);
                let headers = shared.headers.iter();
                let headers = headers.map(|header| (&header.key[..], header.value.as_deref()));
                assert!(headers.eq(read.headers.map(|header| (header.key, header.value))));
            }
        }
    }

    #[test]
    fn a_plain_batch_is_not_copied() {
        let batch = batch(Codec::None);
        let mut shared = SharedRecords::open(&batch, &mut Scratch::new(0)).unwrap();
        let value = shared.next().unwrap().unwrap().value.unwrap();
        let within = batch.bytes.as_ptr_range();
        assert!(within.contains(&value.as_ptr()));
    }

    #[test]
    fn a_broken_record_ends_them_and_the_cap_is_kept() {
        let whole = batch(Codec::None);
        let mut bytes = whole.bytes.to_vec();
        // The first record is said to be longer than all of them.
        bytes[HEADER_LEN..HEADER_LEN + 2].copy_from_slice(&[0xfe, 0x7f]);
        let broken = Batch {
            header: whole.header,
            bytes: bytes.into(),
        };
        let mut shared = SharedRecords::open(&broken, &mut Scratch::new(0)).unwrap();
        assert!(shared.by_ref().any(|record| record.is_err()));
        assert!(shared.next().is_none());
        let squeezed = batch(Codec::Lz4);
        assert!(SharedRecords::open(&squeezed, &mut Scratch::new(100)).is_err());
    }
}
