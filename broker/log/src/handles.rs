//! The bounded set of open segments.
//!
//! A segment opens its files when they are first used and keeps them until this cache, past its
//! limit, picks it: second chance, oldest first. What always holds: a segment whose log file anyone
//! else still holds (the flusher while bytes are unflushed or unsettled, a reply being sent) or that
//! is pinned is never picked (`durability.md` S2), so that the descriptor that wrote is the one that
//! syncs. An idle partition keeps no descriptor once newer use has pushed it out.

use std::collections::VecDeque;
use std::io;

use millrace_host::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use millrace_host::sync::{Arc, Mutex, Weak, lock};
use millrace_host::{Disk, File};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::segment::Segment;

/// Of the limit, one part of this many may be segments that stay open until they roll. What isn't leaves
/// with a sync for each append.
const UNTIL_ROLLED_PART: usize = 2;
/// Most rounds of a call that opened a segment: the rest is left to the next ones.
const ROUNDS_AT_OPENING: usize = 128;
/// Of one that found it open: with more in use than the limit there is nothing to close, and every
/// append would look in vain.
const ROUNDS_AT_USE: usize = 4;

/// Open segments of one log directory.
#[derive(Debug)]
pub struct Handles {
    disk: Arc<dyn Disk>,
    limit: usize,
    open: Mutex<VecDeque<Weak<Segment>>>,
    /// Length of `open`, to be looked at without its lock.
    count: AtomicUsize,
    until_rolled: Arc<Semaphore>,
    indexes_rebuilt: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// Leave for one partition's active segment to stay open until it rolls, as long as this lives.
#[derive(Debug)]
pub(crate) struct UntilRolled(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

/// How the set is used, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandleCounts {
    /// Times the log file of a segment was wanted and open.
    pub hits: u64,
    /// Times it had to be opened.
    pub misses: u64,
    /// Segments that are open now.
    pub open: u64,
}

impl Handles {
    /// A cache that keeps at most `limit` segments open unless more hold unsettled bytes. Each has a
    /// descriptor, and a second one while an index that still grows is looked up or the partition is new.
    pub fn new(disk: Arc<dyn Disk>, limit: usize) -> Self {
        Self {
            disk,
            limit: limit.max(1),
            open: Mutex::new(VecDeque::new()),
            count: AtomicUsize::new(0),
            until_rolled: Arc::new(Semaphore::new((limit / UNTIL_ROLLED_PART).max(1))),
            indexes_rebuilt: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// Leave for a partition of the page cache, whose segments are synced when they roll, to keep the
    /// active one open until then; `None` when enough others do.
    pub(crate) fn until_rolled(&self) -> Option<UntilRolled> {
        let permit = Arc::clone(&self.until_rolled).try_acquire_owned();
        permit.ok().map(UntilRolled)
    }

    /// The disk behind the cache.
    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// How many segments are open now.
    pub fn open_segments(&self) -> usize {
        lock(&self.open).len()
    }

    /// How the set is used. Takes no lock.
    pub fn counts(&self) -> HandleCounts {
        HandleCounts {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            open: self.count.load(Ordering::Relaxed) as u64,
        }
    }

    /// How many indexes were found damaged and built anew since the start.
    pub fn indexes_rebuilt(&self) -> u64 {
        self.indexes_rebuilt.load(Ordering::Relaxed)
    }

    /// Counts a rebuilt index.
    pub(crate) fn count_rebuilt(&self) {
        self.indexes_rebuilt.fetch_add(1, Ordering::Relaxed);
    }

    /// The log file of a segment, opened when it was closed.
    pub(crate) fn log(&self, segment: &Arc<Segment>) -> io::Result<Arc<dyn File>> {
        let (file, opened) = segment.log_file(self.disk.as_ref())?;
        let count = if opened { &self.misses } else { &self.hits };
        count.fetch_add(1, Ordering::Relaxed);
        if opened {
            self.admit(segment);
        } else if self.count.load(Ordering::Relaxed) > self.limit {
            // What could not be closed when it was too much may have settled since.
            self.shrink(&mut lock(&self.open), segment, ROUNDS_AT_USE);
        }
        Ok(file)
    }

    /// Takes note of a segment that was opened, and closes what is too much.
    pub(crate) fn admit(&self, segment: &Arc<Segment>) {
        let mut open = lock(&self.open);
        open.push_back(Arc::downgrade(segment));
        self.shrink(&mut open, segment, ROUNDS_AT_OPENING);
    }

    /// Closes segments, the oldest first, until the limit is met or all are in use.
    fn shrink(&self, open: &mut VecDeque<Weak<Segment>>, except: &Arc<Segment>, most: usize) {
        // Each round closes one, forgets one that is gone, or takes a second chance away.
        let mut rounds = most.min(open.len() * 2);
        while open.len() > self.limit && rounds > 0 {
            rounds -= 1;
            let Some(oldest) = open.pop_front() else {
                break;
            };
            let Some(candidate) = oldest.upgrade() else {
                continue;
            };
            if Arc::ptr_eq(&candidate, except) || !candidate.try_close() {
                open.push_back(oldest);
            }
        }
        self.count.store(open.len(), Ordering::Relaxed);
    }
}
