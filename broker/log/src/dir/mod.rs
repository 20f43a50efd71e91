//! A log directory: format, start, recovery, and what its partitions share.
//!
//! What always holds: one process at a time has it open; after a failed sync or write nothing more
//! is written to it (F1, F2).

mod begin;
pub(crate) mod format;
pub(crate) mod history;
pub(crate) mod homes;
mod replay;
mod space;
mod start;
mod steps;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use millrace_host::sync::{Arc, Mutex, lock};
use millrace_host::{Disk, Host, LockGuard, TaskHandle, Vouched};
use tokio::sync::oneshot;

use crate::error::Error;
use crate::flusher::{Durable, FlushHandle, FlusherCounts, Opening, Shared};
use crate::ledger::LedgerEntry;
use crate::mark::{Incarnation, Position};
use crate::sink::DurabilitySink;
use crate::slots::SlotFile;
use homes::Homes;
use space::Room;

/// How a directory is opened.
#[derive(Clone, Debug)]
pub struct DirOptions {
    /// The cluster's id (22 characters of base64), as in Kafka's `meta.properties`. `None` takes
    /// the one that the directory has, or draws one for an empty directory.
    pub cluster_id: Option<String>,
    /// This node's id.
    pub node_id: i32,
    /// `log.flush.lag.ms`.
    pub flush_lag: Duration,
    /// `log.unflushed.bytes.max`.
    pub unflushed_bytes_max: u64,
    /// `log.dir.reserve.bytes`.
    pub reserve_bytes: u64,
    /// Size of a journal file at first; a multiple of 64 KiB.
    pub journal_initial_bytes: u64,
    /// Size a journal file grows to.
    pub journal_file_bytes_max: u64,
    /// From how many unflushed bytes on a partition is synced directly (C1).
    pub direct_sync_bytes: u64,
    /// How many files may hold unsettled bytes before the oldest are settled (S2).
    pub unsettled_files_max: usize,
}

/// What a start found.
#[derive(Clone, Debug, Default)]
pub struct StartReport {
    /// The directory was formatted by this start.
    pub formatted: bool,
    /// Bytes of journal entries written into segment files.
    pub replayed_bytes: u64,
    /// Partitions that aren't clean and recover at their first use.
    pub dirty: usize,
    /// Partitions that are offline for damage, with the reason.
    pub damaged: Vec<(Incarnation, String)>,
}

/// What a directory holds, by names alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// It was formatted before, by whatever version.
    pub is_formatted: bool,
    /// All names, in byte order.
    pub names: Vec<String>,
}

/// Generations of directories, by their ids.
pub type Generations = BTreeMap<[u8; 16], u64>;

/// A record in two slots, and what it says (L4).
pub type Slots = (SlotFile, Option<Vec<u8>>);

/// The name of the record in two slots that a start proves with its own files: what the node
/// promised in elections.
pub const SLOTS: &str = "quorum-state";

/// A file that says of its directory: the metadata log lies in another one. Two slots, whose record
/// is the broker's.
pub const METADATA_ELSEWHERE: &str = ".metadata-elsewhere";

/// One open log directory.
#[derive(Debug)]
pub struct LogDir {
    shared: Arc<Shared>,
    room: Arc<Room>,
    homes: Arc<Homes>,
    dir_id: [u8; 16],
    cluster_id: String,
    generation: u64,
    after_failure: bool,
    /// Still to come: that the last commit of the run before, made again, is durable (J4).
    repeated: tokio::sync::Mutex<Option<oneshot::Receiver<()>>>,
    /// The record in two slots that the start read and proved, until somebody takes it.
    slots: Mutex<Option<Slots>>,
    /// Held until the last reference is gone.
    _lock: Arc<dyn LockGuard>,
    task: Box<dyn TaskHandle>,
}

impl LogDir {
    /// Opens the directory at `path`, or formats it if it is empty.
    ///
    /// Ends when the directory can be served: earlier journals are folded and their unsettled bytes
    /// written into the segment files; what is dirty recovers at its first use (R7).
    pub async fn open(
        host: Host,
        path: &Path,
        options: DirOptions,
    ) -> Result<(Arc<Self>, StartReport), Error> {
        Self::open_known(host, path, options, &Generations::new()).await
    }

    /// The same, but a directory whose newest generation lies below the one that is `known` of it is
    /// refused, unchanged: it is an old copy (A1).
    pub async fn open_known(
        host: Host,
        path: &Path,
        options: DirOptions,
        known: &Generations,
    ) -> Result<(Arc<Self>, StartReport), Error> {
        start::open(host, path, options, known).await
    }

