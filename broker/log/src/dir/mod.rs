//! A log directory: format, start, recovery, and what its partitions share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millrace_host::Host;

use crate::error::Error;
use crate::flusher::{Durable, FlushHandle};
use crate::ledger::LedgerEntry;
use crate::mark::{Incarnation, Position};
use crate::sink::DurabilitySink;

/// How a directory is opened.
#[derive(Clone, Debug)]
pub struct DirOptions {
    /// The cluster's id (22 characters of base64), as in Kafka's `meta.properties`.
    pub cluster_id: String,
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

/// One open log directory.
#[derive(Debug)]
pub struct LogDir {}

impl LogDir {
    /// Opens, or formats, the directory at `path`.
    pub async fn open(
        _host: Host,
        _path: &Path,
        _options: DirOptions,
    ) -> Result<(Arc<Self>, StartReport), Error> {
        unimplemented!()
    }

    /// Where it is.
    pub fn path(&self) -> &PathBuf {
        unimplemented!()
    }

    /// What is known of every partition that was ever written.
    pub fn entries(&self) -> BTreeMap<Incarnation, LedgerEntry> {
        unimplemented!()
    }

    /// What is known of one partition; `None`: never written (L2).
    pub fn entry(&self, _incarnation: &Incarnation) -> Option<LedgerEntry> {
        unimplemented!()
    }

    /// Whether the unverified bytes of that partition were written under this boot and mount (R3).
    pub fn same_boot(&self, _entry: &LedgerEntry) -> bool {
        unimplemented!()
    }

    /// Opens a partition's way to durability; one at a time per incarnation. `flushed` is its
    /// verified end.
    pub fn flush_handle(
        self: &Arc<Self>,
        _incarnation: Incarnation,
        _flushed: Position,
        _cut_count: u32,
        _sink: Arc<dyn DurabilitySink>,
    ) -> FlushHandle {
        unimplemented!()
    }

    /// Why the directory takes no writes, if so.
    pub fn offline(&self) -> Option<Arc<str>> {
        unimplemented!()
    }

    /// Takes the directory offline (F1, F2): nothing is written to it any more.
    pub fn fail(&self, _reason: &str) {
        unimplemented!()
    }

    /// Whether an append of `bytes` fits. `privileged` writes (metadata, deletes, offset commits)
    /// may use the reserve (F4).
    pub fn has_room(&self, _bytes: u64, _privileged: bool) -> bool {
        unimplemented!()
    }

    /// Bytes written and not flushed.
    pub fn unflushed_bytes(&self) -> u64 {
        unimplemented!()
    }

    /// Completes once the unflushed bytes are under their limit.
    pub async fn below_unflushed_limit(&self) {
        unimplemented!()
    }

    /// Clean stop: commits, settles, writes the ledger. Partitions have been closed before.
    pub fn close(&self) -> Durable {
        unimplemented!()
    }
}
