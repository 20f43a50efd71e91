//! The metadata log: `__cluster_metadata-0`, Kafka's batches and records, on the same machinery as
//! every partition.
//!
//! What always holds: one proposal is one batch, so that it is there as a whole or not at all; its
//! leader epoch is the term of the writer, which grows with each start; a batch counts only once it
//! is durable. One writer; a quorum puts an election in front of it and changes nothing here.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use millrace_host::Host;
use millrace_log::mark::Incarnation;
use millrace_log::partition::{
    Append, LogReader, LogSettings, PartitionLog, Partitions, Read, Replay,
};
use millrace_log::sink::DurabilitySink;
use millrace_protocol::ids::TopicId;
use millrace_protocol::metadata::MetadataRecord;
use millrace_protocol::producer::ProducerEntry;
use millrace_protocol::records::{
    Batch, BatchBuilder, BatchHeader, Options, Scratch, batches, record_iter,
};
use tokio::sync::watch;

use super::MetadataError;

/// The topic's name, hence the directory's.
const TOPIC: &str = "__cluster_metadata";

/// Bytes read at once while the log is folded.
const LOAD_BYTES: usize = 1 << 20;

/// A record's batch is written by ourselves and never compressed.
const INFLATED_BYTES_MAX: usize = 1 << 20;

/// The log, open for writing.
#[derive(Debug)]
pub(super) struct MetadataLog {
    host: Host,
    writer: Mutex<PartitionLog>,
    durable: watch::Receiver<Durable>,
    term: i32,
}

/// How far the log is durable, or why it never will be.
#[derive(Clone, Debug)]
enum Durable {
    Upto(i64),
    Failed(Arc<str>),
}

/// Passes the flusher's completions on to whoever waits.
struct Sink(watch::Sender<Durable>);

impl DurabilitySink for Sink {
    fn flushed(&self, upto: i64, _cut_count: u32) {
        self.0.send_if_modified(|durable| match durable {
            Durable::Upto(old) if *old < upto => {
                *old = upto;
                true
            }
            Durable::Upto(_) | Durable::Failed(_) => false,
        });
    }

    fn directory_failed(&self, reason: &str) {
        self.0.send_replace(Durable::Failed(reason.into()));
    }
}

/// The metadata log has no producers.
struct NoProducers;

impl Replay for NoProducers {
    fn producers(&mut self, _entries: Vec<ProducerEntry>) {}
    fn batch(&mut self, _header: &BatchHeader) {}
}

impl MetadataLog {
    /// Opens the log and folds what it holds, record by record, into `fold`.
    pub(super) async fn open(
        partitions: &Partitions,
        host: &Host,
        mut fold: impl FnMut(i64, MetadataRecord) -> Result<(), MetadataError> + Send,
    ) -> Result<Self, MetadataError> {
        let (sender, durable) = watch::channel(Durable::Upto(0));
        let incarnation = Incarnation {
            topic_id: TopicId::METADATA.to_bytes(),
            partition: 0,
        };
        let settings = LogSettings {
            retention_ms: None,
            delete: false,
            privileged: true,
            ..LogSettings::default()
        };
        let sink = Arc::new(Sink(sender));
        let opened = partitions
            .open(incarnation, TOPIC, settings, sink, &mut NoProducers)
            .await?;
        if let Some(reason) = opened.quarantined {
            return Err(MetadataError::Damaged(reason));
        }
        // A term per start: the newest epoch in the log is the term of an earlier one.
        let term = opened.epochs.last().map_or(0, |(epoch, _)| *epoch) + 1;
        let reader = opened.log.reader();
        load(&reader, opened.log_start, opened.log_end, &mut fold).await?;
        let mut writer = opened.log;
        writer.begin_epoch(term, opened.log_end);
        Ok(Self {
            host: host.clone(),
            writer: Mutex::new(writer),
            durable,
            term,
        })
    }

    /// The term of this writer.
    pub(super) fn term(&self) -> i32 {
        self.term
    }

    /// The offset that the next record will get.
    pub(super) fn end(&self) -> i64 {
        self.lock().log_end()
    }

