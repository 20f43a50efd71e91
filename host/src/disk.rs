//! Files and directories.
//!
//! Quick calls are synchronous (they touch the page cache or an inode at most); whatever may wait
//! for the device is a [`Completion`]. What always holds, and what the conformance suite checks:
//!
//! - Bytes written are visible to every later read of this process at once, and survive a kill.
//! - They survive a power cut only after a [`File::sync`] that *started after* the write returned
//!   success. Until then any subset of the sectors written since may be there.
//! - A name (created, renamed, removed) survives a power cut only after [`Disk::sync_dir`] of its
//!   directory; syncing the file is not enough.
//! - After a failed `sync` nothing is known of the bytes it covered, and a later success says
//!   nothing of them: the caller must treat the directory as lost (`durability.md` F1).

use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::Completion;

/// How [`Disk::open`] treats an existing or missing file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Must exist; reading only.
    Read,
    /// Must exist; reading and writing.
    Write,
    /// Must not exist; made, for reading and writing (`O_EXCL`).
    CreateNew,
    /// Made when missing; reading and writing.
    Create,
}

/// What a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A link, socket, device: nothing of ours.
    Other,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The last component of the path.
    pub name: String,
    /// What it names.
    pub kind: EntryKind,
    /// Bytes, for a file; 0 otherwise.
    pub len: u64,
}

/// Whether a call failed only because the process, or the machine, has as many files open as it may
/// (`EMFILE`, `ENFILE`): nothing was done, and it may succeed once others are closed.
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    let no_room = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
    no_room
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Room on the file system that holds a path, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What an unprivileged process may still take.
    pub available: u64,
}

/// The files of one node. Paths are absolute or relative to the process's working directory.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Opens a file. Quick.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// Makes one directory (mode 0700); its parent must exist. Quick. Fails with `AlreadyExists`.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Takes the exclusive lock on a file, making the file when missing. Fails with `WouldBlock`
    /// when another process (or another guard of this one) holds it. Released when the guard is
    /// dropped or the process ends.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>>;

    /// Room on the file system of `path`.
    fn space(&self, path: &Path) -> io::Result<Space>;

    /// Names this boot of the machine: differs after a power cut or reboot, equal after a kill.
    /// `None` when it cannot be read, which counts as another boot.
    fn boot_id(&self) -> Option<String>;

    /// Names the mount that holds `path`: differs when the file system was mounted anew. `None`
    /// when it cannot be read, which counts as another mount.
    fn mount_id(&self, path: &Path) -> Option<String>;

    /// The names in a directory, in byte order of the name.
    fn list(&self, path: &Path) -> Completion<Vec<DirEntry>>;

    /// Renames within one file system, replacing a file (or an empty directory) at `to`. Atomic
    /// for other processes; durable after [`Disk::sync_dir`] of both parents.
    fn rename(&self, from: &Path, to: &Path) -> Completion<()>;

    /// Removes a file. Its bytes stay readable through handles and maps already open.
    fn remove(&self, path: &Path) -> Completion<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> Completion<()>;

    /// Makes the names in a directory durable. Started when called.
    fn sync_dir(&self, path: &Path) -> Completion<()>;
}

/// An open file. Shared freely: no call moves a position. Closed when the last handle is dropped.
pub trait File: fmt::Debug + Send + Sync {
    /// The path it was opened by, for messages; it may have been renamed since.
    fn path(&self) -> &PathBuf;

    /// Writes the slices one after the other at `offset`, into the page cache. Returns how many
    /// bytes were taken, fewer than asked only when the device is full or a limit was met; the
    /// caller cuts a short write back with [`File::set_len`] before anything else. Quick.
    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// Reads into `buf` at `offset` only what is resident, without waiting for the device.
    /// `Ok(None)` when waiting would be needed; `Ok(Some(0))` at or past the end. May return fewer
    /// bytes than asked. Quick.
    fn read_resident_at(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>>;

    /// Reads exactly `len` bytes at `offset`, fewer only at the end of the file.
    fn read_at(&self, offset: u64, len: usize) -> Completion<Bytes>;

    /// The length in bytes. Quick.
    fn len(&self) -> io::Result<u64>;

    /// `true` when the length is 0. Quick.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts or extends (with zeros, no room taken) to `len` bytes. Quick.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Takes room for `len` bytes from `offset`, so that writing there cannot meet a full disk;
    /// the length grows to cover it and the new bytes read as zeros. Quick.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Makes every byte written before this call durable, and the length (`fdatasync`). Started
    /// when called.
    fn sync(&self) -> Completion<()>;

    /// Asks the device to begin writing the range back, so that the next sync is short. Promises
    /// nothing. Quick.
    fn start_write_back(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Maps a file that no longer changes, read-only. Quick.
    fn map(&self) -> io::Result<Arc<dyn FileMap>>;

    /// The descriptor, where there is one (not in simulation): for `sendfile` in this crate only.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;
}

/// A read-only view of a whole file that no longer changes.
pub trait FileMap: fmt::Debug + Send + Sync {
    /// The bytes.
    fn bytes(&self) -> &[u8];
}

/// Holds an exclusive lock until dropped.
pub trait LockGuard: fmt::Debug + Send + Sync {
    /// The locked file itself, to write in place.
    fn file(&self) -> Arc<dyn File>;

    /// Whether the path that it was taken at still leads to the locked file. Not so once somebody
    /// removed, renamed or replaced its directory, or mounted something over it; what the machine
    /// can't tell counts as in place. Doesn't block on a disk: path and file are in use.
    fn is_in_place(&self) -> bool;
}
