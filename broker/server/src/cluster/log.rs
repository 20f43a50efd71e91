//! The metadata log: `__cluster_metadata-0`, Kafka's batches and records, on the same machinery as
//! every partition.
//!
//! What always holds: one proposal is one entry is one batch, so that it is there as a whole or not
//! at all; its leader epoch is the term of the writer, which grows with each start and was durable
//! before it was used; the first batch of a term says who leads; a batch counts only once it is
//! durable. One writer; a quorum puts an election in front of it and changes nothing here.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use millrace_host::{Host, Pool};
use millrace_log::dir::LogDir;
use millrace_log::mark::{Incarnation, SnapshotName};
use millrace_log::partition::{Append, LogSettings, PartitionLog, Partitions, Replay};
use millrace_log::sink::DurabilitySink;
use millrace_protocol::ids::TopicId;
use millrace_protocol::metadata::MetadataRecord;
use millrace_protocol::metadata::control::{ControlValue, ElectionVoter, LeaderChange};
use millrace_protocol::producer::ProducerEntry;
use millrace_protocol::records::{BatchBuilder, BatchHeader, ControlType, Options, control_batch};
use tokio::sync::watch;

use super::hard_state::{self, HardState, HardStateFile, Vote};
use super::load::{Loaded, Source};
use super::{Entry, MetadataError, Quorum};

/// The topic's name, hence the directory's.
const TOPIC: &str = "__cluster_metadata";

/// Which partition it is.
pub(super) const INCARNATION: Incarnation = Incarnation {
    topic_id: TopicId::METADATA.to_bytes(),
    partition: 0,
};

/// Whether a name in a log directory says that the metadata log is there: its partition's directory,
/// or the file of what was promised in elections, which comes first.
pub(crate) fn is_metadata_name(name: &str) -> bool {
    let partition = name
        .strip_prefix(TOPIC)
        .and_then(|rest| rest.strip_prefix('-'));
    partition == Some("0") || name == hard_state::FILE
}

/// Shortest and longest segment: what lies below a snapshot goes by whole segments.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = (64 << 10)..=(1 << 30);

/// The log, open for writing.
#[derive(Debug)]
pub(super) struct MetadataLog {
    host: Host,
    log_dir: Arc<LogDir>,
    /// The partition's directory.
    path: PathBuf,
    writer: Mutex<PartitionLog>,
    durable: watch::Receiver<Durable>,
    term: i32,
}

/// How far the log is durable, or why it never will be.
#[derive(Clone, Debug)]
pub(super) enum Durable {
    /// Every record below the offset is.
    Upto(i64),
    /// The log directory is lost.
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

/// An entry that is written, and not durable yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) end_offset: i64,
    pub(super) timestamp_ms: i64,
    pub(super) bytes: u64,
}

impl MetadataLog {
    /// Opens the log, reads what it holds, and begins a term in which this node may write.
    pub(super) async fn open(
        partitions: &Partitions,
        host: &Host,
        quorum: &Quorum,
    ) -> Result<(Self, Loaded), MetadataError> {
        let (sender, durable) = watch::channel(Durable::Upto(0));
        let bytes = quorum.snapshot_record_bytes;
        let settings = LogSettings {
            segment_bytes: bytes.clamp(*SEGMENT_BYTES.start(), *SEGMENT_BYTES.end()),
            retention_ms: None,
            delete: false,
            privileged: true,
            ..LogSettings::default()
        };
        let sink = Arc::new(Sink(sender));
        let log_dir = Arc::clone(partitions.dir());
        let mut promises = HardStateFile::open(host, &log_dir).await?;
        // The promise of a term and the proof of the log wait for the disk side by side.
        let mut no_producers = NoProducers;
        let (opened, began) = tokio::join!(
            partitions.open(INCARNATION, TOPIC, settings, sink, &mut no_producers),
            begin_term(&mut promises, &log_dir, quorum, 0),
        );
        let (opened, mut term) = (opened?, began?);
        if let Some(reason) = opened.quarantined {
            return Err(MetadataError::Damaged(reason));
        }
        let path = log_dir.path().join(format!("{TOPIC}-0"));
        let entry = log_dir.entry(&INCARNATION);
        let named: Vec<SnapshotName> = entry.map_or_else(Vec::new, |entry| entry.snapshots);
        let source = Source {
            disk: &host.disk,
            dir: &path,
            reader: &opened.log.reader(),
            named: &named,
            log_start: opened.log_start,
            log_end: opened.log_end,
        };
        let loaded = source.load().await?;
        let newest = opened.epochs.last().map_or(0, |(epoch, _)| *epoch);
        let newest = newest.max(loaded.last.term);
        if newest >= term {
            // What was promised is gone; the log still says how far terms had come.
            term = begin_term(&mut promises, &log_dir, quorum, newest).await?;
        }
        let mut writer = opened.log;
        writer.begin_epoch(term, opened.log_end);
        let log = Self {
            host: host.clone(),
            log_dir,
            path,
            writer: Mutex::new(writer),
            durable,
            term,
        };
        Ok((log, loaded))
    }

