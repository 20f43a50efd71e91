//! A limit on the time that a sync may take: a disk that hangs is one that failed.
//!
//! What always holds: of every sync of the node, of files and of names, whoever waits for it hears
//! within the limit. One that has not returned by then is answered with an error, which ends its log
//! directory as any failed sync does (`docs/durability.md` F1), and what it does later is heard by
//! nobody. One that takes long is told of while it does, and when it returns.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use millrace_host::{
    BoxFuture, Clock, Completion, DirEntry, Disk, File, FileMap, Host, LockGuard, Mono, OpenMode,
    Space,
};

use crate::metrics::SyncMetrics;

/// A sync is told of once it has taken this long, or half its limit where that is less.
const SLOW_AFTER: Duration = Duration::from_secs(1);

/// One line about slow syncs in this time; those that never return are all told of.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// The machine as the node is to see it: the same, with syncs that end within `limit`
/// (`log.sync.timeout.ms`).
pub(crate) fn watched(host: &Host, limit: Duration, metrics: &SyncMetrics) -> Host {
    let watch = Watch {
        clock: Arc::clone(&host.clock),
        limit,
        metrics: metrics.clone(),
        last_told: Mutex::default(),
    };
    Host {
        disk: Arc::new(WatchedDisk {
            disk: Arc::clone(&host.disk),
            watch: Arc::new(watch),
        }),
        ..host.clone()
    }
}

/// What all watched syncs share.
struct Watch {
    clock: Arc<dyn Clock>,
    limit: Duration,
    metrics: SyncMetrics,
    /// When a slow sync was told of last, and how many were not since.
    last_told: Mutex<(Option<Mono>, u64)>,
}

impl Watch {
    /// The same sync, which ends within the limit.
    fn sync(self: &Arc<Self>, path: &Path, sync: Completion<()>) -> Completion<()> {
        Box::pin(WatchedSync {
            began: self.clock.now().mono,
            watch: Arc::clone(self),
            path: path.to_owned(),
            sync,
            stage: Stage::Swift,
            timer: None,
        })
    }

    fn slow_after(&self) -> Duration {
        SLOW_AFTER.min(self.limit / 2)
    }

    /// How many slow syncs were not told of since the last one, if one may be told of now.
    fn permit(&self, now: Mono) -> Option<u64> {
        let mut told = self
            .last_told
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if told.0.is_some_and(|last| now.since(last) < LOG_INTERVAL) {
            told.1 += 1;
            return None;
        }
        told.0 = Some(now);
        Some(std::mem::take(&mut told.1))
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// How far a sync has come on its way to be given up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It may still be swift.
    Swift,
    /// It is counted as under way for long.
    Slow,
    /// It has ended, one way or the other.
    Ended,
}

/// A sync on its way.
struct WatchedSync {
    watch: Arc<Watch>,
    path: PathBuf,
    began: Mono,
    sync: Completion<()>,
    stage: Stage,
    /// To the end of the stage. A sync that is done when it is first asked for needs none.
    timer: Option<BoxFuture<'static, ()>>,
}

impl WatchedSync {
    /// The sync returned.
    fn returned(&mut self) {
        let was = std::mem::replace(&mut self.stage, Stage::Ended);
        let watch = &self.watch;
        let now = watch.clock.now().mono;
        let took = now.since(self.began);
        watch.metrics.seconds.observe(took.as_secs_f64());
        if was != Stage::Slow {
            return;
        }
        watch.metrics.under_way_for_long.dec();
        if let Some(held_back) = watch.permit(now) {
            let took_ms = millis(took);
            tracing::warn!(path = %self.path.display(), took_ms, similar_held_back = held_back,
                "a sync was slow");
        }
    }

