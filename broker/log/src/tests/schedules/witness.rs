//! What a partition is told of its durability, held against what the disk holds at that moment.
//!
//! What always holds, or the model fails: whatever counts as flushed is durable, in its segment or
//! in the journal; the flushed end only moves forward between two cuts, and never past the log's.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use millrace_host::Changing;
use millrace_sim::schedules::Memory;

use super::node::{LOG_DIR, Partition};
use crate::sink::DurabilitySink;

/// The bytes of a batch that the broker never rewrites begin here.
const KEPT: usize = 16;

/// The sink of one partition, which takes the partition's lock when it is called, as the server's.
pub(super) struct Witness {
    partition: OnceLock<Weak<Partition>>,
    disk: Arc<Memory>,
    dir: String,
    known: Mutex<Known>,
    /// Up to where everything is flushed, as core would have it; `None` once the directory failed.
    flushed: Changing<Option<i64>>,
}

#[derive(Debug, Default)]
struct Known {
    /// Each batch of the log by its base offset: the next one's offset and its bytes.
    batches: BTreeMap<i64, (i64, Bytes)>,
    cut_count: u32,
    flushed: i64,
    /// While a cut is decided the end that readers see doesn't move.
    frozen: bool,
}

impl Known {
    fn end(&self) -> i64 {
        let last = self.batches.values().next_back();
        last.map_or(0, |(next, _)| *next)
    }
}

impl Witness {
    pub(super) fn new(disk: Arc<Memory>, dir: &str) -> Arc<Self> {
        Arc::new(Self {
            partition: OnceLock::new(),
            disk,
            dir: dir.to_owned(),
            known: Mutex::default(),
            flushed: Changing::new(Some(0)),
        })
    }

    pub(super) fn attach(&self, partition: &Arc<Partition>) {
        let attached = self.partition.set(Arc::downgrade(partition));
        attached.expect("it is attached once");
    }

    /// Held for so short that no other task comes in.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Under the partition's lock, before the batch is written: a completion may come at once.
    pub(super) fn wrote(&self, base: i64, next: i64, bytes: &Bytes) {
        let mut known = self.known();
        let before = known.batches.insert(base, (next, bytes.clone()));
        assert!(before.is_none(), "two batches at {base}");
    }

    /// Under the same lock: nothing of it was written.
    pub(super) fn refused(&self, base: i64) {
        self.known().batches.remove(&base);
    }

    /// Nobody is shown more from here on until [`Self::cut`]: the end that they see.
    pub(super) fn freeze(&self) -> i64 {
        let mut known = self.known();
        known.frozen = true;
        known.flushed
    }

    /// Under the partition's lock: the log ends at `end` from now on.
    pub(super) fn cut(&self, end: i64, cut_count: u32) {
        let mut known = self.known();
        known.batches.split_off(&end);
        known.cut_count = cut_count;
        known.flushed = known.flushed.min(end);
        known.frozen = false;
    }

    /// Up to where readers may read.
    pub(super) fn flushed(&self) -> i64 {
        self.known().flushed
    }

    /// The batch that begins at `base`.
    pub(super) fn batch(&self, base: i64) -> Option<Bytes> {
        let known = self.known();
        known.batches.get(&base).map(|(_, bytes)| bytes.clone())
    }

    /// Completes when all that was written is flushed; `false` when the directory failed first.
    pub(super) async fn all_flushed(&self) -> bool {
        let end = self.known().end();
        let done = |flushed: &Option<i64>| flushed.is_none_or(|at| at >= end).then_some(*flushed);
        self.flushed.wait_for(done).await.is_some()
    }

    /// Completes when it was told that the directory failed.
    pub(super) async fn failed(&self) {
        let failed = |flushed: &Option<i64>| flushed.is_none().then_some(());
        self.flushed.wait_for(failed).await;
    }

    fn is_durable(&self, bytes: &Bytes) -> bool {
        let kept = &bytes[KEPT..];
        let dir = Path::new(LOG_DIR);
        self.disk.held(&dir.join(&self.dir), "", kept) || self.disk.held(dir, "journal.", kept)
    }
}

impl Witness {
    /// Under the partition's lock: the flusher says so, or is asked.
    pub(super) fn told(&self, upto: i64, cut_count: u32) {
        let mut known = self.known();
        if cut_count != known.cut_count || known.frozen {
            // As core does with completions from before a cut (C6).
            return;
        }
        assert!(
            known.flushed <= upto && upto <= known.end(),
            "{}: flushed {upto} comes after {} of {}",
            self.dir,
            known.flushed,
            known.end()
        );
        for (base, (next, bytes)) in known.batches.range(known.flushed..upto) {
            assert!(*next <= upto, "{}: {upto} is inside of a batch", self.dir);
            assert!(
                self.is_durable(bytes),
                "{}: {base} counts as flushed with {upto} and is not durable",
                self.dir
            );
        }
        known.flushed = upto;
        drop(known);
        self.flushed.modify(|flushed| {
            if let Some(flushed) = flushed {
                *flushed = upto;
            }
        });
    }
}

impl DurabilitySink for Witness {
    fn flushed(&self, upto: i64, cut_count: u32) {
        if let Some(partition) = self.partition.get().and_then(Weak::upgrade) {
            let _log = partition.lock();
            self.told(upto, cut_count);
        }
    }

    fn directory_failed(&self, _reason: &str) {
        if let Some(partition) = self.partition.get().and_then(Weak::upgrade) {
            let _log = partition.lock();
            self.flushed.modify(|flushed| *flushed = None);
        }
    }
}
