//! What a process finds where one of its log directories should be.
//!
//! What always holds: the directory itself is untouched while something else stands in its place.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_host::{Completion, DirEntry, Disk, File, LockGuard, OpenMode, Space};

/// An empty directory below a mount point.
pub(super) const UNDER: &str = "/under";
/// A copy that was made some starts ago.
pub(super) const OLD: &str = "/old";

/// What stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    /// The directory.
    Itself,
    /// A device that fails.
    Failing,
    /// Nothing.
    Nothing,
    /// The empty mount point.
    MountPoint,
    /// A copy of the directory as it was some starts ago.
    OldCopy,
}

/// A disk with something else in the place of one directory.
#[derive(Debug)]
pub(super) struct Mounted {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) directory: &'static str,
    pub(super) stands: Stands,
}

impl Mounted {
    fn place(&self, path: &Path) -> io::Result<PathBuf> {
        let Ok(rest) = path.strip_prefix(self.directory) else {
            return Ok(path.to_owned());
        };
        let place = match self.stands {
            Stands::Itself => self.directory,
            Stands::Failing => return Err(io::Error::other("the device is gone")),
            Stands::Nothing => "/nothing",
            Stands::MountPoint => UNDER,
            Stands::OldCopy => OLD,
        };
        Ok(if rest.as_os_str().is_empty() {
            PathBuf::from(place)
        } else {
            Path::new(place).join(rest)
        })
    }

    fn later<T: Send + 'static>(
        &self,
        path: &Path,
        act: impl FnOnce(&Path) -> Completion<T>,
    ) -> Completion<T> {
        match self.place(path) {
            Ok(path) => act(&path),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}

impl Disk for Mounted {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.disk.open(&self.place(path)?, mode)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(&self.place(path)?)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        self.disk.lock(&self.place(path)?)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(&self.place(path)?)
    }

    fn boot_id(&self) -> Option<String> {
        self.disk.boot_id()
    }

    fn mount_id(&self, path: &Path) -> Option<String> {
        self.disk.mount_id(path)
    }

    fn list(&self, path: &Path) -> Completion<Vec<DirEntry>> {
        self.later(path, |path| self.disk.list(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> Completion<()> {
        let to = self.place(to);
        self.later(from, |from| match to {
            Ok(to) => self.disk.rename(from, &to),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        })
    }

    fn remove(&self, path: &Path) -> Completion<()> {
        self.later(path, |path| self.disk.remove(path))
    }

    fn remove_dir(&self, path: &Path) -> Completion<()> {
        self.later(path, |path| self.disk.remove_dir(path))
    }

    fn sync_dir(&self, path: &Path) -> Completion<()> {
        self.later(path, |path| self.disk.sync_dir(path))
    }
}
