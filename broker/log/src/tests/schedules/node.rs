//! One log directory with a few partitions, as a model's tasks share them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_host::Host;
use millrace_host::sync::{Mutex, MutexGuard, PoisonError};
use millrace_protocol::records::BatchHeader;
use millrace_sim::schedules::{Memory, machine};

use super::witness::Witness;
use crate::dir::{DirOptions, LogDir};
use crate::error::Error;
use crate::fixture::Seen;
use crate::mark::Incarnation;
use crate::partition::{
    Append, AppendError, LogReader, LogSettings, PartitionLog, PartitionOptions, Partitions,
};
use crate::testing::{BatchSpec, batch};

pub(super) const LOG_DIR: &str = "/log";
/// Wall time of every append.
const WALL_MS: i64 = 1_700_000_000_000;
/// From so many unflushed bytes on a partition's file is synced instead of journaled.
pub(super) const DIRECT_BYTES: u64 = 400;

/// One process on one directory.
pub(super) struct Node {
    pub(super) disk: Arc<Memory>,
    pub(super) host: Host,
    pub(super) dir: Arc<LogDir>,
    partitions: Partitions,
}

/// One partition of topic `t`, as the server shares it.
pub(super) struct Partition {
    pub(super) log: Mutex<PartitionLog>,
    pub(super) reader: Arc<LogReader>,
    pub(super) witness: Arc<Witness>,
}

fn options() -> DirOptions {
    DirOptions {
        cluster_id: None,
        node_id: 1,
        flush_lag: Duration::from_millis(2),
        unflushed_bytes_max: 1 << 20,
        reserve_bytes: 0,
        journal_initial_bytes: 64 << 10,
        journal_file_bytes_max: 1 << 20,
        direct_sync_bytes: DIRECT_BYTES,
        unsettled_files_max: 8,
    }
}

impl Node {
    pub(super) async fn start() -> Self {
        Self::start_with(options()).await
    }

    /// One that takes at most so many unflushed bytes.
    pub(super) async fn limited(unflushed_bytes_max: u64) -> Self {
        Self::start_with(DirOptions {
            unflushed_bytes_max,
            ..options()
        })
        .await
    }

    async fn start_with(options: DirOptions) -> Self {
        let (host, disk) = machine();
        let opened = LogDir::open(host.clone(), LOG_DIR.as_ref(), options).await;
        let (dir, _) = opened.expect("an empty directory can be formatted");
        // One segment's files stay open: every other read has to open them again.
        let limits = PartitionOptions {
            open_segments_max: 1,
            ..PartitionOptions::default()
        };
        Self {
            disk,
            partitions: Partitions::new(dir.clone(), host.clone(), limits),
            host,
            dir,
        }
    }

    /// Opens partition `index`; a segment of it holds `segment_bytes`.
    pub(super) async fn open(&self, index: i32, segment_bytes: u64) -> Arc<Partition> {
        let incarnation = Incarnation {
            topic_id: [7; 16],
            partition: index,
        };
        let settings = LogSettings {
            segment_bytes,
            index_interval_bytes: 1,
            retention_bytes: Some(1),
            retention_ms: None,
            ..LogSettings::default()
        };
        let witness = Witness::new(self.disk.clone(), &format!("t-{index}"));
        let mut nothing = Seen::default();
        let sink = witness.clone();
        let opened = self
            .partitions
            .open(incarnation, "t", settings, sink, &mut nothing);
        let log = opened.await.expect("a new partition opens").log;
        let partition = Arc::new(Partition {
            reader: log.reader(),
            log: Mutex::new(log),
            witness,
        });
        partition.witness.attach(&partition);
        partition
    }

    /// Ends the process cleanly; everything waited for must come.
    pub(super) async fn stop(self) -> Result<(), Error> {
        self.dir.close().await
    }
}

impl Partition {
    pub(super) fn lock(&self) -> MutexGuard<'_, PartitionLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a batch of two records; `mark` tells it from every other one.
    pub(super) fn append(&self, mark: i64, payload: usize) -> Result<(), AppendError> {
        let mut log = self.lock();
        let base_offset = log.log_end();
        let bytes = Bytes::from(batch(&BatchSpec {
            base_offset,
            records: 2,
            timestamp: mark,
            payload,
            ..BatchSpec::default()
        }));
        let header = BatchHeader::parse(&bytes).expect("the batch is whole");
        self.witness.wrote(base_offset, base_offset + 2, &bytes);
        let appended = log.append(Append {
            bytes: &bytes,
            header: &header,
            base_offset,
            leader_epoch: 0,
            urgent: true,
            now_wall_ms: WALL_MS,
        });
        if appended.is_err() {
            self.witness.refused(base_offset);
        }
        appended.map(|_| ())
    }

    /// Cuts the log back to what counts as flushed, as a follower does to what its leader has.
    pub(super) async fn cut(&self) -> Result<(), Error> {
        let offset = {
            let _log = self.lock();
            self.witness.freeze()
        };
        let truncation = self.reader.plan_truncation(offset).await?;
        let Some(truncation) = truncation else {
            let log = self.lock();
            self.witness.cut(log.log_end(), log.cut_count());
            self.witness.told(log.flushed(), log.cut_count());
            return Ok(());
        };
        let work = {
            let mut log = self.lock();
            let work = log.begin_truncation(truncation)?;
            self.witness.cut(offset, log.cut_count());
            work
        };
        let outcome = work.run().await;
        self.lock().finish_truncation(outcome)
    }
}