    /// The term of this writer.
    pub(super) fn term(&self) -> i32 {
        self.term
    }

    /// Follows how far the log is durable.
    pub(super) fn durable(&self) -> watch::Receiver<Durable> {
        self.durable.clone()
    }

    /// The partition's directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The log directory it lies in.
    pub(super) fn log_dir(&self) -> &Arc<LogDir> {
        &self.log_dir
    }

    /// Writes the first entry of the term: who leads, and who elected it. It becomes durable in
    /// company of the next one.
    pub(super) fn append_leader(&self, leader_id: i32) -> Result<Written, MetadataError> {
        let voter = ElectionVoter {
            voter_id: leader_id,
            directory_id: TopicId::ZERO,
        };
        let change = LeaderChange {
            leader_id,
            voters: vec![voter],
            granting_voters: vec![voter],
        };
        self.append(false, |options, now_wall_ms| {
            let value = change.encode();
            let kind = ControlType::LeaderChange;
            Ok(control_batch(options, kind, &value, now_wall_ms))
        })
    }

    /// Writes one proposal as one entry; on an error nothing of it is there. It is durable once
    /// [`Self::durable`] says so: soon where somebody waits for it (`urgent`), else in company of
    /// the next one.
    pub(super) fn append_records(
        &self,
        records: &[MetadataRecord],
        urgent: bool,
    ) -> Result<Written, MetadataError> {
        self.append(urgent, |options, now_wall_ms| {
            let mut builder = BatchBuilder::new(options);
            for record in records {
                builder
                    .push(now_wall_ms, None, Some(&record.encode()), &[])
                    .map_err(MetadataError::Record)?;
            }
            Ok(builder.build())
        })
    }

    fn append(
        &self,
        urgent: bool,
        build: impl FnOnce(Options, i64) -> Result<Bytes, MetadataError>,
    ) -> Result<Written, MetadataError> {
        let now_wall_ms = self.host.clock.now().wall_ms;
        let mut writer = self.lock();
        let base_offset = writer.log_end();
        let options = Options {
            base_offset,
            leader_epoch: self.term,
            ..Options::default()
        };
        let bytes = build(options, now_wall_ms)?;
        let header = BatchHeader::parse(&bytes).map_err(MetadataError::Record)?;
        let append = Append {
            bytes: &bytes,
            header: &header,
            base_offset,
            leader_epoch: self.term,
            urgent,
            now_wall_ms,
        };
        let appended = writer
            .append(append)
            .map_err(|error| MetadataError::Refused(error.to_string()))?;
        if urgent {
            writer.flush_now();
        }
        Ok(Written {
            end_offset: appended.next_offset,
            timestamp_ms: header.max_timestamp,
            bytes: bytes.len() as u64,
        })
    }

    /// Names a snapshot whose file is durable; when this returns, a start will use it.
    pub(super) async fn name_snapshot(&self, entry: Entry, crc: u32) -> Result<(), MetadataError> {
        let named = self.lock().name_state(entry.end_offset, crc);
        named.await.map_err(MetadataError::from)
    }

    /// Lets go of the log below `to`, which a named snapshot stands in for. Files of segments go in
    /// the background.
    pub(super) async fn advance_start(&self, to: i64) -> Result<(), MetadataError> {
        if to <= self.lock().log_start() {
            return Ok(());
        }
        let marked = self.lock().advance_log_start(to)?;
        marked.await?;
        let removal = self.lock().finish_log_start(to);
        let work = async move {
            if let Err(error) = removal.run().await {
                tracing::warn!(%error, "segments of the metadata log stay for now");
            }
        };
        drop(
            self.host
                .spawn
                .spawn(Pool::Data, "metadata segment removal", Box::pin(work)),
        );
        Ok(())
    }

    /// Closes the log cleanly; nothing can be proposed after the call.
    pub(super) async fn close(&self) -> Result<(), MetadataError> {
        let closing = self.lock().close();
        closing.await.map_err(MetadataError::from)
    }

    fn lock(&self) -> MutexGuard<'_, PartitionLog> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins a term: one above all that was ever promised or written, made durable with this node's
/// vote for itself before anything is written in it.
async fn begin_term(
    file: &mut HardStateFile,
    log_dir: &LogDir,
    quorum: &Quorum,
    newest_epoch: i32,
) -> Result<i32, MetadataError> {
    let promised = file.state().map_or(0, |state| state.term);
    let term = promised.max(newest_epoch).checked_add(1);
    let term = term.ok_or_else(|| MetadataError::Refused("the terms are used up".into()))?;
    let vote = Vote {
        node_id: quorum.node_id,
        directory_id: TopicId::from_bytes(log_dir.id()),
    };
    let vote = Some(vote);
    file.write(HardState { term, vote }).await?;
    Ok(term)
}
