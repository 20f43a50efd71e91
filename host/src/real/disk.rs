//! Directories, names, locks and facts about file systems.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, FlockOperation, StatxFlags, flock, fstat, fsync, stat, statvfs, statx,
};
use rustix::io::{Errno, retry_on_intr};

use super::apart::Apart;
use super::file::RealFile;
use super::pools::Pools;
use crate::{
    Completion, DirEntry, Disk, EntryKind, File, LockGuard, OpenMode, Space, is_out_of_descriptors,
};

/// `STATX_MNT_ID_UNIQUE` (Linux 6.8): a mount id that is never given twice in one boot.
const MNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// The files of the machine.
#[derive(Debug)]
pub(super) struct RealDisk {
    pools: Arc<Pools>,
    apart: Arc<Apart>,
}

impl RealDisk {
    pub(super) fn new(pools: Arc<Pools>) -> Self {
        Self {
            pools,
            apart: Arc::default(),
        }
    }

    fn open_file(&self, path: &Path, mode: OpenMode) -> io::Result<RealFile> {
        let mut options = OpenOptions::new();
        options.read(true).mode(0o600);
        match mode {
            OpenMode::Read => {}
            OpenMode::Write => {
                options.write(true);
            }
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
            }
            OpenMode::Create => {
                options.write(true).create(true);
            }
        }
        let file = options.open(path)?;
        Ok(RealFile::new(
            path.to_owned(),
            file,
            Arc::clone(&self.pools),
        ))
    }
}

fn list(path: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        // A name that is no UTF-8 is nothing of ours, and its readable form names nothing.
        let (name, ours) = match entry.file_name().into_string() {
            Ok(name) => (name, true),
            Err(name) => (name.to_string_lossy().into_owned(), false),
        };
        let (kind, len) = if ours && kind.is_dir() {
            (EntryKind::Dir, 0)
        } else if ours && kind.is_file() {
            match entry.metadata() {
                Ok(metadata) => (EntryKind::File, metadata.len()),
                // Removed since the directory was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            }
        } else {
            (EntryKind::Other, 0)
        };
        entries.push(DirEntry { name, kind, len });
    }
    entries.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
    Ok(entries)
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(self.open_file(path, mode)?))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        let file = self.open_file(path, OpenMode::Create)?;
        let descriptor = file.descriptor().ok_or(io::ErrorKind::Unsupported)?;
        match retry_on_intr(|| flock(descriptor, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => Ok(Box::new(RealLock {
                file: Arc::new(file),
            })),
            Err(Errno::WOULDBLOCK) => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => Err(error.into()),
        }
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let stat = retry_on_intr(|| statvfs(path))?;
        Ok(Space {
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
            available: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }

    fn boot_id(&self) -> Option<String> {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let id = id.trim();
        (!id.is_empty()).then(|| id.to_owned())
    }

    /// The kernel's unique mount id where it has one (Linux 6.8); else the plain one, which may
    /// be given again after an unmount, with the device's numbers.
    fn mount_id(&self, path: &Path) -> Option<String> {
        let ask = |flags| retry_on_intr(|| statx(CWD, path, AtFlags::empty(), flags)).ok();
        let stat = ask(MNT_ID_UNIQUE)?;
        if stat.stx_mask & MNT_ID_UNIQUE.bits() != 0 {
            return Some(format!("unique-{}", stat.stx_mnt_id));
        }
        let stat = ask(StatxFlags::MNT_ID)?;
        (stat.stx_mask & StatxFlags::MNT_ID.bits() != 0).then(|| {
            format!(
                "{}-{}:{}",
                stat.stx_mnt_id, stat.stx_dev_major, stat.stx_dev_minor
            )
        })
    }

    fn list(&self, path: &Path) -> Completion<Vec<DirEntry>> {
        let path = path.to_owned();
        self.pools.directory.start(move || list(&path))
    }

    fn rename(&self, from: &Path, to: &Path) -> Completion<()> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.pools.directory.start(move || fs::rename(from, to))
    }

    fn remove(&self, path: &Path) -> Completion<()> {
        let path = path.to_owned();
        self.pools.directory.start(move || fs::remove_file(path))
    }

    fn remove_dir(&self, path: &Path) -> Completion<()> {
        let path = path.to_owned();
        self.pools.directory.start(move || fs::remove_dir(path))
    }

    fn sync_dir(&self, path: &Path) -> Completion<()> {
        // Opened here: the path means the directory that it names now.
        match fs::File::open(path) {
            Ok(dir) => self
                .pools
                .sync
                .of(&dir)
                .start(move || Ok(retry_on_intr(|| fsync(&dir))?)),
            Err(error) if is_out_of_descriptors(&error) => {
                let (path, apart) = (path.to_owned(), Arc::clone(&self.apart));
                self.pools
                    .sync
                    .of_unknown()
                    .start(move || apart.sync_dir(&path))
            }
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}

/// `flock` belongs to the open description, so two guards of one process exclude each other too.
#[derive(Debug)]
struct RealLock {
    file: Arc<RealFile>,
}

impl LockGuard for RealLock {
    fn file(&self) -> Arc<dyn File> {
        Arc::<RealFile>::clone(&self.file)
    }

    fn is_in_place(&self) -> bool {
        let Some(held) = self.file.descriptor().and_then(|file| fstat(file).ok()) else {
            return true;
        };
        match retry_on_intr(|| stat(self.file.path())) {
            Ok(there) => (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino),
            Err(error) => !matches!(error, Errno::NOENT | Errno::NOTDIR),
        }
    }
}

impl Drop for RealLock {
    /// Said outright, since a handle from [`LockGuard::file`] may keep the descriptor open.
    fn drop(&mut self) {
        if let Some(descriptor) = self.file.descriptor()
            && let Err(error) = flock(descriptor, FlockOperation::Unlock)
        {
            tracing::warn!(path = %self.file.path().display(), %error, "unlocking failed");
        }
    }
}