    /// The time of the stage is over: what is owed to whoever waits, if the sync is given up.
    fn overdue(&mut self) -> Option<io::Error> {
        let watch = &self.watch;
        let metrics = &watch.metrics;
        let now = watch.clock.now().mono;
        let limit_ms = millis(watch.limit);
        let path = self.path.display();
        if self.stage == Stage::Swift {
            self.stage = Stage::Slow;
            metrics.slow.inc();
            metrics.under_way_for_long.inc();
            if let Some(held_back) = watch.permit(now) {
                let for_ms = millis(now.since(self.began));
                tracing::warn!(%path, for_ms, limit_ms, similar_held_back = held_back,
                    "a sync has not returned yet");
            }
            return None;
        }
        self.stage = Stage::Ended;
        metrics.under_way_for_long.dec();
        metrics.given_up.inc();
        tracing::error!(%path, limit_ms,
            "a sync hangs: it has not returned within log.sync.timeout.ms and counts as failed");
        Some(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("it has not returned within log.sync.timeout.ms, {limit_ms} ms"),
        ))
    }
}

impl Future for WatchedSync {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Poll::Ready(result) = this.sync.as_mut().poll(cx) {
            this.returned();
            return Poll::Ready(result);
        }
        loop {
            let after = match this.stage {
                Stage::Swift => this.watch.slow_after(),
                Stage::Slow | Stage::Ended => this.watch.limit,
            };
            let (clock, deadline) = (&this.watch.clock, this.began + after);
            let timer = this
                .timer
                .get_or_insert_with(|| clock.sleep_until(deadline));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            this.timer = None;
            if let Some(error) = this.overdue() {
                return Poll::Ready(Err(error));
            }
        }
    }
}

impl Drop for WatchedSync {
    /// Nobody waits any more: a directory that failed meanwhile, or a node that ends.
    fn drop(&mut self) {
        if self.stage == Stage::Slow {
            self.watch.metrics.under_way_for_long.dec();
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The node's files, with syncs that end.
#[derive(Debug)]
struct WatchedDisk {
    disk: Arc<dyn Disk>,
    watch: Arc<Watch>,
}

fn watched_file(file: Arc<dyn File>, watch: &Arc<Watch>) -> Arc<dyn File> {
    Arc::new(WatchedFile {
        file,
        watch: Arc::clone(watch),
    })
}

impl Disk for WatchedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(watched_file(self.disk.open(path, mode)?, &self.watch))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        Ok(Box::new(WatchedLock {
            guard: self.disk.lock(path)?,
            watch: Arc::clone(&self.watch),
        }))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }

    fn boot_id(&self) -> Option<String> {
        self.disk.boot_id()
    }

    fn mount_id(&self, path: &Path) -> Option<String> {
        self.disk.mount_id(path)
    }

    fn list(&self, path: &Path) -> Completion<Vec<DirEntry>> {
        self.disk.list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Completion<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> Completion<()> {
        self.disk.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> Completion<()> {
        self.disk.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> Completion<()> {
        self.watch.sync(path, self.disk.sync_dir(path))
    }
}

/// A file whose syncs end.
#[derive(Debug)]
struct WatchedFile {
    file: Arc<dyn File>,
    watch: Arc<Watch>,
}

impl File for WatchedFile {
    fn path(&self) -> &PathBuf {
        self.file.path()
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.file.write_vectored_at(bufs, offset)
    }

    fn read_resident_at(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        self.file.read_resident_at(buf, offset)
    }

    fn read_at(&self, offset: u64, len: usize) -> Completion<Bytes> {
        self.file.read_at(offset, len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.allocate(offset, len)
    }

    fn sync(&self) -> Completion<()> {
        self.watch.sync(self.file.path(), self.file.sync())
    }

    fn start_write_back(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.start_write_back(offset, len)
    }

    fn map(&self) -> io::Result<Arc<dyn FileMap>> {
        self.file.map()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.file.descriptor()
    }
}

/// A lock whose file's syncs end.
#[derive(Debug)]
struct WatchedLock {
    guard: Box<dyn LockGuard>,
    watch: Arc<Watch>,
}

impl LockGuard for WatchedLock {
    fn file(&self) -> Arc<dyn File> {
        watched_file(self.guard.file(), &self.watch)
    }

    fn is_in_place(&self) -> bool {
        self.guard.is_in_place()
    }
}
