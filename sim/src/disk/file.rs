//! Open files, locks and maps of the simulated disk.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use millrace_host::{Completion, File, FileMap, LockGuard};

use super::inode::{Change, FileNode};
use super::planted::{DiskEffect, DiskOp};
use super::state::DiskState;
use super::{Begun, SimDisk, begin, crash, device_error, ended};
use crate::faults;
use crate::node::Node;
use crate::trace::Fnv;
use crate::world::lock;

/// The longest file, as on the usual file systems of Linux.
const LEN_MAX: u64 = 16 << 40;

/// An open file of one process.
#[derive(Debug)]
pub(super) struct SimFile {
    node: Arc<Node>,
    process: u64,
    number: u64,
    path: PathBuf,
    writable: bool,
    /// Failed write-backs of the file that this descriptor has told of, or that were before it.
    told: Arc<AtomicU64>,
}

impl SimFile {
    /// A handle on a file that exists.
    pub(super) fn new(disk: &SimDisk, number: u64, path: &Path, writable: bool) -> Self {
        let mut told = 0;
        if let Some(file) = lock(&disk.node.disk).files.get_mut(&number) {
            file.handles += 1;
            told = file.failures;
        }
        let node = Arc::clone(&disk.node);
        Self {
            node,
            process: disk.process,
            number,
            path: path.to_owned(),
            writable,
            told: Arc::new(AtomicU64::new(told)),
        }
    }

    fn check(&self, writes: bool) -> io::Result<()> {
        if !self.node.runs(self.process) {
            Err(ended())
        } else if writes && !self.writable {
            Err(io::ErrorKind::PermissionDenied.into())
        } else {
            Ok(())
        }
    }

    fn begin(&self, op: DiskOp) -> Begun {
        begin(&self.node, op, &self.path, (0, 0))
    }

    /// The machine writes back what was just written, if that is to fail.
    fn write_back(&self, disk: &mut DiskState) {
        let shared = &self.node.shared;
        let path = self.path.to_string_lossy();
        let chance = |per_mille| shared.chance(per_mille);
        let struck = disk.faults.strike(DiskOp::WriteBack, &path, chance);
        let sector = disk.sector;
        let file = disk.files.get_mut(&self.number);
        let (Some((_, DiskEffect::Error)), Some(file)) = (struck, file) else {
            return;
        };
        let changes = file.fail_write_back();
        crash::write_back_partly(shared, file, &changes, sector);
        shared.count(faults::WRITE_BACK_ERROR, 1);
        let (node, number) = (&self.node.name, self.number);
        shared.event(format_args!("write-back failed {node} {number}"));
    }

    /// Where a misdirected write goes: another sector of the file that can hold it.
    fn astray(&self, at: u64, len: u64, file_len: u64, sector: u64) -> u64 {
        let places = file_len.saturating_sub(len) / sector + 1;
        let lands = self.node.shared.draw(places) * sector + at % sector;
        if lands + len <= file_len { lands } else { at }
    }

    /// A write as the cache and the device get it.
    fn write(&self, begun: &Begun, at: u64, data: Bytes, (end, sector): (u64, u64)) -> Change {
        let (mut lands, mut device) = (at, data.clone());
        if begun.effect == Some(DiskEffect::Misdirect) {
            lands = self.astray(at, data.len() as u64, end, sector);
        }
        if begun.effect == Some(DiskEffect::FlipBit) {
            let mut flipped = data.to_vec();
            let bit = self.node.shared.draw(8 * data.len() as u64) as usize;
            flipped[bit / 8] ^= 1 << (bit % 8);
            device = Bytes::from(flipped);
        }
        Change::Write {
            at,
            data,
            lands,
            device,
        }
    }
}

