//! Everything on one disk, and what each call does to it at the moment it takes effect.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use millrace_host::{DirEntry, EntryKind, OpenMode};

use crate::faults;

use super::image::PAGE;
use super::inode::FileNode;
use super::names::{DirNode, Names, ROOT};
use super::planted::Faults;
use super::{DiskLimits, FlipAt};

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
    pub(super) locks: BTreeMap<u64, u64>,
    next_guard: u64,
    /// Directories of the root that are away, with what they are.
    away: BTreeMap<String, u64>,
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
            away: BTreeMap::new(),
        }
    }

    /// The process is gone: its locks and handles with it.
    pub(crate) fn end_process(&mut self) {
        self.locks.clear();
        for file in self.files.values_mut() {
            file.handles = 0;
            file.retry_write_back();
        }
        self.forget_unheld();
        let named = self.files.values().filter(|file| file.links > 0);
        self.used_pages = named.map(|file| file.room.pages()).sum();
    }

    /// After a power cut: what no name leads to is gone, and counts are taken anew.
    pub(crate) fn forget_unreachable(&mut self) {
        let links = self.names.reachable(self.away.values().copied());
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

    /// Whether a power cut could take anything now.
    pub(crate) fn has_un_synced(&self) -> bool {
        self.names.has_un_synced() || self.files.values().any(|file| !file.pending.is_empty())
    }

    /// Drops files that have neither name nor handle, now or after any power cut.
    pub(super) fn forget_unheld(&mut self) {
        let returning = self.names.returning();
        self.files.retain(|number, file| {
            file.links > 0 || file.handles > 0 || returning.contains(number)
        });
    }

    pub(super) fn free_pages(&self) -> u64 {
        (self.capacity / PAGE).saturating_sub(self.used_pages)
    }

    /// Takes room in a file; returns the end of what has it.
    pub(super) fn take_room(&mut self, number: u64, offset: u64, len: u64) -> u64 {
        let free = self.free_pages();
        let Some(file) = self.files.get_mut(&number) else {
            return offset;
        };
        let (taken, end) = file.room.take(offset, len, free);
        self.used_pages += taken;
        end
    }

    pub(super) fn give_room_back(&mut self, number: u64, len: u64) {
        if let Some(file) = self.files.get_mut(&number) {
            self.used_pages = self.used_pages.saturating_sub(file.room.cut(len));
        }
    }

    /// Takes a directory of the root away as a disk that is not mounted, with all that is in it; with
    /// `leaves_empty` an empty one stands in its place. False when there is none that is durable.
    pub(crate) fn take_away(&mut self, name: &str, leaves_empty: bool) -> bool {
        let root = self.names.dirs.entry(ROOT).or_default();
        let is_durable = root.durable.get(name) == root.names.get(name);
        let Some(number) = root.names.get(name).copied().filter(|_| is_durable) else {
            return false;
        };
        self.away.insert(name.to_owned(), number);
        let stands_in = leaves_empty.then(|| self.new_number());
        self.put_in_root(name, stands_in);
        true
    }

    /// Brings it back over whatever was put in its place.
    pub(crate) fn bring_back(&mut self, name: &str) {
        if let Some(number) = self.away.remove(name) {
            self.put_in_root(name, Some(number));
        }
    }

    fn put_in_root(&mut self, name: &str, number: Option<u64>) {
        if let Some(number) = number {
            self.names.dirs.entry(number).or_default();
        }
        self.names.mount(name, number);
    }

    /// Whether a path leads into a directory that is away.
    pub(super) fn is_away(&self, path: &Path) -> bool {
        let first = components(path)
            .ok()
            .and_then(|names| names.first().copied());
        !self.away.is_empty() && first.is_some_and(|name| self.away.contains_key(name))
    }

    /// What a path leads to.
    pub(super) fn lookup(&self, path: &Path) -> io::Result<u64> {
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
    pub(super) fn parent<'a>(&self, path: &'a Path) -> io::Result<(u64, &'a str)> {
        let names = components(path)?;
        let (name, _) = names.split_last().ok_or(io::ErrorKind::InvalidInput)?;
        let dir = self.lookup(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
        if self.names.dirs.contains_key(&dir) {
            Ok((dir, name))
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
    }

    pub(super) fn new_number(&mut self) -> u64 {
        self.next_inode += 1;
        self.next_inode - 1
    }

    /// Opens or makes a file; returns its number.
    pub(super) fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<u64> {
        match self.lookup(path) {
            Ok(_) if mode == OpenMode::CreateNew => Err(io::ErrorKind::AlreadyExists.into()),
            Ok(number) if self.files.contains_key(&number) => Ok(number),
            Ok(_) => Err(io::ErrorKind::IsADirectory.into()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Err(error) if matches!(mode, OpenMode::Read | OpenMode::Write) => Err(error),
            Err(_) => {
                let (dir, name) = self.parent(path)?;
                let number = self.new_number();
                self.files.insert(number, FileNode::named(name));
                self.names
                    .change(dir, vec![(name.to_owned(), Some(number))], None);
                Ok(number)
            }
        }
    }

    /// Takes the lock on a file, making it when missing; returns its number and the guard's.
    pub(super) fn take_lock(&mut self, path: &Path) -> io::Result<(u64, u64)> {
        let number = self.open(path, OpenMode::Create)?;
        if self.locks.contains_key(&number) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let guard = self.next_guard;
        self.next_guard += 1;
        self.locks.insert(number, guard);
        Ok((number, guard))
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
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

    /// The files of the disk that have a name, with their length, in the order of their paths.
    pub(crate) fn all_files(&self) -> Vec<(PathBuf, u64)> {
        let mut found = Vec::new();
        let mut open = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, number)) = open.pop() {
            for (name, target) in self
                .names
                .dirs
                .get(&number)
                .into_iter()
                .flat_map(|dir| &dir.names)
            {
                match self.files.get(target) {
                    Some(file) => found.push((path.join(name), file.cache.len)),
                    None => open.push((path.join(name), *target)),
                }
            }
        }
        found.sort();
        found
    }

    /// What the page cache holds of the file at a path.
    pub(crate) fn read_file(&self, path: &Path) -> Option<Vec<u8>> {
        let number = self.lookup(path).ok()?;
        Some(self.files.get(&number)?.cache.bytes())
    }

    pub(super) fn is_empty_dir(&self, number: u64) -> bool {
        self.names
            .dirs
            .get(&number)
            .is_some_and(|dir| dir.names.is_empty())
    }

    /// One name less for a file. Its room is free once no handle is left either.
    pub(super) fn unlink(&mut self, number: u64) {
        if let Some(file) = self.files.get_mut(&number) {
            file.links = file.links.saturating_sub(1);
        }
        self.free_if_unheld(number);
    }

    pub(super) fn free_if_unheld(&mut self, number: u64) {
        let unheld = self
            .files
            .get(&number)
            .is_some_and(|file| file.links + file.handles == 0);
        if unheld {
            // A power cut may bring the file back, so its bytes stay; its room is counted anew then.
            let pages = self.files.get(&number).map_or(0, |file| file.room.pages());
            self.used_pages = self.used_pages.saturating_sub(pages);
            // The others go when their names do, durably: nothing changed for them.
            if !self.names.may_return(number) {
                self.files.remove(&number);
            }
        }
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let number = self.lookup(path)?;
        if !self.files.contains_key(&number) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let (dir, name) = self.parent(path)?;
        self.names.change(dir, vec![(name.to_owned(), None)], None);
        self.unlink(number);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
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

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
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

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
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
        let shown = at == FlipAt::Everywhere;
        let flipped = match at {
            FlipAt::Device => file.durable.flip(offset, bit),
            FlipAt::Everywhere => {
                file.durable.flip(offset, bit);
                file.cache.flip(offset, bit)
            }
        };
        if flipped {
            file.rot.add(offset, 1, faults::BIT_FLIP, shown);
        }
        flipped
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
