//! A file system as a list of operations: what the cache shows, what the device holds for certain,
//! and the changes in between that a power cut may keep or lose one by one.
//!
//! What always holds: a change is certain only after a sync that *began* after it has ended well;
//! bytes need their file's sync, names their directory's; one rename is one change. What a failed
//! sync covered is never made certain by a later one: it counts as clean, whatever the device holds.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::content::Content;

/// Names a file or a directory, whatever it is called.
pub type Inode = u64;

/// The root directory.
pub const ROOT: Inode = 0;

/// Directories have even numbers, files odd ones.
pub(crate) fn is_dir(inode: Inode) -> bool {
    inode.is_multiple_of(2)
}

/// The names in one directory.
pub type Names = BTreeMap<String, Inode>;

/// Files and directories as they stand at one moment. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// What is in the files.
    pub files: BTreeMap<Inode, Arc<Content>>,
    /// What is in the directories.
    pub dirs: BTreeMap<Inode, Arc<Names>>,
}

/// One thing that was done to the file system.
#[derive(Clone, PartialEq, Eq)]
pub enum Change {
    /// Bytes in a file.
    Write {
        /// Which file.
        file: Inode,
        /// Where.
        at: usize,
        /// What.
        bytes: Bytes,
    },
    /// Zeros in a file.
    Zeros {
        /// Which file.
        file: Inode,
        /// Where.
        at: usize,
        /// How many.
        len: usize,
    },
    /// A file was cut, or made longer.
    Len {
        /// Which file.
        file: Inode,
        /// Its length now.
        len: usize,
    },
    /// Names of one directory: set to an inode, or gone.
    Names {
        /// Which directory.
        dir: Inode,
        /// Which names; one change, however many.
        names: Vec<(String, Option<Inode>)>,
    },
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { file, at, bytes } => {
                write!(f, "{} bytes at {at} of file {file}", bytes.len())
            }
            Self::Zeros { file, at, len } => write!(f, "{len} zeros at {at} of file {file}"),
            Self::Len { file, len } => write!(f, "length {len} of file {file}"),
            Self::Names { dir, names } => write!(f, "names in {dir}: {names:?}"),
        }
    }
}

/// An operation as it was recorded.
#[derive(Clone, Debug)]
pub enum Op {
    /// Something changed in the cache.
    Change(Change),
    /// A sync of a file or directory began; the number names it.
    SyncBegun(u64, Inode),
    /// It ended well.
    SyncEnded(u64),
    /// It failed. `lost`: the cache let go of what it could not write.
    SyncFailed {
        /// Which.
        sync: u64,
        /// What the cache shows now: what the device holds, or what was written.
        lost: bool,
    },
    /// The process was killed. Of what a failed sync covered the device holds nothing.
    Killed,
    /// This was left, and is certain: behind a power cut if the machine was started again.
    Left {
        /// What.
        tree: Box<Tree>,
        /// Whether it is another boot.
        rebooted: bool,
    },
    /// The cache let go of a file's bytes that were not written yet.
    Forgotten(Inode),
}

impl Change {
    /// Whose sync makes it certain.
    fn of(&self) -> Inode {
        match self {
            Self::Write { file, .. } | Self::Zeros { file, .. } | Self::Len { file, .. } => *file,
            Self::Names { dir, .. } => *dir,
        }
    }
}

impl Tree {
    /// Does it.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { file, at, bytes } => self.content(*file).write(*at, bytes),
            Change::Zeros { file, at, len } => self.content(*file).zero(*at, *len),
            Change::Len { file, len } => self.content(*file).set_len(*len),
            Change::Names { dir, names } => {
                for (name, inode) in names {
                    match inode {
                        Some(inode) => self.name(*dir, name, *inode),
                        None => drop(self.names(*dir).remove(name)),
                    }
                }
            }
        }
    }

    fn content(&mut self, file: Inode) -> &mut Content {
        Arc::make_mut(self.files.entry(file).or_default())
    }

    fn names(&mut self, dir: Inode) -> &mut Names {
        Arc::make_mut(self.dirs.entry(dir).or_default())
    }

    fn name(&mut self, dir: Inode, name: &str, inode: Inode) {
        self.names(dir).insert(name.to_owned(), inode);
        if is_dir(inode) {
            self.dirs.entry(inode).or_default();
        } else {
            self.files.entry(inode).or_default();
        }
    }

    /// What is called that.
    pub fn lookup(&self, path: &Path) -> Option<Inode> {
        let names = path
            .components()
            .filter_map(|component| component.as_os_str().to_str());
        names
            .filter(|name| *name != "/")
            .try_fold(ROOT, |at, name| self.dirs.get(&at)?.get(name).copied())
    }

    /// Changes the bytes of a file, if there is one of that name.
    pub fn edit(&mut self, path: &Path, edit: impl FnOnce(&mut Vec<u8>)) -> bool {
        let found = self.lookup(path);
        let Some(content) = found.and_then(|file| self.files.get_mut(&file)) else {
            return false;
        };
        let mut bytes = content.read(0, usize::MAX);
        edit(&mut bytes);
        let mut edited = Content::default();
        edited.write(0, &bytes);
        *content = Arc::new(edited);
        true
    }

    /// The largest inode in use.
    pub(crate) fn last_inode(&self) -> Inode {
        let files = self.files.keys().next_back().copied().unwrap_or(0);
        files.max(self.dirs.keys().next_back().copied().unwrap_or(0))
    }
}

