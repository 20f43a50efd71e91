//! A disk that lies.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use millrace_host::{Completion, DirEntry, Disk, File, FileMap, LockGuard, OpenMode, Space};

use super::{Bug, batch};

/// Of so many syncs of the journal one does nothing. (The broker itself notices when its format or
/// its metadata are gone, and does not start.)
const SYNCS: u64 = 2;
/// Of so many reads that begin with a batch one is altered.
const READS: u64 = 5;

/// The disk below, and the lies told about it.
#[derive(Debug)]
pub(super) struct LyingDisk {
    below: Arc<dyn Disk>,
    bug: Bug,
    asked: Arc<AtomicU64>,
}

impl LyingDisk {
    pub(super) fn new(below: Arc<dyn Disk>, bug: Bug) -> Self {
        Self {
            below,
            bug,
            asked: Arc::default(),
        }
    }
}

impl Disk for LyingDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(LyingFile {
            below: self.below.open(path, mode)?,
            bug: self.bug,
            asked: Arc::clone(&self.asked),
        }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.below.create_dir(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        self.below.lock(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.below.space(path)
    }

    fn boot_id(&self) -> Option<String> {
        self.below.boot_id()
    }

    fn mount_id(&self, path: &Path) -> Option<String> {
        self.below.mount_id(path)
    }

    fn list(&self, path: &Path) -> Completion<Vec<DirEntry>> {
        self.below.list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Completion<()> {
        self.below.rename(from, to)
    }

    fn remove(&self, path: &Path) -> Completion<()> {
        self.below.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> Completion<()> {
        self.below.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> Completion<()> {
        self.below.sync_dir(path)
    }
}

#[derive(Debug)]
struct LyingFile {
    below: Arc<dyn File>,
    bug: Bug,
    asked: Arc<AtomicU64>,
}

impl LyingFile {
    fn is_nth(&self, n: u64) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed) % n == n - 1
    }

    fn is_journal(&self) -> bool {
        self.below.path().to_string_lossy().contains("/journal.")
    }

    fn is_segment(&self) -> bool {
        let path = self.below.path();
        path.extension().is_some_and(|extension| extension == "log")
            && !path.to_string_lossy().contains("__cluster_metadata")
    }
}

impl File for LyingFile {
    fn path(&self) -> &PathBuf {
        self.below.path()
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.below.write_vectored_at(bufs, offset)
    }

    fn read_resident_at(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        self.below.read_resident_at(buf, offset)
    }

    fn read_at(&self, offset: u64, len: usize) -> Completion<Bytes> {
        let read = self.below.read_at(offset, len);
        if self.bug != Bug::ReadsAlter || !self.is_segment() || !self.is_nth(READS) {
            return read;
        }
        Box::pin(async move {
            let bytes = read.await?;
            Ok(batch::first_altered(&bytes).unwrap_or(bytes))
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.below.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.below.set_len(len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.below.allocate(offset, len)
    }

    fn sync(&self) -> Completion<()> {
        if self.bug == Bug::SyncsLie && self.is_journal() && self.is_nth(SYNCS) {
            return Box::pin(std::future::ready(Ok(())));
        }
        let synced = self.below.sync();
        if self.bug != Bug::SyncErrorsAreHidden {
            return synced;
        }
        Box::pin(async move {
            // The lie.
            synced.await.or(Ok(()))
        })
    }

    fn start_write_back(&self, offset: u64, len: u64) -> io::Result<()> {
        self.below.start_write_back(offset, len)
    }

    fn map(&self) -> io::Result<Arc<dyn FileMap>> {
        self.below.map()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.below.descriptor()
    }
}
