//! The disk of a node: one file system in memory, with a page cache in front of a device.
//!
//! What always holds: a process reads what it wrote; a power cut leaves of un-synced sectors and
//! names a drawn subset; nothing of a dead process takes effect, but for what it had written to
//! the cache.

pub(crate) mod crash;
mod file;
mod image;
mod inode;
mod names;
pub(crate) mod planted;
mod rot;
pub(crate) mod state;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use millrace_host::{Completion, DirEntry, Disk, File, LockGuard, OpenMode, Space};

use crate::faults;
use crate::node::Node;
use crate::world::lock;
use file::{SimFile, SimLock};
use image::PAGE;
use planted::{DiskEffect, DiskOp, Healing};
use state::DiskState;

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

/// What a handle of an ended process answers.
fn ended() -> io::Error {
    io::Error::other("this process of the simulated node has ended")
}

/// The error of a device, `EIO`.
pub(crate) fn device_error() -> io::Error {
    io::Error::from_raw_os_error(5)
}

/// An operation that has begun: the fault that struck it, and how long it takes.
#[derive(Debug)]
struct Begun {
    op: DiskOp,
    effect: Option<DiskEffect>,
    delay: Duration,
    hangs: Option<Healing>,
}

impl Begun {
    /// The error that the effect means, if it means one; to be asked when it is returned.
    fn failure(&self, node: &Node) -> io::Result<()> {
        match self.effect {
            Some(DiskEffect::Error) => {
                node.shared.count(self.op.error_name(), 1);
                Err(device_error())
            }
            Some(DiskEffect::NoSpace) => {
                node.shared.count(faults::NO_SPACE, 1);
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    async fn wait(&mut self, node: &Node) {
        match self.effect {
            Some(DiskEffect::Slow(_)) => node.shared.count(faults::SLOW, 1),
            Some(DiskEffect::Hang) => node.shared.count(faults::HUNG, 1),
            _ => {}
        }
        if !self.delay.is_zero() {
            let nanos = u64::try_from(self.delay.as_nanos()).unwrap_or(u64::MAX);
            node.shared
                .sleep_until(node.shared.now_ns().saturating_add(nanos))
                .await;
        }
        if let Some(hangs) = &mut self.hangs {
            while lock(&node.disk).faults.is_planted(hangs.fault) {
                hangs.changed().await;
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
            op,
            effect: None,
            delay,
            hangs,
        };
    };
    match effect {
        DiskEffect::Slow(more) => delay += more,
        DiskEffect::Hang => hangs = Some(disk.faults.healing(fault)),
        DiskEffect::Error
        | DiskEffect::NoSpace
        | DiskEffect::Short
        | DiskEffect::Misdirect
        | DiskEffect::FlipBit => {}
    }
    node.shared.event(format_args!(
        "fault {} {op:?} {path}: {effect:?}",
        node.name
    ));
    Begun {
        op,
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

    /// Somebody may miss a directory that is away.
    fn look_for(&self, path: &Path) {
        if lock(&self.node.disk).is_away(path) {
            self.node.shared.count(faults::ABSENT, 1);
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
        let allowed = checked.and_then(|()| begun.failure(&node));
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
        begin(&self.node, DiskOp::Open, path, (0, 0)).failure(&self.node)?;
        self.look_for(path);
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
        begin(&self.node, DiskOp::Open, path, (0, 0)).failure(&self.node)?;
        self.node
            .shared
            .event(format_args!("mkdir {} {}", self.node.name, path.display()));
        lock(&self.node.disk).create_dir(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        self.check()?;
        begin(&self.node, DiskOp::Open, path, (0, 0)).failure(&self.node)?;
        let (number, guard) = lock(&self.node.disk).take_lock(path)?;
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
        self.look_for(path);
        let (node, process, path) = (Arc::clone(&self.node), self.process, path.to_owned());
        let span = node.shared.options.disk.name_us;
        let mut begun = begin(&node, DiskOp::Name, &path, span);
        let shared = Arc::clone(&node.shared);
        shared.start(async move {
            begun.wait(&node).await;
            if !node.runs(process) {
                return Err(ended());
            }
            begun.failure(&node)?;
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
            begun.failure(&node)?;
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
