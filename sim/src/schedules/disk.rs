//! A disk in memory that knows what of it is durable.
//!
//! What always holds: a sync makes durable what was written before it was called, when its own turn
//! comes, and may fail instead; names are taken for durable at once (which names are is what crash
//! images try, not schedules).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use millrace_host::{
    Completion, DirEntry, Disk, EntryKind, File, FileMap, LockGuard, OpenMode, Space,
};
use shuttle::future::{spawn, yield_now};
use shuttle::rand::{Rng, thread_rng};
use tokio::sync::oneshot;

/// A sync takes fewer turns of its task than this: of two that run side by side either may be the longer.
const SYNC_TURNS_MAX: u32 = 8;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The files of one machine.
#[derive(Debug, Default)]
pub struct Memory {
    names: Mutex<Names>,
    fails: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Names {
    dirs: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, Arc<Mutex<Content>>>,
}

/// What a file holds, for whoever reads it and after a power cut.
#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    /// What was written and synced since, each write as it was made.
    durable: Vec<Vec<u8>>,
    /// Written and not durable yet; the first one is write number `settled`.
    written: Vec<Vec<u8>>,
    settled: usize,
}

impl Content {
    fn write(&mut self, at: usize, bytes: Vec<u8>) {
        let end = at + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[at..end].copy_from_slice(&bytes);
        self.written.push(bytes);
    }

    /// The number of the next write.
    fn next(&self) -> usize {
        self.settled + self.written.len()
    }

    /// All writes before this one are durable.
    fn settle(&mut self, before: usize) {
        let count = before.saturating_sub(self.settled);
        self.durable.extend(self.written.drain(..count));
        self.settled += count;
    }
}

fn contains(all: &[u8], part: &[u8]) -> bool {
    // Zeros and other long writes are no records.
    all.len() < 1 << 15 && all.windows(part.len()).any(|window| window == part)
}

impl Memory {
    /// From now on every sync fails.
    pub fn fail_syncs(&self) {
        self.fails.store(true, Ordering::Relaxed);
    }

    /// Whether these bytes have been durable in a file of `dir` whose name begins so.
    pub fn held(&self, dir: &Path, prefix: &str, bytes: &[u8]) -> bool {
        let names = lock(&self.names);
        let files = names.files.iter().filter(|(path, _)| {
            let name = path.file_name().and_then(|name| name.to_str());
            path.parent() == Some(dir) && name.is_some_and(|name| name.starts_with(prefix))
        });
        files
            .map(|(_, content)| lock(content))
            .any(|content| content.durable.iter().any(|write| contains(write, bytes)))
    }

    fn open_file(&self, path: &Path, mode: OpenMode) -> io::Result<MemoryFile> {
        let mut names = lock(&self.names);
        let known = names.files.get(path).cloned();
        let content = match (known, mode) {
            (Some(_), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(content), _) => content,
            (None, OpenMode::Read | OpenMode::Write) => return Err(io::ErrorKind::NotFound.into()),
            (None, OpenMode::CreateNew | OpenMode::Create) => {
                let parent = path.parent().unwrap_or(Path::new("/"));
                if !names.dirs.contains(parent) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                let content = Arc::default();
                names.files.insert(path.to_owned(), Arc::clone(&content));
                content
            }
        };
        Ok(MemoryFile {
            path: path.to_owned(),
            content,
            fails: Arc::clone(&self.fails),
        })
    }
}

/// Whatever was done already, told when its turn comes.
fn soon<T: Send + 'static>(result: io::Result<T>) -> Completion<T> {
    Box::pin(async move {
        yield_now().await;
        result
    })
}

