//! Batches and a file in memory, for this crate's own tests.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use millrace_host::{Completion, File, FileMap};
use millrace_protocol::producer::{ProducerBatch, ProducerEntry};
use millrace_protocol::records::{self, Attributes, BatchHeader, HEADER_LEN};

/// What a test batch looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchSpec {
    pub(crate) base_offset: i64,
    pub(crate) records: i32,
    pub(crate) epoch: i32,
    pub(crate) timestamp: i64,
    pub(crate) payload: usize,
    pub(crate) producer_id: i64,
    pub(crate) base_sequence: i32,
}

impl Default for BatchSpec {
    fn default() -> Self {
        Self {
            base_offset: 0,
            records: 1,
            epoch: 0,
            timestamp: 1_000,
            payload: 20,
            producer_id: -1,
            base_sequence: -1,
        }
    }
}

/// The producers as they stand before the record at `offset`, where `producer_id` wrote every record
/// before it with its offset as sequence.
pub(crate) fn sole_producer(producer_id: i64, offset: i64) -> Vec<ProducerEntry> {
    if offset == 0 {
        return Vec::new();
    }
    let last = i32::try_from(offset - 1).unwrap();
    let batch = ProducerBatch {
        first_sequence: last,
        last_sequence: last,
        last_offset: offset - 1,
        offset_delta: 0,
        timestamp_ms: 0,
    };
    vec![ProducerEntry {
        producer_id,
        producer_epoch: 0,
        coordinator_epoch: -1,
        open_txn_first_offset: None,
        last_seen_ms: 0,
        batches: vec![batch],
    }]
}

/// The bytes of a batch with real, uncompressed records and a right CRC. The first value holds
/// `payload` bytes, the others one; record `i` has timestamp `timestamp + i`.
pub(crate) fn batch(spec: &BatchSpec) -> Vec<u8> {
    let mut body = Vec::new();
    for delta in 0..spec.records {
        let value = vec![b'v'; if delta == 0 { spec.payload } else { 1 }];
        let mut record = vec![0]; // attributes
        varint(&mut record, i64::from(delta));
        varint(&mut record, i64::from(delta));
        varint(&mut record, -1);
        varint(&mut record, value.len() as i64);
        record.extend_from_slice(&value);
        varint(&mut record, 0);
        varint(&mut body, record.len() as i64);
        body.extend_from_slice(&record);
    }
    let mut header = BatchHeader {
        base_offset: spec.base_offset,
        batch_length: (HEADER_LEN - 12 + body.len()) as i32,
        partition_leader_epoch: spec.epoch,
        magic: 2,
        crc: 0,
        attributes: Attributes(0),
        last_offset_delta: spec.records - 1,
        base_timestamp: spec.timestamp,
        max_timestamp: spec.timestamp + i64::from(spec.records) - 1,
        producer_id: spec.producer_id,
        producer_epoch: if spec.producer_id < 0 { -1 } else { 0 },
        base_sequence: spec.base_sequence,
        record_count: spec.records,
    };
    let mut out = vec![0; HEADER_LEN];
    out.extend_from_slice(&body);
    header.write(out.first_chunk_mut().unwrap());
    header.crc = records::checksum(&out);
    header.write(out.first_chunk_mut().unwrap());
    out
}

fn varint(out: &mut Vec<u8>, value: i64) {
    let mut bits = ((value << 1) ^ (value >> 63)) as u64;
    while bits > 0x7f {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

/// A file in memory that remembers where it was written.
#[derive(Debug)]
pub(crate) struct MemFile {
    path: PathBuf,
    content: Mutex<Vec<u8>>,
    writes: Mutex<Vec<(u64, usize)>>,
}

impl MemFile {
    pub(crate) fn new(content: &[u8]) -> Self {
        Self {
            path: PathBuf::from("memory"),
            content: Mutex::new(content.to_vec()),
            writes: Mutex::default(),
        }
    }

    pub(crate) fn content(&self) -> Vec<u8> {
        self.content.lock().unwrap().clone()
    }

    /// (offset, bytes) of every write, in order.
    pub(crate) fn writes(&self) -> Vec<(u64, usize)> {
        self.writes.lock().unwrap().clone()
    }
}

impl File for MemFile {
    fn path(&self) -> &PathBuf {
        &self.path
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        let mut content = self.content.lock().unwrap();
        let end = offset as usize + bytes.len();
        if content.len() < end {
            content.resize(end, 0);
        }
        content[offset as usize..end].copy_from_slice(&bytes);
        self.writes.lock().unwrap().push((offset, bytes.len()));
        Ok(bytes.len())
    }

    fn read_resident_at(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        let content = self.content.lock().unwrap();
        let rest = content.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(Some(len))
    }

    fn read_at(&self, offset: u64, len: usize) -> Completion<Bytes> {
        let mut buf = vec![0; len];
        let got = self.read_resident_at(&mut buf, offset).unwrap().unwrap();
        buf.truncate(got);
        Box::pin(std::future::ready(Ok(Bytes::from(buf))))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.content.lock().unwrap().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.content.lock().unwrap().resize(len as usize, 0);
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.set_len(offset + len)
    }

    fn sync(&self) -> Completion<()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn start_write_back(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn map(&self) -> io::Result<Arc<dyn FileMap>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
