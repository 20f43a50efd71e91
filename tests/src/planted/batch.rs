//! Changes to encoded batches that leave their checksums right.

use bytes::Bytes;
use millrace_protocol::records::{Batch, BatchBuilder, Options, Scratch, checksum, record_iter};

/// Where a batch's checksum lies (record batch v2).
const CRC: std::ops::Range<usize> = 17..21;
/// Where producer id, epoch and base sequence lie, one behind the other.
const PRODUCER: std::ops::Range<usize> = 43..57;
/// A byte of the last record's value, counted from the batch's end.
const IN_LAST_VALUE: usize = 8;

fn sealed(mut batch: Vec<u8>) -> Bytes {
    let crc = checksum(&batch);
    if let Some(place) = batch.get_mut(CRC) {
        place.copy_from_slice(&crc.to_be_bytes());
    }
    Bytes::from(batch)
}

/// The same of no producer.
pub(super) fn anonymous(batch: &Bytes) -> Bytes {
    let mut batch = batch.to_vec();
    if let Some(place) = batch.get_mut(PRODUCER) {
        place.fill(0xff);
    }
    sealed(batch)
}

/// The same with one bit of a value changed.
pub(super) fn altered(batch: &Bytes) -> Bytes {
    let mut batch = batch.to_vec();
    let at = batch.len().saturating_sub(IN_LAST_VALUE);
    if let Some(byte) = batch.get_mut(at) {
        *byte ^= 1;
    }
    sealed(batch)
}

/// The same some offsets further; no checksum covers them.
pub(super) fn moved(batch: &[u8], by: i64) -> Bytes {
    let mut batch = batch.to_vec();
    if let Some(place) = batch.first_chunk_mut::<8>() {
        *place = i64::from_be_bytes(*place).saturating_add(by).to_be_bytes();
    }
    Bytes::from(batch)
}

/// The same of the same producer with its records in reverse.
pub(super) fn reversed(encoded: &Bytes) -> Option<Bytes> {
    let batch = Batch::parse(encoded.clone()).ok()?;
    let mut scratch = Scratch::new(1 << 24);
    let mut values = Vec::new();
    for record in record_iter(&batch, &mut scratch).ok()? {
        let record = record.ok()?;
        values.push((record.timestamp, record.value?.to_vec()));
    }
    let header = &batch.header;
    let mut builder = BatchBuilder::new(Options {
        producer: Some((
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
        )),
        ..Options::default()
    });
    for (timestamp, value) in values.iter().rev() {
        builder.push(*timestamp, None, Some(value), &[]).ok()?;
    }
    Some(builder.build())
}

/// Bytes of a log that begin with a whole batch, with that batch altered.
pub(super) fn first_altered(bytes: &Bytes) -> Option<Bytes> {
    let length = bytes.get(8..12)?.first_chunk::<4>()?;
    let size = usize::try_from(i32::from_be_bytes(*length)).ok()? + 12;
    let first = Batch::parse(bytes.get(..size).map(|_| bytes.slice(..size))?).ok()?;
    first.verify_crc().ok()?;
    let mut all = altered(&bytes.slice(..size)).to_vec();
    all.extend_from_slice(bytes.get(size..)?);
    Some(Bytes::from(all))
}
