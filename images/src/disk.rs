//! A disk whose operations are recorded, and on which a test can plant what a broken broker does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use millrace_host::{
    Clock, Completion, DirEntry, Disk, EntryKind, File, FileMap, Host, LockGuard, OpenMode, Space,
};
use millrace_sim::Sim;

use crate::content::{Content, is_zero};
use crate::draw::Draw;
use crate::volume::{Change, Inode, Op, Volume, is_dir};

/// What is broken, so that a test can show that it is found. Each is what the disk would see of a
/// broker that has the fault in its code. A directory's path ends with `/`.
#[derive(Clone, Copy, Debug)]
pub enum Plant {
    /// No sync of such a file or directory is made, though it is believed to be.
    NoSync(fn(&str) -> bool),
    /// What waits for a sync of such a file goes on before the sync is done.
    EarlySync(fn(&str) -> bool),
}

/// What the disk does with the next sync of such a file: it fails.
#[derive(Clone, Copy, Debug)]
pub struct SyncFault {
    /// Which files.
    pub of: fn(&str) -> bool,
    /// Whether the cache lets go of what could not be written.
    pub lost: bool,
}

/// Called before each operation.
pub type Witness = Box<dyn FnMut() + Send>;

/// Called after each operation, with it and what it left.
pub type Watcher = Box<dyn FnMut(&Volume, &Op) + Send>;

/// The machine that outlives its processes.
pub struct Machine {
    /// Its file system.
    pub volume: Volume,
    /// Everything done, in order; `None` where nobody asks.
    pub ops: Option<Vec<Op>>,
    /// Asked before each operation.
    pub witness: Option<Witness>,
    /// Shown each operation once it is done.
    pub watcher: Option<Watcher>,
    /// A sync that is to fail.
    pub fault: Option<SyncFault>,
    /// Files with records that were closed before what was written to them was synced.
    pub closed_early: Vec<String>,
    /// Files that are open, and how often.
    open: BTreeMap<Inode, u32>,
    /// Changes before the running process.
    before: u64,
    locks: BTreeSet<Inode>,
    syncs: u64,
    inodes: u64,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").finish_non_exhaustive()
    }
}

/// Locks, whoever panicked while holding it.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Machine {
    /// A machine with this file system.
    pub fn new(volume: Volume, recorded: bool) -> Arc<Mutex<Self>> {
        // What is cached may have been made after what is certain, and gone again.
        let used = volume.cache.last_inode().max(volume.durable.last_inode());
        let named = volume
            .pending
            .iter()
            .filter_map(|(_, change)| match change {
                Change::Names { names, .. } => names.iter().filter_map(|name| name.1).max(),
                Change::Write { file, .. }
                | Change::Zeros { file, .. }
                | Change::Len { file, .. } => Some(*file),
            });
        let used = used.max(named.max().unwrap_or(0));
        Arc::new(Mutex::new(Self {
            before: volume.changes(),
            volume,
            ops: recorded.then(Vec::new),
            witness: None,
            watcher: None,
            fault: None,
            closed_early: Vec::new(),
            open: BTreeMap::new(),
            locks: BTreeSet::new(),
            syncs: 0,
            inodes: used / 2 + 1,
        }))
    }

    /// Does something.
    pub fn apply(&mut self, op: Op) {
        if let Some(witness) = &mut self.witness {
            witness();
        }
        self.volume.apply(&op);
        if let Some(watcher) = &mut self.watcher {
            watcher(&self.volume, &op);
        }
        if matches!(op, Op::Killed | Op::Left { .. }) {
            self.before = self.volume.changes();
        }
        if let Some(ops) = &mut self.ops {
            ops.push(op);
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

    fn content(&self, inode: Inode) -> Option<&Arc<Content>> {
        self.volume.cache.files.get(&inode)
    }
}

/// How long a sync takes. Nothing else takes time.
#[derive(Clone, Debug)]
pub enum SyncTime {
    /// So long, by this clock.
    Fixed(Duration, Arc<dyn Clock>),
    /// So long, and of some files much longer: others overtake them.
    Uneven {
        /// Of most.
        swift: Duration,
        /// Of those files.
        slow: Duration,
        /// Which, by their paths.
        of: fn(&str) -> bool,
        /// The clock to wait by.
        clock: Arc<dyn Clock>,
    },
    /// One to three milliseconds, drawn for each: those side by side end in any order.
    Drawn(Arc<Mutex<Draw>>, Arc<dyn Clock>),
}

/// One process's view of a machine.
#[derive(Clone)]
pub struct RecordedDisk {
    machine: Arc<Mutex<Machine>>,
    boot: u32,
    time: SyncTime,
    plant: Option<Plant>,
}

impl fmt::Debug for RecordedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordedDisk").finish_non_exhaustive()
    }
}

fn ready<T: Send + 'static>(result: io::Result<T>) -> Completion<T> {
    Box::pin(std::future::ready(result))
}

/// The next process on a machine, as node `n` of a simulation; how long its syncs take is drawn
/// from a seed.
pub fn host(sim: &Sim, machine: &Arc<Mutex<Machine>>, boot: u32, seed: u64) -> Host {
    let node = sim.node("n");
    let draw = Arc::new(Mutex::new(Draw::new(seed)));
    let time = SyncTime::Drawn(draw, node.clock.clone());
    let disk = RecordedDisk::on(machine, boot, time, None);
    Host {
        disk: Arc::new(disk),
        ..node
    }
}

impl RecordedDisk {
    /// What a process of the machine's boot number `boot` sees.
    pub fn on(
        machine: &Arc<Mutex<Machine>>,
        boot: u32,
        time: SyncTime,
        plant: Option<Plant>,
    ) -> Self {
        Self {
            machine: Arc::clone(machine),
            boot,
            time,
            plant,
        }
    }