impl Disk for Memory {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(self.open_file(path, mode)?))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let fresh = lock(&self.names).dirs.insert(path.to_owned());
        fresh
            .then_some(())
            .ok_or(io::ErrorKind::AlreadyExists.into())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        Ok(Box::new(Held(Arc::new(
            self.open_file(path, OpenMode::Create)?,
        ))))
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        Ok(Space {
            total: 1 << 40,
            available: 1 << 40,
        })
    }

    fn boot_id(&self) -> Option<String> {
        Some("boot".to_owned())
    }

    fn mount_id(&self, _path: &Path) -> Option<String> {
        Some("mount".to_owned())
    }

    fn list(&self, path: &Path) -> Completion<Vec<DirEntry>> {
        let names = lock(&self.names);
        let inside = |name: &PathBuf| {
            let name = name.strip_prefix(path).ok()?.to_str()?;
            (!name.is_empty() && !name.contains('/')).then(|| name.to_owned())
        };
        let dirs = names.dirs.iter().filter_map(|dir| {
            Some(DirEntry {
                name: inside(dir)?,
                kind: EntryKind::Dir,
                len: 0,
            })
        });
        let files = names.files.iter().filter_map(|(file, content)| {
            Some(DirEntry {
                name: inside(file)?,
                kind: EntryKind::File,
                len: lock(content).bytes.len() as u64,
            })
        });
        let mut entries: Vec<DirEntry> = dirs.chain(files).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        soon(Ok(entries))
    }

    fn rename(&self, from: &Path, to: &Path) -> Completion<()> {
        let mut names = lock(&self.names);
        let moved = |path: &PathBuf| {
            let rest = path.strip_prefix(from).ok()?;
            Some(if rest.as_os_str().is_empty() {
                to.to_owned()
            } else {
                to.join(rest)
            })
        };
        let mut any = false;
        for (path, content) in std::mem::take(&mut names.files) {
            let new = moved(&path);
            any |= new.is_some();
            names.files.insert(new.unwrap_or(path), content);
        }
        for path in std::mem::take(&mut names.dirs) {
            let new = moved(&path);
            any |= new.is_some();
            names.dirs.insert(new.unwrap_or(path));
        }
        soon(any.then_some(()).ok_or(io::ErrorKind::NotFound.into()))
    }

    fn remove(&self, path: &Path) -> Completion<()> {
        let removed = lock(&self.names).files.remove(path);
        soon(removed.map(|_| ()).ok_or(io::ErrorKind::NotFound.into()))
    }

    fn remove_dir(&self, path: &Path) -> Completion<()> {
        let removed = lock(&self.names).dirs.remove(path);
        soon(removed.then_some(()).ok_or(io::ErrorKind::NotFound.into()))
    }

    fn sync_dir(&self, path: &Path) -> Completion<()> {
        let known = lock(&self.names).dirs.contains(path) || path == Path::new("/");
        soon(known.then_some(()).ok_or(io::ErrorKind::NotFound.into()))
    }
}

#[derive(Debug)]
struct Held(Arc<MemoryFile>);

impl LockGuard for Held {
    fn file(&self) -> Arc<dyn File> {
        Arc::clone(&self.0) as Arc<dyn File>
    }

    fn is_in_place(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct MemoryFile {
    path: PathBuf,
    content: Arc<Mutex<Content>>,
    fails: Arc<AtomicBool>,
}

fn read(content: &Mutex<Content>, at: u64, len: usize) -> Bytes {
    let content = lock(content);
    let rest = content.bytes.get(at as usize..).unwrap_or_default();
    Bytes::copy_from_slice(&rest[..rest.len().min(len)])
}

impl File for MemoryFile {
    fn path(&self) -> &PathBuf {
        &self.path
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        let len = bytes.len();
        lock(&self.content).write(offset as usize, bytes);
        Ok(len)
    }

    fn read_resident_at(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        let bytes = read(&self.content, offset, buf.len());
        buf[..bytes.len()].copy_from_slice(&bytes);
        Ok(Some(bytes.len()))
    }

    fn read_at(&self, offset: u64, len: usize) -> Completion<Bytes> {
        let content = Arc::clone(&self.content);
        Box::pin(async move {
            yield_now().await;
            Ok(read(&content, offset, len))
        })
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.content).bytes.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        lock(&self.content).bytes.resize(len as usize, 0);
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut content = lock(&self.content);
        let len = (offset + len).max(content.bytes.len() as u64);
        content.bytes.resize(len as usize, 0);
        Ok(())
    }

    fn sync(&self) -> Completion<()> {
        let content = Arc::clone(&self.content);
        let fails = self.fails.load(Ordering::Relaxed);
        let before = lock(&content).next();
        let (tell, told) = oneshot::channel();
        // It runs to its end, also when nobody waits for it any more.
        let _device = spawn(async move {
            for _ in 0..thread_rng().gen_range(0..SYNC_TURNS_MAX) {
                yield_now().await;
            }
            if fails {
                return tell.send(Err(io::Error::other("the device failed"))).ok();
            }
            lock(&content).settle(before);
            tell.send(Ok(())).ok()
        });
        Box::pin(async move {
            told.await
                .unwrap_or_else(|_| Err(io::Error::other("the machine is gone")))
        })
    }

    fn start_write_back(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn map(&self) -> io::Result<Arc<dyn FileMap>> {
        Ok(Arc::new(Mapped(read(&self.content, 0, usize::MAX))))
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

#[derive(Debug)]
struct Mapped(Bytes);

impl FileMap for Mapped {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}