/// What became of a change that a failed sync covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limbo {
    /// The device holds it.
    OnDevice,
    /// The cache shows it, and counts it as clean.
    Cached,
    /// Neither does.
    Lost,
}

/// The file system at one moment of a history.
#[derive(Clone, Debug, Default)]
pub struct Volume {
    /// What processes see.
    pub cache: Tree,
    /// What is certain.
    pub durable: Tree,
    /// Changes that are not certain yet, in order.
    pub pending: Vec<(u64, Change)>,
    /// What a failed sync covered: the device may hold it or not, and no later sync decides.
    pub limbo: Vec<Change>,
    /// Syncs under way: whose, and the changes before which number they cover.
    syncs: BTreeMap<u64, (Inode, u64)>,
    changes: u64,
}

impl Volume {
    /// What a process finds after `tree` was all that was left.
    pub fn of(tree: Tree) -> Self {
        Self {
            cache: tree.clone(),
            durable: tree,
            ..Self::default()
        }
    }

    /// What the next process of the same boot finds. Of what a failed sync covered, `of` says by its
    /// place what became of it.
    #[must_use]
    pub fn killed(&self, of: impl Fn(usize) -> Limbo) -> Self {
        let mut killed = self.clone();
        killed.syncs.clear();
        let limbo = std::mem::take(&mut killed.limbo);
        let mut shown = Vec::new();
        for (at, change) in limbo.iter().enumerate() {
            match of(at) {
                Limbo::OnDevice => killed.durable.apply(change),
                Limbo::Cached => shown.push(change),
                Limbo::Lost => {}
            }
        }
        if shown.len() < limbo.len() {
            killed.cache = killed.durable.clone();
            let pending = killed.pending.iter().map(|(_, change)| change);
            for change in shown.into_iter().chain(pending) {
                killed.cache.apply(change);
            }
        }
        killed
    }

    /// How many changes there were.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether bytes that were written to a file behind the first `before` changes are not certain,
    /// and somebody could still find its name.
    pub(crate) fn is_unsynced(&self, file: Inode, before: u64) -> bool {
        let is_of = |(number, change): &(u64, Change)| {
            let is_of = matches!(change, Change::Write { file: of, .. } if *of == file);
            is_of && *number >= before
        };
        let is_named = |names: &Arc<Names>| names.values().any(|named| *named == file);
        self.pending.iter().any(is_of) && self.cache.dirs.values().any(is_named)
    }

    /// Everything that a power cut may keep or lose, in order.
    pub fn uncertain(&self) -> Vec<&Change> {
        let pending = self.pending.iter().map(|(_, change)| change);
        self.limbo.iter().chain(pending).collect()
    }

    /// Does it.
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Change(change) => {
                self.cache.apply(change);
                self.pending.push((self.changes, change.clone()));
                self.changes += 1;
            }
            Op::SyncBegun(sync, inode) => {
                self.syncs.insert(*sync, (*inode, self.changes));
            }
            Op::Killed => *self = self.killed(|_| Limbo::Cached),
            Op::Left { tree, .. } => *self = Self::of(Tree::clone(tree)),
            Op::Forgotten(file) => {
                let content = self.durable.files.get(file).cloned();
                self.cache.files.insert(*file, content.unwrap_or_default());
            }
            Op::SyncEnded(sync) => {
                for change in self.take_covered(*sync, true) {
                    self.durable.apply(&change);
                }
            }
            Op::SyncFailed { sync, lost } => {
                let covered = self.take_covered(*sync, false);
                if !lost {
                    self.limbo.extend(covered);
                    return;
                }
                self.cache = self.durable.clone();
                for change in self
                    .limbo
                    .iter()
                    .chain(self.pending.iter().map(|one| &one.1))
                {
                    self.cache.apply(change);
                }
            }
        }
    }

    /// Takes what a sync covers out of what is pending. Names and lengths are the file system's
    /// own: its journal decides of them, and a failed sync leaves them as they were.
    fn take_covered(&mut self, sync: u64, well: bool) -> Vec<Change> {
        let Some((inode, before)) = self.syncs.remove(&sync) else {
            return Vec::new();
        };
        let is_covered = |(number, change): &mut (u64, Change)| {
            let is_bytes = matches!(change, Change::Write { .. } | Change::Zeros { .. });
            change.of() == inode && *number < before && (well || is_bytes)
        };
        let covered = self.pending.extract_if(.., is_covered);
        covered.map(|(_, change)| change).collect()
    }
}
