//! Segments and snapshots of the metadata: batches, their records, metadata records in words.

use std::sync::Arc;

use bytes::Bytes;
use millrace_host::File;
use millrace_protocol::metadata::MetadataRecord;
use millrace_protocol::metadata::control::{
    ControlValue, KRaftVersion, LeaderChange, SnapshotFooter, SnapshotHeader, Voters,
};
use millrace_protocol::records::{
    Batch, BatchHeader, Codec, ControlType, HEADER_LEN, Marker, Record, Scratch, TimestampType,
    record_iter,
};

use super::{Dump, Line, Value, length};
use crate::error::Error;

/// How much is read at once when batches are smaller.
const PIECE: u64 = 1 << 20;

impl Dump<'_> {
    pub(super) async fn segment(
        &mut self,
        file: &Arc<dyn File>,
        metadata: bool,
    ) -> Result<(), Error> {
        let len = length(file)?;
        let metadata = metadata || self.options.metadata;
        let mut scratch = Scratch::new(self.options.inflated_bytes_max);
        let (mut position, mut piece, mut shown) = (0, Bytes::new(), 0);
        while position < len && shown < self.options.batches_max {
            if piece.is_empty() {
                piece = read_batch(file, position, len).await?;
            }
            let size = BatchHeader::parse(&piece).map(|header| header.size());
            let batch = match size {
                Ok(size) if size <= piece.len() => Batch::parse(piece.split_to(size)),
                Ok(size) if size as u64 <= len - position => {
                    piece = Bytes::new();
                    continue;
                }
                Ok(size) => {
                    let rest = len - position;
                    let what = format!("a batch of {size} bytes, and the file ends after {rest}");
                    return self.complain(position, what);
                }
                Err(_) if piece.len() < HEADER_LEN && (piece.len() as u64) < len - position => {
                    piece = Bytes::new();
                    continue;
                }
                Err(error) => Err(error),
            };
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    let what = self
                        .no_batch(file, position, len, error.to_string())
                        .await?;
                    return self.complain(position, what);
                }
            };
            if batch.header.last_offset() >= self.options.from_offset {
                shown += 1;
                self.batch(&batch, position, metadata, &mut scratch)?;
            }
            position += batch.bytes.len() as u64;
        }
        Ok(())
    }

    /// What follows the last whole batch, in words.
    async fn no_batch(
        &self,
        file: &Arc<dyn File>,
        from: u64,
        len: u64,
        why: String,
    ) -> Result<String, Error> {
        let mut position = from;
        while position < len {
            let read = file.read_at(position, PIECE.min(len - position) as usize);
            let bytes = read.await.map_err(Error::io("read", file.path()))?;
            if bytes.is_empty() || bytes.iter().any(|byte| *byte != 0) {
                let rest = len - from;
                return Ok(format!("no batch ({why}) and {rest} bytes to the end"));
            }
            position += bytes.len() as u64;
        }
        Ok(format!("{} zeros up to the end of the file", len - from))
    }

    fn batch(
        &mut self,
        batch: &Batch,
        position: u64,
        metadata: bool,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let header = &batch.header;
        let valid = batch.verify_crc().is_ok();
        self.say(&batch_line(header, position, valid))?;
        if !valid {
            return self.complain(position, "the checksum is wrong");
        }
        if !self.options.records {
            return Ok(());
        }
        let records = match record_iter(batch, scratch) {
            Ok(records) => records,
            Err(error) => return self.complain(position, error.to_string()),
        };
        let mut sequence = header.base_sequence;
        for record in records {
            let record = match record {
                Ok(record) => record,
                Err(error) => return self.complain(position, error.to_string()),
            };
            let line = record_line(header, &record, sequence);
            let line = match (header.is_control(), metadata) {
                (true, _) => control_line(line, &record),
                (false, true) => metadata_line(line, &record),
                (false, false) => line.bytes("key", record.key).bytes("payload", record.value),
            };
            self.say(&line)?;
            if sequence >= 0 {
                sequence = millrace_protocol::records::sequence_after(sequence, 1);
            }
        }
        Ok(())
    }
}

/// A piece from `position` that holds at least the batch there whole, if the file does.
async fn read_batch(file: &Arc<dyn File>, position: u64, len: u64) -> Result<Bytes, Error> {
    let left = len - position;
    let read = file.read_at(position, left.min(PIECE) as usize).await;
    let piece = read.map_err(Error::io("read", file.path()))?;
    let size = BatchHeader::parse(&piece).map_or(0, |header| header.size() as u64);
    if size > piece.len() as u64 && size <= left {
        let read = file.read_at(position, size as usize).await;
        return read.map_err(Error::io("read", file.path()));
    }
    Ok(piece)
}

fn time_name(kind: TimestampType) -> &'static str {
    match kind {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

fn batch_line(header: &BatchHeader, position: u64, valid: bool) -> Line {
    let codec = header.codec().map_or("unknown", Codec::name);
    Line::new("batch")
        .int("baseOffset", header.base_offset)
        .int("lastOffset", header.last_offset())
        .int("count", header.record_count)
        .int("baseSequence", header.base_sequence)
        .int("lastSequence", header.last_sequence())
        .int("producerId", header.producer_id)
        .int("producerEpoch", header.producer_epoch)
        .int("partitionLeaderEpoch", header.partition_leader_epoch)
        .flag("isTransactional", header.is_transactional())
        .flag("isControl", header.is_control())
        .unsigned("position", position)
        .int(time_name(header.timestamp_type()), header.max_timestamp)
        .unsigned("size", header.size() as u64)
        .int("magic", header.magic)
        .text("compresscodec", codec)
        .unsigned("crc", header.crc)
        .flag("isvalid", valid)
}

fn record_line(header: &BatchHeader, record: &Record<'_>, sequence: i32) -> Line {
    let len = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
    let headers: Vec<String> = record
        .headers
        .clone()
        .map(|header| String::from_utf8_lossy(header.key).into_owned())
        .collect();
    Line::new("record")
        .int("offset", record.offset)
        .int(time_name(header.timestamp_type()), record.timestamp)
        .int("keySize", len(record.key))
        .int("valueSize", len(record.value))
        .int("sequence", sequence)
        .text("headerKeys", format!("[{}]", headers.join(",")))
}

fn control_line(line: Line, record: &Record<'_>) -> Line {
    let kind = match ControlType::parse_key(record.key.unwrap_or_default()) {
        Ok(kind) => kind,
        Err(error) => return line.text("control", format!("unreadable: {error}")),
    };
    let value = record.value.unwrap_or_default();
    let words = match kind {
        ControlType::LeaderChange => told(LeaderChange::decode(value)),
        ControlType::SnapshotHeader => told(SnapshotHeader::decode(value)),
        ControlType::SnapshotFooter => told(SnapshotFooter::decode(value)),
        ControlType::KRaftVersion => told(KRaftVersion::decode(value)),
        ControlType::Voters => told(Voters::decode(value)),
        ControlType::Abort | ControlType::Commit => told(Marker::parse(record)),
        ControlType::Unknown(_) => "of a kind that this version doesn't know".to_owned(),
    };
    line.text("control", format!("{kind:?}"))
        .text("payload", words)
}

fn metadata_line(line: Line, record: &Record<'_>) -> Line {
    match record.value {
        Some(value) => line.text("payload", told(MetadataRecord::decode(value))),
        None => line.with("payload", Value::Null),
    }
}

/// A value in words, or why there is none.
fn told<T: std::fmt::Debug, E: std::fmt::Display>(read: Result<T, E>) -> String {
    match read {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("unreadable: {error}"),
    }
}
