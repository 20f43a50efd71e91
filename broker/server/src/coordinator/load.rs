//! Reading an internal partition from its beginning to its end, to fold it.
//!
//! What always holds: every record below the end is given, in order, or the load fails; batches of
//! transactions and control batches are passed over, as nobody writes them there yet; other tasks of
//! the worker run after every thousand records or so.

use millrace_log::partition::{LogReader, Read};
use millrace_protocol::records::{Batch, Scratch, batches, record_iter};

use crate::handlers::Pace;

/// Gives each record with its offset to `take`, in the order of the log.
pub(super) async fn each_record(
    reader: &LogReader,
    upto: i64,
    read_bytes: usize,
    scratch: &mut Scratch,
    mut take: impl FnMut(i64, &[u8], Option<&[u8]>) -> Result<(), String>,
) -> Result<(), String> {
    let (mut at, mut pace) = (reader.log_start(), Pace::default());
    while at < upto {
        let read = reader.read(at, upto, read_bytes, true).await;
        let region = match read.map_err(|error| error.to_string())? {
            Read::Region(region) => region,
            // Compaction may leave nothing up to the end.
            Read::Empty => return Ok(()),
            Read::OutOfRange { log_start, .. } => {
                return Err(format!(
                    "offset {at} is gone: the log begins at {log_start} now"
                ));
            }
        };
        let slice = region.slice;
        let bytes = slice.read().await;
        let bytes = bytes.map_err(|error| format!("{}: {error}", slice.file.path().display()))?;
        let before = at;
        // A region may end inside a batch; the next one begins there.
        for batch in batches(bytes).map_while(Result::ok) {
            records(&batch, scratch, &mut take)?;
            let count = usize::try_from(batch.header.record_count).unwrap_or(0);
            pace.steps(count).await;
            at = batch.header.last_offset().saturating_add(1);
        }
        if at == before {
            return Err(format!("the batch at offset {at} is broken"));
        }
    }
    Ok(())
}

fn records(
    batch: &Batch,
    scratch: &mut Scratch,
    take: &mut impl FnMut(i64, &[u8], Option<&[u8]>) -> Result<(), String>,
) -> Result<(), String> {
    let header = &batch.header;
    let at = |error: &dyn std::fmt::Display| format!("offset {}: {error}", header.base_offset);
    batch.verify_crc().map_err(|error| at(&error))?;
    if header.is_control() || header.is_transactional() {
        return Ok(());
    }
    for record in record_iter(batch, scratch).map_err(|error| at(&error))? {
        let record = record.map_err(|error| at(&error))?;
        if let Some(key) = record.key {
            take(record.offset, key, record.value)?;
        }
    }
    Ok(())
}
