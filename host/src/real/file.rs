//! One open file of the real disk.

use std::fs::File as StdFile;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::{FallocateFlags, fallocate, fdatasync};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2, pwritev, retry_on_intr};

use super::map::RealMap;
use super::pools::{Pools, ThreadPool};
use super::write_back;
use crate::{Completion, File, FileMap};

/// Most slices one system call takes (`IOV_MAX`).
const SLICES_MAX: usize = 1024;

/// How zeros are written where the file system cannot allocate.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// An open file. The descriptor lives in an `Arc` of its own, so that an operation on a pool
/// keeps it open after the last handle is dropped.
#[derive(Debug)]
pub(super) struct RealFile {
    path: PathBuf,
    inner: Arc<StdFile>,
    pools: Arc<Pools>,
    /// The pool of the device it is on, once it was asked for.
    sync_pool: OnceLock<ThreadPool>,
}

impl RealFile {
    pub(super) fn new(path: PathBuf, file: StdFile, pools: Arc<Pools>) -> Self {
        Self {
            path,
            inner: Arc::new(file),
            pools,
            sync_pool: OnceLock::new(),
        }
    }

    /// What is left after a first short write: the rest of the broken slice, then the others.
    fn write_rest(&self, bufs: &[IoSlice<'_>], offset: u64, mut done: usize) -> io::Result<usize> {
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        while done < total {
            let (first, inside) = locate(bufs, done);
            let part = [IoSlice::new(bufs[first].get(inside..).unwrap_or_default())];
            let run = if inside > 0 {
                &part[..]
            } else {
                &bufs[first..bufs.len().min(first + SLICES_MAX)]
            };
            let taken =
                retry_on_intr(|| pwritev(&*self.inner, run, offset.saturating_add(done as u64)));
            match taken {
                // The kernel takes nothing only when it has no room and says no more about it.
                Ok(0) => break,
                Ok(taken) => done += taken,
                Err(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) if done > 0 => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(done)
    }

    /// Takes room by writing zeros, for file systems that cannot allocate. Bytes that are there
    /// stay as they are.
    fn allocate_by_zeros(&self, offset: u64, len: u64) -> io::Result<()> {
        let end = offset.checked_add(len).ok_or(io::ErrorKind::InvalidInput)?;
        let mut at = self.len()?.max(offset);
        while at < end {
            let part = usize::try_from(end - at).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
            let taken = self.write_vectored_at(&[IoSlice::new(&ZEROS[..part])], at)?;
            if taken < part {
                return Err(io::ErrorKind::StorageFull.into());
            }
            at += taken as u64;
        }
        Ok(())
    }
}

/// The slice that holds byte `position` of all, and the place inside it.
fn locate(bufs: &[IoSlice<'_>], mut position: usize) -> (usize, usize) {
    for (index, buf) in bufs.iter().enumerate() {
        if position < buf.len() {
            return (index, position);
        }
        position -= buf.len();
    }
    (bufs.len(), 0)
}

/// Reads up to `len` bytes, never reserving more than the file has.
fn read_exact_at(file: &StdFile, offset: u64, len: usize) -> io::Result<Bytes> {
    let there = file.metadata()?.len().saturating_sub(offset);
    let len = usize::try_from(there).map_or(len, |there| there.min(len));
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let at = offset + bytes.len() as u64;
        if retry_on_intr(|| pread(file, spare_capacity(&mut bytes), at))? == 0 {
            break;
        }
    }
    // The allocator may give more capacity than asked, and the file may have grown meanwhile.
    bytes.truncate(len);
    Ok(Bytes::from(bytes))
}

impl File for RealFile {
    fn path(&self) -> &PathBuf {
        &self.path
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.write_rest(bufs, offset, 0)
    }

    fn read_resident_at(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        let read = retry_on_intr(|| {
            preadv2(
                &*self.inner,
                &mut [IoSliceMut::new(buf)],
                offset,
                ReadWriteFlags::NOWAIT,
            )
        });
        match read {
            Ok(read) => Ok(Some(read)),
            // The last two: a file system or kernel that cannot tell; all is cold there.
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn read_at(&self, offset: u64, len: usize) -> Completion<Bytes> {
        let file = Arc::clone(&self.inner);
        self.pools
            .cold
            .start(move || read_exact_at(&file, offset, len))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.inner.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        match retry_on_intr(|| fallocate(&*self.inner, FallocateFlags::empty(), offset, len)) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.allocate_by_zeros(offset, len),
            Err(error) => Err(error.into()),
        }
    }

    fn sync(&self) -> Completion<()> {
        let file = Arc::clone(&self.inner);
        self.sync_pool
            .get_or_init(|| self.pools.sync.of(&file))
            .start(move || Ok(retry_on_intr(|| fdatasync(&*file))?))
    }

    fn start_write_back(&self, offset: u64, len: u64) -> io::Result<()> {
        write_back::start(self.inner.as_fd(), offset, len)
    }

    fn map(&self) -> io::Result<Arc<dyn FileMap>> {
        Ok(Arc::new(RealMap::new(&self.inner)?))
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.inner.as_fd())
    }
}
