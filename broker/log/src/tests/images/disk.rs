//! A disk whose operations are recorded, and on which a test can plant what a broken broker does.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use millrace_host::{
    Clock, Completion, DirEntry, Disk, EntryKind, File, FileMap, LockGuard, OpenMode, Space,
};

use super::promise::Promises;
use super::volume::{Change, Inode, Op, Tree, Volume, is_dir};
use crate::handles::lock;

/// What is broken, so that a test can show that it is found. Each is what the disk would see of a
/// broker that has the fault in its code. A directory's path ends with `/`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Plant {
    /// No sync of such a file or directory is made, though it is believed to be.
    NoSync(fn(&str) -> bool),
    /// What waits for a sync of such a file goes on before the sync is done.
    EarlySync(fn(&str) -> bool),
}

/// The machine that outlives its processes.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) volume: Volume,
    /// Everything done, in order; `None` where nobody asks.
    pub(super) ops: Option<Vec<Op>>,
    /// Asked before each operation; what it said stands in `told`, one more than there are
    /// operations at the end.
    pub(super) witness: Option<Arc<Mutex<Promises>>>,
    pub(super) told: Vec<Promises>,
    locks: BTreeSet<Inode>,
    syncs: u64,
    inodes: u64,
}

impl Machine {
    pub(super) fn new(tree: Tree, recorded: bool) -> Arc<Mutex<Self>> {
        let used = tree.files.keys().chain(tree.dirs.keys()).max().copied();
        Arc::new(Mutex::new(Self {
            volume: Volume::of(tree),
            ops: recorded.then(Vec::new),
            witness: None,
            told: Vec::new(),
            locks: BTreeSet::new(),
            syncs: 0,
            inodes: used.unwrap_or(0) / 2 + 1,
        }))
    }

    pub(super) fn apply(&mut self, op: Op) {
        self.tell();
        self.volume.apply(&op);
        if let Some(ops) = &mut self.ops {
            ops.push(op);
        }
    }

    /// Notes what is promised by now.
    pub(super) fn tell(&mut self) {
        if let Some(witness) = &self.witness {
            self.told.push(lock(witness).clone());
        }
    }

    fn inode(&mut self, dir: bool) -> Inode {
        self.inodes += 1;
        self.inodes * 2 + u64::from(!dir)
    }

    /// The directory that holds a path's last name, and the name.
    fn parent(&self, path: &Path) -> io::Result<(Inode, String)> {
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let dir = self.volume.cache.lookup(parent);
        let dir = dir.ok_or(io::ErrorKind::NotFound)?;
        let name = path.file_name().and_then(|name| name.to_str());
        Ok((dir, name.ok_or(io::ErrorKind::InvalidInput)?.to_owned()))
    }

    fn name(&mut self, path: &Path, inode: Option<Inode>) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        let names = vec![(name, inode)];
        self.apply(Op::Change(Change::Names { dir, names }));
        Ok(())
    }

    fn found(&self, path: &Path) -> io::Result<Inode> {
        let found = self.volume.cache.lookup(path);
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// One process's view of a machine.
#[derive(Clone)]
pub(super) struct RecordedDisk {
    pub(super) machine: Arc<Mutex<Machine>>,
    pub(super) boot: u32,
    /// How long a sync takes, by which clock; `None`: it is done at once. Nothing else takes time.
    pub(super) slow: Option<(Duration, Arc<dyn Clock>)>,
    pub(super) plant: Option<Plant>,
}

impl fmt::Debug for RecordedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordedDisk").finish_non_exhaustive()
    }
}

fn ready<T: Send + 'static>(result: io::Result<T>) -> Completion<T> {
    Box::pin(std::future::ready(result))
}

impl RecordedDisk {
    pub(super) fn on(machine: &Arc<Mutex<Machine>>, boot: u32) -> Self {
        Self {
            machine: Arc::clone(machine),
            boot,
            slow: None,
            plant: None,
        }
    }

    fn sync_inode(&self, inode: Inode, path: &Path) -> Completion<()> {
        let early = match self.plant {
            Some(Plant::NoSync(of)) if of(&path.to_string_lossy()) => return ready(Ok(())),
            Some(Plant::EarlySync(of)) => of(&path.to_string_lossy()),
            _ => false,
        };
        let sync = {
            let mut machine = lock(&self.machine);
            machine.syncs += 1;
            let sync = machine.syncs;
            machine.apply(Op::SyncBegun(sync, inode));
            sync
        };
        let machine = Arc::clone(&self.machine);
        let end = move || lock(&machine).apply(Op::SyncEnded(sync));
        let Some((span, clock)) = self.slow.clone() else {
            // No time passes, but others have their turn.
            return Box::pin(async move {
                tokio::task::yield_now().await;
                end();
                Ok(())
            });
        };
        if early {
            // It is never seen to end: the history may be cut off anywhere before.
            return ready(Ok(()));
        }
        let deadline = clock.now().mono + span;
        Box::pin(async move {
            clock.sleep_until(deadline).await;
            end();
            Ok(())
        })
    }
}

