//! A batch that a broker finds too large, cut in two; and what to say of a record that it does.
//!
//! What always holds: the halves hold the records of the batch, each once and in their order; what we
//! encoded ourselves is read, so nothing of it can fail but by a fault of ours.

use bytes::Bytes;
use millrace_protocol::records::{
    Batch, BatchBuilder, Header, Options, RecordError, Scratch, record_iter,
};

/// Most characters of a key that an error shows.
const KEY_SHOWN_MAX: usize = 64;

/// The first `at` records of a batch that we encoded, and the others.
pub(super) fn halves(
    batch: Bytes,
    at: usize,
    options: Options,
    content_bytes_max: usize,
) -> Result<[Box<BatchBuilder>; 2], RecordError> {
    let batch = Batch::parse(batch)?;
    let mut scratch = Scratch::new(content_bytes_max);
    let mut halves = [0, 1].map(|_| Box::new(BatchBuilder::new(options)));
    let mut headers: Vec<Header<'_>> = Vec::new();
    for (index, record) in record_iter(&batch, &mut scratch)?.enumerate() {
        let record = record?;
        headers.clear();
        headers.extend(record.headers.clone());
        let half = &mut halves[usize::from(index >= at)];
        half.push(record.timestamp, record.key, record.value, &headers)?;
    }
    Ok(halves)
}

/// What is known of the only record of a batch: its size, and its key if it has one.
pub(super) fn described(batch: Bytes, content_bytes_max: usize) -> String {
    let said = format!("a record of {} bytes", batch.len());
    let Ok(batch) = Batch::parse(batch) else {
        return said;
    };
    let mut scratch = Scratch::new(content_bytes_max);
    let Ok(mut records) = record_iter(&batch, &mut scratch) else {
        return said;
    };
    if let Some(Ok(record)) = records.next()
        && let Some(key) = record.key
    {
        let shown = String::from_utf8_lossy(&key[..key.len().min(KEY_SHOWN_MAX)]);
        let more = if key.len() > KEY_SHOWN_MAX { "…" } else { "" };
        return format!("{said} with key {shown:?}{more}");
    }
    said
}
