//! A file system as a list of operations: what the cache shows, what the device holds for certain,
//! and the changes in between that a power cut may keep or lose one by one.
//!
//! What always holds: a change is certain only after a sync that *began* after it has ended; bytes
//! need their file's sync, names their directory's; one rename is one change.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// Names a file or a directory, whatever it is called.
pub(super) type Inode = u64;

/// The root directory.
pub(super) const ROOT: Inode = 0;

/// Directories have even numbers, files odd ones.
pub(super) fn is_dir(inode: Inode) -> bool {
    inode.is_multiple_of(2)
}

/// Files and directories as they stand at one moment. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) files: BTreeMap<Inode, Arc<Vec<u8>>>,
    pub(super) dirs: BTreeMap<Inode, BTreeMap<String, Inode>>,
}

/// One thing that was done to the file system.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Change {
    Write {
        file: Inode,
        at: usize,
        bytes: Bytes,
    },
    Len {
        file: Inode,
        len: usize,
    },
    /// Names of one directory: set to an inode, or gone.
    Names {
        dir: Inode,
        names: Vec<(String, Option<Inode>)>,
    },
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { file, at, bytes } => {
                write!(f, "{} bytes at {at} of file {file}", bytes.len())
            }
            Self::Len { file, len } => write!(f, "length {len} of file {file}"),
            Self::Names { dir, names } => write!(f, "names in {dir}: {names:?}"),
        }
    }
}

/// An operation as it was recorded.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Change(Change),
    /// A sync of a file or directory began; the number names it.
    SyncBegun(u64, Inode),
    SyncEnded(u64),
    /// A power cut that kept nothing that was not certain.
    Lost,
}

impl Change {
    /// Whose sync makes it certain.
    fn of(&self) -> Inode {
        match self {
            Self::Write { file, .. } | Self::Len { file, .. } => *file,
            Self::Names { dir, .. } => *dir,
        }
    }
}

impl Tree {
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { file, at, bytes } => {
                let content = Arc::make_mut(self.files.entry(*file).or_default());
                let end = at + bytes.len();
                extend(content, end);
                content[*at..end].copy_from_slice(bytes);
            }
            Change::Len { file, len } => {
                let content = Arc::make_mut(self.files.entry(*file).or_default());
                content.truncate(*len);
                extend(content, *len);
            }
            Change::Names { dir, names } => {
                for (name, inode) in names {
                    match inode {
                        Some(inode) => self.name(*dir, name, *inode),
                        None => drop(self.dirs.entry(*dir).or_default().remove(name)),
                    }
                }
            }
        }
    }

    fn name(&mut self, dir: Inode, name: &str, inode: Inode) {
        let names = self.dirs.entry(dir).or_default();
        names.insert(name.to_owned(), inode);
        if is_dir(inode) {
            self.dirs.entry(inode).or_default();
        } else {
            self.files.entry(inode).or_default();
        }
    }

    pub(super) fn lookup(&self, path: &std::path::Path) -> Option<Inode> {
        let names = path
            .components()
            .filter_map(|component| component.as_os_str().to_str());
        names
            .filter(|name| *name != "/")
            .try_fold(ROOT, |at, name| self.dirs.get(&at)?.get(name).copied())
    }
}

/// Zeros up to `len`; in one piece, because these tests do it all the time.
fn extend(content: &mut Vec<u8>, len: usize) {
    let more = len.saturating_sub(content.len());
    content.extend_from_slice(&vec![0; more]);
}

/// The file system at one moment of a history.
#[derive(Clone, Debug, Default)]
pub(super) struct Volume {
    /// What processes see.
    pub(super) cache: Tree,
    /// What is certain.
    pub(super) durable: Tree,
    /// Changes that are not certain yet, in order.
    pub(super) pending: Vec<(u64, Change)>,
    /// Syncs under way: whose, and the changes before which number they cover.
    syncs: BTreeMap<u64, (Inode, u64)>,
    changes: u64,
}

impl Volume {
    /// What a process finds after `tree` was all that was left.
    pub(super) fn of(tree: Tree) -> Self {
        Self {
            cache: tree.clone(),
            durable: tree,
            ..Self::default()
        }
    }

    pub(super) fn apply(&mut self, op: &Op) {
        match op {
            Op::Change(change) => {
                self.cache.apply(change);
                self.pending.push((self.changes, change.clone()));
                self.changes += 1;
            }
            Op::SyncBegun(sync, inode) => {
                self.syncs.insert(*sync, (*inode, self.changes));
            }
            Op::Lost => *self = Self::of(std::mem::take(&mut self.durable)),
            Op::SyncEnded(sync) => {
                let Some((inode, before)) = self.syncs.remove(sync) else {
                    return;
                };
                let durable = &mut self.durable;
                self.pending.retain(|(number, change)| {
                    let covered = change.of() == inode && *number < before;
                    if covered {
                        durable.apply(change);
                    }
                    !covered
                });
            }
        }
    }
}