impl Disk for RecordedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut machine = lock(&self.machine);
        let inode = match machine.found(path) {
            Ok(_) if mode == OpenMode::CreateNew => {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            Ok(inode) if is_dir(inode) => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(inode) => inode,
            Err(error) if matches!(mode, OpenMode::Read | OpenMode::Write) => return Err(error),
            Err(_) => {
                let inode = machine.inode(false);
                machine.name(path, Some(inode))?;
                inode
            }
        };
        Ok(Arc::new(RecordedFile {
            disk: self.clone(),
            inode,
            path: path.to_owned(),
        }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut machine = lock(&self.machine);
        if machine.found(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = machine.inode(true);
        machine.name(path, Some(inode))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        let file = self.open(path, OpenMode::Create)?;
        let mut machine = lock(&self.machine);
        let inode = machine.found(path)?;
        if !machine.locks.insert(inode) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        drop(machine);
        let machine = Arc::clone(&self.machine);
        Ok(Box::new(Guard {
            machine,
            inode,
            file,
        }))
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        Ok(Space {
            total: 1 << 40,
            available: 1 << 39,
        })
    }

    fn boot_id(&self) -> Option<String> {
        Some(format!("boot {}", self.boot))
    }

    fn mount_id(&self, _path: &Path) -> Option<String> {
        Some("mount".to_owned())
    }

    fn list(&self, path: &Path) -> Completion<Vec<DirEntry>> {
        let machine = lock(&self.machine);
        let cache = &machine.volume.cache;
        let names = cache.lookup(path).and_then(|dir| cache.dirs.get(&dir));
        let Some(names) = names else {
            return ready(Err(io::ErrorKind::NotFound.into()));
        };
        let entry = |(name, inode): (&String, &Inode)| DirEntry {
            name: name.clone(),
            kind: if is_dir(*inode) {
                EntryKind::Dir
            } else {
                EntryKind::File
            },
            len: cache.files.get(inode).map_or(0, |file| file.len() as u64),
        };
        ready(Ok(names.iter().map(entry).collect()))
    }

    fn rename(&self, from: &Path, to: &Path) -> Completion<()> {
        let mut machine = lock(&self.machine);
        let renamed = (|| {
            let inode = machine.found(from)?;
            let ((dir, old), (to_dir, new)) = (machine.parent(from)?, machine.parent(to)?);
            assert_eq!(dir, to_dir, "nothing here is renamed across directories");
            let names = vec![(old, None), (new, Some(inode))];
            machine.apply(Op::Change(Change::Names { dir, names }));
            Ok(())
        })();
        ready(renamed)
    }

    fn remove(&self, path: &Path) -> Completion<()> {
        let mut machine = lock(&self.machine);
        let found = machine.found(path);
        ready(found.and_then(|_| machine.name(path, None)))
    }

    fn remove_dir(&self, path: &Path) -> Completion<()> {
        let mut machine = lock(&self.machine);
        let removed = machine.found(path).and_then(|inode| {
            let names = machine.volume.cache.dirs.get(&inode);
            if names.is_some_and(|names| !names.is_empty()) {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            machine.name(path, None)
        });
        ready(removed)
    }

    fn sync_dir(&self, path: &Path) -> Completion<()> {
        let found = lock(&self.machine).found(path);
        match found {
            // Told from the files inside by its end.
            Ok(inode) => self.sync_inode(inode, &path.join("")),
            Err(error) => ready(Err(error)),
        }
    }
}

#[derive(Debug)]
struct Guard {
    machine: Arc<Mutex<Machine>>,
    inode: Inode,
    file: Arc<dyn File>,
}

impl LockGuard for Guard {
    fn file(&self) -> Arc<dyn File> {
        Arc::clone(&self.file)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        lock(&self.machine).locks.remove(&self.inode);
    }
}

#[derive(Debug)]
struct RecordedFile {
    disk: RecordedDisk,
    inode: Inode,
    path: PathBuf,
}

impl RecordedFile {
    fn content(&self) -> Arc<Vec<u8>> {
        let machine = lock(&self.disk.machine);
        let content = machine.volume.cache.files.get(&self.inode);
        content.cloned().unwrap_or_default()
    }
}

impl File for RecordedFile {
    fn path(&self) -> &PathBuf {
        &self.path
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let parts: Vec<&[u8]> = bufs.iter().map(|buf| &**buf).collect();
        let bytes = Bytes::from(parts.concat());
        let len = bytes.len();
        let change = Change::Write {
            file: self.inode,
            at: offset as usize,
            bytes,
        };
        lock(&self.disk.machine).apply(Op::Change(change));
        Ok(len)
    }

    fn read_resident_at(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        let content = self.content();
        let rest = content.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(Some(len))
    }

    fn read_at(&self, offset: u64, len: usize) -> Completion<Bytes> {
        let content = self.content();
        let rest = content.get(offset as usize..).unwrap_or_default();
        ready(Ok(Bytes::copy_from_slice(&rest[..rest.len().min(len)])))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.content().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.len()? != len {
            let (file, len) = (self.inode, len as usize);
            lock(&self.disk.machine).apply(Op::Change(Change::Len { file, len }));
        }
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.set_len(self.len()?.max(offset + len))
    }

    fn sync(&self) -> Completion<()> {
        self.disk.sync_inode(self.inode, &self.path)
    }

    fn start_write_back(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn map(&self) -> io::Result<Arc<dyn FileMap>> {
        Ok(Arc::new(Map(self.content())))
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

#[derive(Debug)]
struct Map(Arc<Vec<u8>>);

impl FileMap for Map {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}