/// Gathers the slices, at most `limit` bytes of them.
fn gather(bufs: &[IoSlice<'_>], limit: usize) -> Vec<u8> {
    let mut data = Vec::with_capacity(limit);
    for buf in bufs {
        data.extend_from_slice(&buf[..buf.len().min(limit - data.len())]);
    }
    data
}

/// Counts what a read finds of flipped and misdirected bytes.
fn note_rot(node: &Node, file: &mut FileNode, offset: u64, len: u64) {
    for kind in file.rot.read(offset, len) {
        node.shared.count(kind, 1);
    }
}

/// Tells contents apart in the trace.
fn hash(data: &[u8]) -> u64 {
    let mut hash = Fnv::START;
    for part in data.chunks(8) {
        let mut word = [0; 8];
        word[..part.len()].copy_from_slice(part);
        hash.add_word(u64::from_le_bytes(word));
    }
    hash.0
}

impl File for SimFile {
    fn path(&self) -> &PathBuf {
        &self.path
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.check(true)?;
        let begun = self.begin(DiskOp::Write);
        begun.failure(&self.node)?;
        let asked: usize = bufs.iter().map(|buf| buf.len()).sum();
        let wanted = match begun.effect {
            // Something of it, as a kernel does: none of it is an error, not a short write.
            Some(DiskEffect::Short) => {
                let less = self.node.shared.draw((asked as u64).max(2) - 1) as usize;
                (1 + less).min(asked)
            }
            _ => asked,
        };
        if wanted < asked {
            self.node.shared.count(faults::SHORT_WRITE, 1);
        }
        if offset
            .checked_add(asked as u64)
            .is_none_or(|end| end > LEN_MAX)
        {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if wanted == 0 {
            return if asked == 0 {
                Ok(0)
            } else {
                Err(io::ErrorKind::StorageFull.into())
            };
        }
        let mut disk = lock(&self.node.disk);
        let taken = (disk.take_room(self.number, offset, wanted as u64) - offset) as usize;
        if taken == 0 {
            self.node.shared.count(faults::NO_SPACE, 1);
            return Err(io::ErrorKind::StorageFull.into());
        }
        let data = Bytes::from(gather(bufs, taken));
        let sector = disk.sector;
        let file = disk.files.get_mut(&self.number).ok_or_else(ended)?;
        let end = file.cache.len.max(offset + taken as u64);
        let text = hash(&data);
        file.change(self.write(&begun, offset, data, (end, sector)));
        let (node, number) = (&self.node.name, self.number);
        self.node.shared.event(format_args!(
            "write {node} {number} {offset}+{taken} {text:016x}"
        ));
        self.write_back(&mut disk);
        Ok(taken)
    }

    fn read_resident_at(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        self.check(false)?;
        self.begin(DiskOp::Read).failure(&self.node)?;
        let mut disk = lock(&self.node.disk);
        let file = disk.files.get_mut(&self.number).ok_or_else(ended)?;
        let past_end = offset >= file.cache.len;
        if !past_end
            && self
                .node
                .shared
                .chance(self.node.shared.options.disk.cold_per_mille)
        {
            return Ok(None);
        }
        note_rot(&self.node, file, offset, buf.len() as u64);
        Ok(Some(file.cache.read(offset, buf)))
    }

    fn read_at(&self, offset: u64, len: usize) -> Completion<Bytes> {
        let (node, process, number) = (Arc::clone(&self.node), self.process, self.number);
        let span = node.shared.options.disk.read_us;
        let mut begun = begin(&node, DiskOp::Read, &self.path, span);
        let shared = Arc::clone(&node.shared);
        shared.start(async move {
            begun.wait(&node).await;
            if !node.runs(process) {
                return Err(ended());
            }
            begun.failure(&node)?;
            let mut disk = lock(&node.disk);
            let file = disk.files.get_mut(&number).ok_or_else(ended)?;
            let there = file.cache.len.saturating_sub(offset);
            let len = usize::try_from(there).map_or(len, |there| there.min(len));
            let mut bytes = vec![0; len];
            note_rot(&node, file, offset, len as u64);
            file.cache.read(offset, &mut bytes);
            Ok(Bytes::from(bytes))
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.check(false)?;
        Ok(lock(&self.node.disk)
            .files
            .get(&self.number)
            .ok_or_else(ended)?
            .cache
            .len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check(true)?;
        self.begin(DiskOp::SetLen).failure(&self.node)?;
        if len > LEN_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut disk = lock(&self.node.disk);
        disk.give_room_back(self.number, len);
        disk.files
            .get_mut(&self.number)
            .ok_or_else(ended)?
            .change(Change::Len(len));
        let (node, number) = (&self.node.name, self.number);
        self.node
            .shared
            .event(format_args!("set_len {node} {number} {len}"));
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.check(true)?;
        self.begin(DiskOp::Allocate).failure(&self.node)?;
        let end = offset.checked_add(len).filter(|end| *end <= LEN_MAX);
        let end = end.ok_or(io::ErrorKind::FileTooLarge)?;
        let mut disk = lock(&self.node.disk);
        if len > 0 && disk.take_room(self.number, offset, len) < end {
            self.node.shared.count(faults::NO_SPACE, 1);
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = disk.files.get_mut(&self.number).ok_or_else(ended)?;
        if end > file.cache.len {
            file.change(Change::Len(end));
        }
        let (node, number) = (&self.node.name, self.number);
        self.node
            .shared
            .event(format_args!("allocate {node} {number} {offset}+{len}"));
        Ok(())
    }

    fn sync(&self) -> Completion<()> {
        let (node, process, number) = (Arc::clone(&self.node), self.process, self.number);
        let told = Arc::clone(&self.told);
        let span = node.shared.options.disk.sync_us;
        let mut begun = begin(&node, DiskOp::Sync, &self.path, span);
        let upto = lock(&node.disk)
            .files
            .get(&number)
            .map_or(0, FileNode::next_number);
        let shared = Arc::clone(&node.shared);
        shared.start(async move {
            begun.wait(&node).await;
            if !node.runs(process) {
                return Err(ended());
            }
            let mut disk = lock(&node.disk);
            let sector = disk.sector;
            let file = disk.files.get_mut(&number).ok_or_else(ended)?;
            let hears = told.swap(file.failures, Ordering::Relaxed) < file.failures;
            if hears {
                // The rest is written back; what had failed stays in the cache and counts as clean.
                file.hear_of_failure();
                file.settle(upto);
                node.shared.count(faults::SYNC_ERROR, 1);
                node.shared
                    .event(format_args!("sync tells {} {number}", node.name));
                return Err(device_error());
            }
            if begun.failure(&node).is_err() {
                let changes = file.take_below(upto);
                crash::write_back_partly(&node.shared, file, &changes, sector);
                if node.shared.draw(2) == 0 {
                    file.lose_cache();
                    node.shared.count("cache lost by failed sync", 1);
                }
                node.shared
                    .event(format_args!("sync failed {} {number}", node.name));
                return Err(device_error());
            }
            file.settle(upto);
            node.shared
                .event(format_args!("synced {} {number} upto {upto}", node.name));
            Ok(())
        })
    }

    /// The device writes back when it likes; a power cut draws what it had done.
    fn start_write_back(&self, _offset: u64, _len: u64) -> io::Result<()> {
        self.check(true)
    }

    fn map(&self) -> io::Result<Arc<dyn FileMap>> {
        self.check(false)?;
        self.begin(DiskOp::Read).failure(&self.node)?;
        let mut disk = lock(&self.node.disk);
        let file = disk.files.get_mut(&self.number).ok_or_else(ended)?;
        note_rot(&self.node, file, 0, file.cache.len);
        Ok(Arc::new(SimMap(file.cache.bytes())))
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if self.node.runs(self.process) {
            let mut disk = lock(&self.node.disk);
            if let Some(file) = disk.files.get_mut(&self.number) {
                file.handles = file.handles.saturating_sub(1);
            }
            disk.free_if_unheld(self.number);
        }
    }
}

/// A copy: the file no longer changes, so nobody can tell.
#[derive(Debug)]
struct SimMap(Vec<u8>);

impl FileMap for SimMap {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A held lock.
#[derive(Debug)]
pub(super) struct SimLock {
    file: Arc<SimFile>,
    guard: u64,
}

impl SimLock {
    pub(super) fn new(file: Arc<SimFile>, guard: u64) -> Self {
        Self { file, guard }
    }
}

impl LockGuard for SimLock {
    fn file(&self) -> Arc<dyn File> {
        Arc::<SimFile>::clone(&self.file)
    }

    fn is_in_place(&self) -> bool {
        let found = lock(&self.file.node.disk).lookup(self.file.path());
        found.is_ok_and(|number| number == self.file.number)
    }
}

impl Drop for SimLock {
    /// Only its own: a later process may hold the lock by now.
    fn drop(&mut self) {
        let mut disk = lock(&self.file.node.disk);
        if disk.locks.get(&self.file.number) == Some(&self.guard) {
            disk.locks.remove(&self.file.number);
        }
    }
}
