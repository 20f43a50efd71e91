//! The disk of a node: one file system in memory, with a page cache in front of a device.
//!
//! What always holds: a process reads what it wrote; a power cut leaves of un-synced sectors and
//! names a drawn subset; nothing of a dead process takes effect, but for what it had written to
//! the cache.

pub(crate) mod crash;
pub(crate) mod faults;
mod file;
mod image;
mod inode;
mod names;

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use millrace_host::{Completion, DirEntry, Disk, EntryKind, File, LockGuard, OpenMode, Space};

use crate::node::Node;
use crate::world::lock;
use faults::{DiskEffect, DiskOp, Faults, Healing};
use file::{SimFile, SimLock};
use image::PAGE;
use inode::FileNode;
use names::{DirNode, Names, ROOT};

/// The shape of a disk. Spans are least and most microseconds of virtual time, drawn evenly; the
/// executor's timer rounds them up to whole milliseconds.
#[derive(Clone, Debug)]
pub struct DiskLimits {
    /// Bytes that reach the device together: 512 or 4096.
    pub sector: u64,
    /// Bytes that it holds, in pages of 4096.
    pub capacity: u64,
    /// How long a sync takes.
    pub sync_us: (u64, u64),
    /// How long a directory sync takes.
    pub sync_dir_us: (u64, u64),
    /// How long a cold read takes.
    pub read_us: (u64, u64),
    /// How long `list`, `rename`, `remove` and `remove_dir` take.
    pub name_us: (u64, u64),
    /// How many resident reads in a thousand find their bytes not resident.
    pub cold_per_mille: u32,
}

impl Default for DiskLimits {
    fn default() -> Self {
        Self {
            sector: 512,
            capacity: 1 << 40,
            sync_us: (0, 4000),
            sync_dir_us: (0, 4000),
            read_us: (0, 3000),
            name_us: (0, 2000),
            cold_per_mille: 50,
        }
    }
}

/// Where a flipped bit shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlipAt {
    /// On the device: seen after a power cut.
    Device,
    /// On the device and in the cache: seen at once.
    Everywhere,
}

/// Everything on one disk.
#[derive(Debug)]
pub(crate) struct DiskState {
    pub(crate) sector: u64,
    pub(crate) capacity: u64,
    pub(crate) files: BTreeMap<u64, FileNode>,
    pub(crate) names: Names,
    pub(crate) faults: Faults,
    next_inode: u64,
    used_pages: u64,
    /// Which guard holds the lock on a file.
    locks: BTreeMap<u64, u64>,
    next_guard: u64,
}

impl DiskState {
    pub(crate) fn new(limits: &DiskLimits) -> Self {
        Self {
            sector: limits.sector,
            capacity: limits.capacity,
            files: BTreeMap::new(),
            names: Names::new(),
            faults: Faults::new(),
            next_inode: ROOT + 1,
            used_pages: 0,
            locks: BTreeMap::new(),
            next_guard: 0,
        }
    }

    /// The process is gone: its locks and handles with it.
    pub(crate) fn end_process(&mut self) {
        self.locks.clear();
        for file in self.files.values_mut() {
            file.handles = 0;
        }
        self.forget_unheld();
        let named = self.files.values().filter(|file| file.links > 0);
        self.used_pages = named.map(|file| file.room.pages()).sum();
    }

    /// After a power cut: what no name leads to is gone, and counts are taken anew.
    pub(crate) fn forget_unreachable(&mut self) {
        let links = self.names.reachable();
        self.files.retain(|number, _| links.contains_key(number));
        self.names
            .dirs
            .retain(|number, _| links.contains_key(number));
        for (number, file) in &mut self.files {
            file.links = links.get(number).copied().unwrap_or(0);
            file.handles = 0;
            file.room.cut(file.cache.len);
        }
        self.used_pages = self.files.values().map(|file| file.room.pages()).sum();
    }

    /// Drops files that have neither name nor handle, now or after any power cut.
    fn forget_unheld(&mut self) {
        let Self { files, names, .. } = self;
        files
            .retain(|number, file| file.links > 0 || file.handles > 0 || names.may_return(*number));
    }

    fn free_pages(&self) -> u64 {
        (self.capacity / PAGE).saturating_sub(self.used_pages)
    }

    /// Takes room in a file; returns the end of what has it.
    fn take_room(&mut self, number: u64, offset: u64, len: u64) -> u64 {
        let free = self.free_pages();
        let Some(file) = self.files.get_mut(&number) else {
            return offset;
        };
        let (taken, end) = file.room.take(offset, len, free);
        self.used_pages += taken;
        end
    }

    fn give_room_back(&mut self, number: u64, len: u64) {
        if let Some(file) = self.files.get_mut(&number) {
            self.used_pages = self.used_pages.saturating_sub(file.room.cut(len));
        }
    }