    /// What stands in the directory at `path`, by names alone. Changes nothing; a directory that
    /// isn't there holds nothing.
    pub async fn names(disk: &dyn Disk, path: &Path) -> Result<Names, Error> {
        let listed = match disk.list(path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            result => result.map_err(|error| Error::access(path, "list", path, error))?,
        };
        let names: Vec<String> = listed.into_iter().map(|entry| entry.name).collect();
        Ok(Names {
            is_formatted: names.iter().any(|name| name == format::NAME),
            names,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &PathBuf {
        &self.shared.path
    }

    /// The directory's id, as in `meta.properties`.
    pub fn id(&self) -> [u8; 16] {
        self.dir_id
    }

    /// The id of the cluster it belongs to, as in `meta.properties`.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// How often it was started, more or less: a copy with a lower one is an old copy (A1). Every
    /// later start finds it, or a higher one, on the disk.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The latest wall time stamped into the journal, milliseconds since 1970; 0 when there is none
    /// (A4).
    pub fn last_wall_ms(&self) -> i64 {
        lock(&self.shared.ledger).wall_ms
    }

    /// What is known of every partition that was ever written.
    pub fn entries(&self) -> BTreeMap<Incarnation, LedgerEntry> {
        lock(&self.shared.ledger).entries.clone()
    }

    /// What is known of one partition; `None`: never written (L2).
    pub fn entry(&self, incarnation: &Incarnation) -> Option<LedgerEntry> {
        lock(&self.shared.ledger).entries.get(incarnation).cloned()
    }

    /// The high watermark that is remembered of a partition; `None` if it was never written. While
    /// it is open, and after a crash, it may be further.
    pub fn high_watermark(&self, incarnation: &Incarnation) -> Option<i64> {
        let ledger = lock(&self.shared.ledger);
        let entry = ledger.entries.get(incarnation)?;
        Some(entry.high_watermark)
    }

    /// Every partition that was ever written.
    pub fn written(&self) -> Vec<Incarnation> {
        lock(&self.shared.ledger).entries.keys().copied().collect()
    }

    /// The partitions of one topic that were ever written.
    pub fn written_of(&self, topic_id: [u8; 16]) -> Vec<Incarnation> {
        let of = |partition| Incarnation {
            topic_id,
            partition,
        };
        let ledger = lock(&self.shared.ledger);
        let known = ledger.entries.range(of(0)..=of(i32::MAX));
        known.map(|(incarnation, _)| *incarnation).collect()
    }

    /// Whether the unverified bytes of that partition were written under this boot and mount (R3).
    pub fn same_boot(&self, entry: &LedgerEntry) -> bool {
        entry.since_generation >= lock(&self.shared.ledger).same_since
    }

    /// Whether a run of this boot ended with this directory failed: its page cache may lack bytes that
    /// were written and never became durable (R5).
    pub fn is_after_failure(&self) -> bool {
        self.after_failure
    }

    /// Opens a partition's way to durability; one at a time per incarnation. `flushed` is its
    /// verified end.
    pub fn flush_handle(
        self: &Arc<Self>,
        incarnation: Incarnation,
        flushed: Position,
        cut_count: u32,
        sink: Arc<dyn DurabilitySink>,
    ) -> FlushHandle {
        let opening = Opening {
            incarnation,
            flushed,
            cut_count,
            sink,
        };
        FlushHandle::new(Arc::clone(&self.shared), opening)
    }

    /// Why the directory takes no writes, if so: the first failure, or `stopped` after a clean stop.
    pub fn offline(&self) -> Option<Arc<str>> {
        self.shared.ended()
    }

    /// Withdrawn when it fails: what is read from its segments then counts for nothing.
    pub(crate) fn vouched(&self) -> &Vouched {
        &self.shared.vouched
    }

    /// Completes when the directory takes no writes any more, with what [`Self::offline`] says.
    pub async fn until_offline(&self) -> Arc<str> {
        self.shared.until_ended().await
    }

    /// Takes the directory offline (F1, F2): nothing is written to it any more.
    pub fn fail(&self, reason: &str) {
        self.shared.fail(reason);
    }

    /// Takes the directory offline if it is no longer where it was opened (F5). Whoever is told that
    /// something is durable need not ask: the flusher looks before it tells.
    pub fn look(&self) {
        let _told = self.shared.look();
    }

    /// The result of a sync: a failed one takes the directory offline (F1).
    pub(crate) fn synced(&self, path: &Path, result: io::Result<()>) -> Result<(), Error> {
        self.shared.synced(path, result)
    }

    /// As [`Self::fail`], for a caller that holds a partition's lock: its sink is called later.
    pub(crate) fn fail_under_lock(&self, reason: &str) {
        self.shared.fail_under_lock(reason);
    }

    /// Whether an append of `bytes` fits. `privileged` writes (metadata, deletes, offset commits)
    /// may use the reserve (F4).
    pub fn has_room(&self, bytes: u64, privileged: bool) -> bool {
        self.room.admit(bytes, privileged)
    }

    /// Bytes written and not flushed.
    pub fn unflushed_bytes(&self) -> u64 {
        self.shared.unflushed_bytes()
    }

    /// Completes once the unflushed bytes are under their limit.
    pub async fn below_unflushed_limit(&self) {
        self.shared.below_unflushed_limit().await;
    }

    /// What the flusher has done since the start.
    pub fn flusher_counts(&self) -> FlusherCounts {
        self.shared.counts()
    }

    /// The names of its partitions' directories.
    pub(crate) fn homes(&self) -> &Arc<Homes> {
        &self.homes
    }

    /// Completes once everything that the start read is durable. What a partition holds is shown to
    /// nobody before.
    pub(crate) async fn proven(&self) -> Result<(), Error> {
        let mut repeated = self.repeated.lock().await;
        if let Some(told) = repeated.as_mut() {
            // Of a failure the receiver tells once; whoever comes later hears it from here.
            if self.shared.ended().is_some() {
                return Err(self.shared.offline());
            }
            told.await.map_err(|_| self.shared.offline())?;
            *repeated = None;
        }
        Ok(())
    }

    /// The record in two slots named [`SLOTS`], if the start found one: read, and proven by the
    /// start's own syncs. Given once.
    pub fn take_slots(&self) -> Option<Slots> {
        lock(&self.slots).take()
    }

    /// Clean stop: commits, settles, writes the ledger. Partitions have been closed before.
    pub fn close(&self) -> Durable {
        self.shared.stop()
    }
}

impl Drop for LogDir {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.abandon();
    }
}

#[cfg(test)]
#[path = "crash_tests.rs"]
mod crash_tests;
#[cfg(test)]
#[path = "model_tests.rs"]
mod model;