    fn sync_inode(&self, inode: Inode, path: &Path) -> Completion<()> {
        let name = path.to_string_lossy();
        let early = match self.plant {
            Some(Plant::NoSync(of)) if of(&name) => return ready(Ok(())),
            Some(Plant::EarlySync(of)) => of(&name),
            _ => false,
        };
        let (sync, fails) = {
            let mut machine = lock(&self.machine);
            machine.syncs += 1;
            let sync = machine.syncs;
            machine.apply(Op::SyncBegun(sync, inode));
            (sync, machine.fault.take_if(|fault| (fault.of)(&name)))
        };
        if early {
            // It is never seen to end: the history may be cut off anywhere before.
            return ready(Ok(()));
        }
        let (span, clock) = match &self.time {
            SyncTime::Fixed(span, clock) => (*span, clock),
            SyncTime::Uneven {
                swift,
                slow,
                of,
                clock,
            } => (if of(&name) { *slow } else { *swift }, clock),
            SyncTime::Drawn(draw, clock) => {
                let more = lock(draw).below(2_000) as u64;
                (Duration::from_micros(1_000 + more), clock)
            }
        };
        let until = clock.sleep_until(clock.now().mono + span);
        let machine = Arc::clone(&self.machine);
        Box::pin(async move {
            until.await;
            let Some(SyncFault { lost, .. }) = fails else {
                lock(&machine).apply(Op::SyncEnded(sync));
                return Ok(());
            };
            lock(&machine).apply(Op::SyncFailed { sync, lost });
            Err(io::Error::other("the device failed"))
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
        *machine.open.entry(inode).or_default() += 1;
        let open = Open {
            machine: Arc::clone(&self.machine),
            inode,
            path: path.to_owned(),
            writer: mode != OpenMode::Read,
        };
        Ok(Arc::new(RecordedFile {
            disk: self.clone(),
            inode,
            path: path.to_owned(),
            open: Arc::new(open),
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
            len: machine.content(*inode).map_or(0, |file| file.len() as u64),
        };
        ready(Ok(names.iter().map(entry).collect()))
    }

    fn rename(&self, from: &Path, to: &Path) -> Completion<()> {
        let mut machine = lock(&self.machine);
        let renamed = (|| {
            let inode = machine.found(from)?;
            let ((dir, old), (to_dir, new)) = (machine.parent(from)?, machine.parent(to)?);
            if dir != to_dir {
                // Nothing of a log directory is: two changes of which one may be lost.
                return Err(io::ErrorKind::CrossesDevices.into());
            }
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

    fn is_in_place(&self) -> bool {
        let found = lock(&self.machine).found(self.file.path());
        found.is_ok_and(|inode| inode == self.inode)
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
    open: Arc<Open>,
}

/// The open file itself: a sync under way keeps it open.
#[derive(Debug)]
struct Open {
    machine: Arc<Mutex<Machine>>,
    inode: Inode,
    path: PathBuf,
    writer: bool,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut machine = lock(&self.machine);
        let open = machine.open.entry(self.inode).or_default();
        *open = open.saturating_sub(1);
        let is_last = *open == 0 && self.writer;
        let holds_records = self.path.extension().is_some_and(|end| end == "log");
        if is_last && holds_records && machine.volume.is_unsynced(self.inode, machine.before) {
            let path = self.path.display().to_string();
            machine.closed_early.push(path);
        }
    }
}

impl RecordedFile {
    fn with<T>(&self, look: impl FnOnce(&Content) -> T) -> T {
        let machine = lock(&self.disk.machine);
        match machine.content(self.inode) {
            Some(content) => look(content),
            None => look(&Content::default()),
        }
    }

    fn change(&self, change: Change) {
        lock(&self.disk.machine).apply(Op::Change(change));
    }
}

impl File for RecordedFile {
    fn path(&self) -> &PathBuf {
        &self.path
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let (file, at) = (self.inode, offset as usize);
        let len = bufs.iter().map(|buf| buf.len()).sum();
        self.change(if bufs.iter().all(|buf| is_zero(buf)) {
            Change::Zeros { file, at, len }
        } else {
            let parts: Vec<&[u8]> = bufs.iter().map(|buf| &**buf).collect();
            let bytes = Bytes::from(parts.concat());
            Change::Write { file, at, bytes }
        });
        Ok(len)
    }

    fn read_resident_at(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        let bytes = self.with(|content| content.read(offset as usize, buf.len()));
        buf[..bytes.len()].copy_from_slice(&bytes);
        Ok(Some(bytes.len()))
    }

    fn read_at(&self, offset: u64, len: usize) -> Completion<Bytes> {
        let bytes = self.with(|content| content.read(offset as usize, len));
        ready(Ok(bytes.into()))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.with(Content::len) as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.len()? != len {
            let (file, len) = (self.inode, len as usize);
            self.change(Change::Len { file, len });
        }
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.set_len(self.len()?.max(offset + len))
    }

    fn sync(&self) -> Completion<()> {
        let open = Arc::clone(&self.open);
        let sync = self.disk.sync_inode(self.inode, &self.path);
        Box::pin(async move {
            let done = sync.await;
            drop(open);
            done
        })
    }

    fn start_write_back(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn map(&self) -> io::Result<Arc<dyn FileMap>> {
        let bytes = self.with(|content| content.read(0, usize::MAX));
        Ok(Arc::new(Map(bytes)))
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

#[derive(Debug)]
struct Map(Vec<u8>);

impl FileMap for Map {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}