    /// Appends one proposal as one batch and waits until it is durable. An error of
    /// [`MetadataError::Unknown`] leaves open whether it will be found after a restart.
    pub(super) async fn append(&self, records: &[MetadataRecord]) -> Result<i64, MetadataError> {
        let now_wall_ms = self.host.clock.now().wall_ms;
        let (base_offset, end) = {
            let mut writer = self.lock();
            let base_offset = writer.log_end();
            let bytes = self.batch(records, base_offset, now_wall_ms)?;
            let header = BatchHeader::parse(&bytes).map_err(MetadataError::Record)?;
            let append = Append {
                bytes: &bytes,
                header: &header,
                base_offset,
                leader_epoch: self.term,
                urgent: true,
                now_wall_ms,
            };
            let appended = writer
                .append(append)
                .map_err(|error| MetadataError::Refused(error.to_string()))?;
            writer.flush_now();
            (base_offset, appended.next_offset)
        };
        let mut durable = self.durable.clone();
        let reached = durable
            .wait_for(|durable| match durable {
                Durable::Upto(upto) => *upto >= end,
                Durable::Failed(_) => true,
            })
            .await
            .map_err(|_| MetadataError::Unknown("the log was closed".into()))?;
        match &*reached {
            Durable::Upto(_) => Ok(base_offset),
            Durable::Failed(reason) => Err(MetadataError::Unknown(Arc::clone(reason))),
        }
    }

    fn batch(
        &self,
        records: &[MetadataRecord],
        base_offset: i64,
        now_wall_ms: i64,
    ) -> Result<Bytes, MetadataError> {
        let options = Options {
            base_offset,
            leader_epoch: self.term,
            ..Options::default()
        };
        let mut builder = BatchBuilder::new(options);
        for record in records {
            builder
                .push(now_wall_ms, None, Some(&record.encode()), &[])
                .map_err(MetadataError::Record)?;
        }
        Ok(builder.build())
    }

    /// Closes the log cleanly; nothing can be proposed after the call.
    pub(super) async fn close(&self) -> Result<(), MetadataError> {
        let closing = self.lock().close();
        closing.await.map_err(MetadataError::from)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, PartitionLog> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Folds the records from `from` up to `end`.
async fn load(
    reader: &LogReader,
    mut from: i64,
    end: i64,
    fold: &mut (impl FnMut(i64, MetadataRecord) -> Result<(), MetadataError> + Send),
) -> Result<(), MetadataError> {
    let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
    while from < end {
        let region = match reader.read(from, end, LOAD_BYTES, true).await? {
            Read::Region(region) => region,
            Read::Empty | Read::OutOfRange { .. } => {
                return Err(MetadataError::Damaged(format!(
                    "nothing can be read at offset {from}"
                )));
            }
        };
        let slice = region.slice;
        let len = usize::try_from(slice.len).map_err(|_| {
            MetadataError::Damaged(format!("a batch of {} bytes stands at {from}", slice.len))
        })?;
        let bytes = slice
            .file
            .read_at(slice.offset, len)
            .await
            .map_err(|error| {
                MetadataError::Damaged(format!("{}: {error}", slice.file.path().display()))
            })?;
        // A region may end inside a batch; the next one begins there.
        let before = from;
        for batch in batches(bytes).map_while(Result::ok) {
            fold_batch(&batch, &mut scratch, fold)?;
            from = batch.header.last_offset() + 1;
        }
        if from == before {
            return Err(MetadataError::Damaged(format!(
                "the batch at offset {from} is broken"
            )));
        }
    }
    Ok(())
}

fn fold_batch(
    batch: &Batch,
    scratch: &mut Scratch,
    fold: &mut (impl FnMut(i64, MetadataRecord) -> Result<(), MetadataError> + Send),
) -> Result<(), MetadataError> {
    batch.verify_crc().map_err(MetadataError::Record)?;
    if batch.header.is_control() {
        return Ok(());
    }
    for record in record_iter(batch, scratch).map_err(MetadataError::Record)? {
        let record = record.map_err(MetadataError::Record)?;
        let value = record.value.unwrap_or_default();
        let decoded = MetadataRecord::decode(value).map_err(|error| {
            MetadataError::Damaged(format!("the record at offset {}: {error}", record.offset))
        })?;
        fold(record.offset, decoded)?;
    }
    Ok(())
}
