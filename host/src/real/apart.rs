//! Syncs of directories by a thread whose table of descriptors is its own, so that a process that
//! has none left can still make names durable.
//!
//! What always holds: the thread is made when it is first needed and then stays; it opens and closes
//! nothing but directories; nothing that owns a descriptor of the process goes to it, nor comes back.
#![expect(
    unsafe_code,
    reason = "a system call without a safe wrapper; argued below"
)]

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::fsync;
use rustix::io::retry_on_intr;

use crate::is_out_of_descriptors;

/// Syncs that may wait for the thread; past it their callers wait to hand theirs over.
const QUEUE_MAX: usize = 16;

/// How long a directory waits for a descriptor where there is none outside the process either: the
/// machine is out of them, or the thread could not have a table of its own. 10 s.
const OPEN_TRIES: u32 = 500;
const OPEN_PAUSE: Duration = Duration::from_millis(20);

/// Standard input, output and error, which both tables have.
const STANDARD: u32 = 3;

/// A directory to be synced, and whom to tell.
type Job = (PathBuf, SyncSender<io::Result<()>>);

/// The thread, once it was needed.
#[derive(Debug, Default)]
pub(super) struct Apart {
    jobs: Mutex<Option<SyncSender<Job>>>,
}

impl Apart {
    /// Opens and syncs a directory without a descriptor of this thread's table. Blocks.
    pub(super) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let (told, end) = sync_channel(1);
        let job = (path.to_owned(), told);
        let gone = || io::Error::other("the thread that syncs directories ended");
        self.thread()?.send(job).map_err(|_| gone())?;
        end.recv().map_err(|_| gone())?
    }

    /// The way to the thread, which is started when there is none.
    fn thread(&self) -> io::Result<SyncSender<Job>> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(jobs) = &*jobs {
            return Ok(jobs.clone());
        }
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        std::thread::Builder::new()
            .name("names".to_owned())
            .spawn(move || work(&receiver))?;
        *jobs = Some(sender.clone());
        Ok(sender)
    }
}

/// Until nobody can ask any more.
fn work(jobs: &Receiver<Job>) {
    if let Err(error) = leave_table() {
        tracing::warn!(%error, "directories are synced when a descriptor comes free");
    }
    while let Ok((path, told)) = jobs.recv() {
        let synced =
            open_patiently(&path).and_then(|directory| Ok(retry_on_intr(|| fsync(&directory))?));
        // Whoever asked waits for it; a panic there is its own affair.
        drop(told.send(synced));
    }
}

/// Gives the calling thread a table of descriptors of its own, with the standard ones in it.
fn leave_table() -> io::Result<()> {
    // SAFETY: the call takes no pointers and changes no memory. With `CLOSE_RANGE_UNSHARE` the kernel
    // first gives this thread a copy of the table, so what is closed is closed in the copy: every
    // descriptor of the process stays open in the table of all other threads. This thread owns none
    // of them: it was just started, and jobs carry none.
    let closed = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            STANDARD,
            u32::MAX,
            libc::CLOSE_RANGE_UNSHARE,
        )
    };
    if closed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Opens a directory, waiting a while for a descriptor to be free: an opening that was refused is no
/// failed sync, which would be the end of the log directory.
#[expect(
    clippy::disallowed_methods,
    reason = "a thread of its own waits, as it does in the sync itself"
)]
fn open_patiently(path: &Path) -> io::Result<File> {
    for _ in 0..OPEN_TRIES {
        match File::open(path) {
            Err(error) if is_out_of_descriptors(&error) => std::thread::sleep(OPEN_PAUSE),
            done => return done,
        }
    }
    File::open(path)
}