    /// What a path leads to.
    fn lookup(&self, path: &Path) -> io::Result<u64> {
        let mut at = ROOT;
        for name in components(path)? {
            let dir = self
                .names
                .dirs
                .get(&at)
                .ok_or(io::ErrorKind::NotADirectory)?;
            at = *dir.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    /// The directory that holds a path's last name, and that name.
    fn parent<'a>(&self, path: &'a Path) -> io::Result<(u64, &'a str)> {
        let names = components(path)?;
        let (name, _) = names.split_last().ok_or(io::ErrorKind::InvalidInput)?;
        let dir = self.lookup(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
        if self.names.dirs.contains_key(&dir) {
            Ok((dir, name))
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
    }

    fn new_number(&mut self) -> u64 {
        self.next_inode += 1;
        self.next_inode - 1
    }

    /// Opens or makes a file; returns its number.
    fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<u64> {
        match self.lookup(path) {
            Ok(_) if mode == OpenMode::CreateNew => Err(io::ErrorKind::AlreadyExists.into()),
            Ok(number) if self.files.contains_key(&number) => Ok(number),
            Ok(_) => Err(io::ErrorKind::IsADirectory.into()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Err(error) if matches!(mode, OpenMode::Read | OpenMode::Write) => Err(error),
            Err(_) => {
                let (dir, name) = self.parent(path)?;
                let number = self.new_number();
                self.files.insert(number, FileNode::named());
                self.names
                    .change(dir, vec![(name.to_owned(), Some(number))], None);
                Ok(number)
            }
        }
    }

    fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        if self.lookup(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (dir, name) = self.parent(path)?;
        let number = self.new_number();
        self.names.dirs.insert(number, DirNode::default());
        self.names
            .change(dir, vec![(name.to_owned(), Some(number))], None);
        Ok(())
    }

    fn is_empty_dir(&self, number: u64) -> bool {
        self.names
            .dirs
            .get(&number)
            .is_some_and(|dir| dir.names.is_empty())
    }

    /// One name less for a file. Its room is free once no handle is left either.
    fn unlink(&mut self, number: u64) {
        if let Some(file) = self.files.get_mut(&number) {
            file.links = file.links.saturating_sub(1);
        }
        self.free_if_unheld(number);
    }

    fn free_if_unheld(&mut self, number: u64) {
        let unheld = self
            .files
            .get(&number)
            .is_some_and(|file| file.links + file.handles == 0);
        if unheld {
            // A power cut may bring the file back, so its bytes stay; its room is counted anew then.
            let pages = self.files.get(&number).map_or(0, |file| file.room.pages());
            self.used_pages = self.used_pages.saturating_sub(pages);
            self.forget_unheld();
        }
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        let number = self.lookup(path)?;
        if !self.files.contains_key(&number) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let (dir, name) = self.parent(path)?;
        self.names.change(dir, vec![(name.to_owned(), None)], None);
        self.unlink(number);
        Ok(())
    }

    fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let number = self.lookup(path)?;
        if !self.names.dirs.contains_key(&number) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        if !self.is_empty_dir(number) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let (dir, name) = self.parent(path)?;
        self.names.change(dir, vec![(name.to_owned(), None)], None);
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let number = self.lookup(from)?;
        let (from_dir, from_name) = self.parent(from)?;
        let (to_dir, to_name) = self.parent(to)?;
        let replaced = self.lookup(to).ok();
        if replaced == Some(number) {
            return Ok(());
        }
        if let Some(replaced) = replaced {
            match (
                self.files.contains_key(&number),
                self.files.contains_key(&replaced),
            ) {
                (true, false) => return Err(io::ErrorKind::IsADirectory.into()),
                (false, true) => return Err(io::ErrorKind::NotADirectory.into()),
                (false, false) if !self.is_empty_dir(replaced) => {
                    return Err(io::ErrorKind::DirectoryNotEmpty.into());
                }
                (true, true) | (false, false) => {}
            }
        }
        if self.names.dirs.contains_key(&number) && to.starts_with(from) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (added, removed) = (
            (to_name.to_owned(), Some(number)),
            (from_name.to_owned(), None),
        );
        if from_dir == to_dir {
            self.names.change(from_dir, vec![removed, added], None);
        } else {
            let first = self.names.change(to_dir, vec![added], None);
            self.names.change(from_dir, vec![removed], Some(first));
        }
        if let Some(replaced) = replaced {
            self.unlink(replaced);
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let number = self.lookup(path)?;
        let dir = self
            .names
            .dirs
            .get(&number)
            .ok_or(io::ErrorKind::NotADirectory)?;
        let entry = |(name, number): (&String, &u64)| match self.files.get(number) {
            Some(file) => DirEntry {
                name: name.clone(),
                kind: EntryKind::File,
                len: file.cache.len,
            },
            None => DirEntry {
                name: name.clone(),
                kind: EntryKind::Dir,
                len: 0,
            },
        };
        Ok(dir.names.iter().map(entry).collect())
    }

    pub(crate) fn flip_bit(&mut self, path: &Path, offset: u64, bit: u8, at: FlipAt) -> bool {
        let Some(file) = self
            .lookup(path)
            .ok()
            .and_then(|number| self.files.get_mut(&number))
        else {
            return false;
        };
        match at {
            FlipAt::Device => file.durable.flip(offset, bit),
            FlipAt::Everywhere => {
                file.durable.flip(offset, bit);
                file.cache.flip(offset, bit)
            }
        }
    }
}

/// The names on a path. A relative path starts at the root, the only working directory here.
fn components(path: &Path) -> io::Result<Vec<&str>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => {
                names.push(name.to_str().ok_or(io::ErrorKind::InvalidInput)?);
            }
            Component::ParentDir | Component::Prefix(_) => {
                return Err(io::ErrorKind::InvalidInput.into());
            }
        }
    }
    Ok(names)
}

/// What a handle of an ended process answers.
fn ended() -> io::Error {
    io::Error::other("this process of the simulated node has ended")
}

/// The error of a device, `EIO`.
fn device_error() -> io::Error {
    io::Error::from_raw_os_error(5)
}

/// An operation that has begun: the fault that struck it, and how long it takes.
#[derive(Debug)]
struct Begun {
    effect: Option<DiskEffect>,
    delay: Duration,
    hangs: Option<Healing>,
}

impl Begun {
    /// The error that the effect means, if it means one.
    fn failure(&self) -> io::Result<()> {
        match self.effect {
            Some(DiskEffect::Error) => Err(device_error()),
            Some(DiskEffect::NoSpace) => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    async fn wait(&mut self, node: &Node) {
        if !self.delay.is_zero() {
            let nanos = u64::try_from(self.delay.as_nanos()).unwrap_or(u64::MAX);
            node.shared
                .sleep_until(node.shared.now_ns().saturating_add(nanos))
                .await;
        }
        if let Some(hangs) = &mut self.hangs {
            while lock(&node.disk).faults.is_planted(hangs.fault) {
                if hangs.healed.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Draws the fault and the time of one operation.
fn begin(node: &Node, op: DiskOp, path: &Path, span_us: (u64, u64)) -> Begun {
    let path = path.to_string_lossy();
    let mut disk = lock(&node.disk);
    let struck = disk
        .faults
        .strike(op, &path, |per_mille| node.shared.chance(per_mille));
    let mut delay = node.shared.draw_us(span_us);
    let mut hangs = None;
    let Some((fault, effect)) = struck else {
        return Begun {
            effect: None,
            delay,
            hangs,
        };
    };
    match effect {
        DiskEffect::Slow(more) => delay += more,
        DiskEffect::Hang => hangs = Some(disk.faults.healing(fault)),
        _ => {}
    }
    let name = match effect {
        DiskEffect::Error => "disk error",
        DiskEffect::NoSpace => "no space",
        DiskEffect::Short => "short write",
        DiskEffect::Slow(_) => "slow operation",
        DiskEffect::Hang => "hung operation",
        DiskEffect::Misdirect => "misdirected write",
        DiskEffect::FlipBit => "flipped write",
    };
    node.shared.count(name, 1);
    node.shared
        .event(format_args!("fault {} {op:?} {path}: {name}", node.name));
    Begun {
        effect: Some(effect),
        delay,
        hangs,
    }
}

/// The disk as one process sees it.
#[derive(Debug)]
pub(crate) struct SimDisk {
    pub(crate) node: Arc<Node>,
    pub(crate) process: u64,
}

impl SimDisk {
    fn check(&self) -> io::Result<()> {
        if self.node.runs(self.process) {
            Ok(())
        } else {
            Err(ended())
        }
    }

    /// A change of names: it takes effect at its beginning or its end (drawn), so that a kill
    /// between the two meets both.
    fn change_names(
        &self,
        path: &Path,
        text: String,
        change: impl FnOnce(&mut DiskState) -> io::Result<()> + Send + 'static,
    ) -> Completion<()> {
        let (node, process) = (Arc::clone(&self.node), self.process);
        let span = node.shared.options.disk.name_us;
        let checked = self.check();
        let mut begun = begin(&node, DiskOp::Name, path, span);
        let early = node.shared.draw(2) == 0;
        let allowed = checked.and_then(|()| begun.failure());
        let (now, later) = match allowed {
            Err(error) => (Some(Err(error)), None),
            Ok(()) if early => (Some(change(&mut lock(&node.disk))), None),
            Ok(()) => (None, Some(change)),
        };
        let shared = Arc::clone(&node.shared);
        shared.start(async move {
            begun.wait(&node).await;
            let result = match (now, later) {
                (Some(result), _) => result,
                (None, Some(change)) if node.runs(process) => change(&mut lock(&node.disk)),
                (None, _) => Err(ended()),
            };
            let ok = result.is_ok();
            node.shared
                .event(format_args!("{text} on {} ok {ok}", node.name));
            result
        })
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.check()?;
        begin(&self.node, DiskOp::Open, path, (0, 0)).failure()?;
        let number = lock(&self.node.disk).open(path, mode)?;
        let text = path.display();
        self.node.shared.event(format_args!(
            "open {} {text} {mode:?}: {number}",
            self.node.name
        ));
        Ok(Arc::new(SimFile::new(
            self,
            number,
            path,
            mode != OpenMode::Read,
        )))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.check()?;
        begin(&self.node, DiskOp::Open, path, (0, 0)).failure()?;
        self.node
            .shared
            .event(format_args!("mkdir {} {}", self.node.name, path.display()));
        lock(&self.node.disk).create_dir(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        self.check()?;
        begin(&self.node, DiskOp::Open, path, (0, 0)).failure()?;
        let (number, guard) = {
            let mut disk = lock(&self.node.disk);
            let number = disk.open(path, OpenMode::Create)?;
            if disk.locks.contains_key(&number) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let guard = disk.next_guard;
            disk.next_guard += 1;
            disk.locks.insert(number, guard);
            (number, guard)
        };
        self.node
            .shared
            .event(format_args!("lock {} {}", self.node.name, path.display()));
        let file = Arc::new(SimFile::new(self, number, path, true));
        Ok(Box::new(SimLock::new(file, guard)))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.check()?;
        let disk = lock(&self.node.disk);
        disk.lookup(path)?;
        Ok(Space {
            total: disk.capacity,
            available: disk.free_pages() * PAGE,
        })
    }

    fn boot_id(&self) -> Option<String> {
        let node = &self.node;
        let readable = node.boot_id_readable.load(Ordering::Relaxed);
        readable.then(|| format!("boot-{}-{}", node.name, node.boot.load(Ordering::Relaxed)))
    }

    fn mount_id(&self, path: &Path) -> Option<String> {
        lock(&self.node.disk).lookup(path).ok()?;
        let boot = self.node.boot.load(Ordering::Relaxed);
        Some(format!("mount-{}-{boot}", self.node.name))
    }

    fn list(&self, path: &Path) -> Completion<Vec<DirEntry>> {
        let (node, process, path) = (Arc::clone(&self.node), self.process, path.to_owned());
        let span = node.shared.options.disk.name_us;
        let mut begun = begin(&node, DiskOp::Name, &path, span);
        let shared = Arc::clone(&node.shared);
        shared.start(async move {
            begun.wait(&node).await;
            begun.failure()?;
            if !node.runs(process) {
                return Err(ended());
            }
            lock(&node.disk).list(&path)
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> Completion<()> {
        let text = format!("rename {} to {}", from.display(), to.display());
        let (from, to) = (from.to_owned(), to.to_owned());
        self.change_names(&from.clone(), text, move |disk| disk.rename(&from, &to))
    }

    fn remove(&self, path: &Path) -> Completion<()> {
        let (text, path) = (format!("remove {}", path.display()), path.to_owned());
        self.change_names(&path.clone(), text, move |disk| disk.remove(&path))
    }

    fn remove_dir(&self, path: &Path) -> Completion<()> {
        let (text, path) = (format!("rmdir {}", path.display()), path.to_owned());
        self.change_names(&path.clone(), text, move |disk| disk.remove_dir(&path))
    }

    fn sync_dir(&self, path: &Path) -> Completion<()> {
        let (node, process) = (Arc::clone(&self.node), self.process);
        let mut begun = begin(
            &node,
            DiskOp::SyncDir,
            path,
            node.shared.options.disk.sync_dir_us,
        );
        let (looked_up, upto) = {
            let disk = lock(&node.disk);
            let dir = disk.lookup(path).and_then(|number| {
                let is_dir = disk.names.dirs.contains_key(&number);
                if is_dir {
                    Ok(number)
                } else {
                    Err(io::ErrorKind::NotADirectory.into())
                }
            });
            (dir, disk.names.next_number())
        };
        let shared = Arc::clone(&node.shared);
        let text = path.display().to_string();
        shared.start(async move {
            begun.wait(&node).await;
            if !node.runs(process) {
                return Err(ended());
            }
            begun.failure()?;
            let dir = looked_up?;
            let mut disk = lock(&node.disk);
            disk.names.sync(dir, upto);
            disk.forget_unheld();
            node.shared
                .event(format_args!("synced dir {} {text}", node.name));
            Ok(())
        })
    }
}
