//! Room on the device (F4): produces are refused before a partial append, and a reserve lets
//! deletes, metadata and offset commits work on a full disk.
//!
//! What always holds: the device is asked at most once a second while there is room, and at every
//! refusal at most once a second, so that service resumes soon after room comes back.

use std::io;
use std::path::PathBuf;

use millrace_host::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use millrace_host::sync::{Mutex, lock};
use millrace_host::{Host, OpenMode};

use crate::dir::LogDir;
use crate::dir::format::RESERVE;

/// Room that ordinary appends leave alone: names, indexes, snapshots.
const MARGIN: u64 = 4 << 20;
/// Room that even privileged writes leave alone.
const PRIVILEGED_MARGIN: u64 = 256 << 10;
/// Bytes handed out between two looks at the device.
const BUDGET_MAX: u64 = 256 << 20;
/// How long an answer of the device is believed.
const FRESH_MS: u64 = 1000;
/// The reserve is at most this share of the device.
const RESERVE_SHARE: u64 = 16;

impl LogDir {
    /// Whether appends to it are refused for want of room.
    pub fn is_full(&self) -> bool {
        self.room.is_full()
    }
}

/// The room of one directory.
#[derive(Debug)]
pub(crate) struct Room {
    host: Host,
    path: PathBuf,
    reserve_bytes: u64,
    budget: AtomicI64,
    checked_ms: AtomicU64,
    /// Appends were refused, and an operator was told so.
    full: AtomicBool,
    reserve: Mutex<Reserve>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reserve {
    None,
    Held,
}

impl Room {
    pub(crate) fn new(host: Host, path: PathBuf, reserve_bytes: u64) -> Self {
        Self {
            host,
            path,
            reserve_bytes,
            budget: AtomicI64::new(0),
            checked_ms: AtomicU64::new(0),
            full: AtomicBool::new(false),
            reserve: Mutex::new(Reserve::None),
        }
    }

    /// Whether `bytes` more fit.
    pub(crate) fn admit(&self, bytes: u64, privileged: bool) -> bool {
        let want = i64::try_from(bytes).unwrap_or(i64::MAX);
        if self.is_fresh() {
            if self.budget.load(Ordering::Relaxed) >= want {
                self.budget.fetch_sub(want, Ordering::Relaxed);
                return true;
            }
            if !privileged && self.budget.load(Ordering::Relaxed) < 0 {
                return false;
            }
        }
        let Ok(space) = self.host.disk.space(&self.path) else {
            // The device doesn't say: the write itself will.
            return true;
        };
        self.refresh(space.available);
        if self.budget.load(Ordering::Relaxed) >= want {
            self.budget.fetch_sub(want, Ordering::Relaxed);
            return true;
        }
        if !privileged {
            // Below zero: refused until the answer is no longer fresh.
            self.budget.store(-1, Ordering::Relaxed);
            if !self.full.swap(true, Ordering::Relaxed) {
                tracing::error!(path = %self.path.display(), free_bytes = space.available,
                    "the disk of a log directory is full: produces to it are refused until there is \
                     room; delete topics, lower retention, or add room");
            }
            return false;
        }
        space.available >= bytes.saturating_add(PRIVILEGED_MARGIN) || self.release()
    }

    /// Whether there is no room for appends: none at all, or none yet since they were refused.
    fn is_full(&self) -> bool {
        let Ok(space) = self.host.disk.space(&self.path) else {
            // The device doesn't say.
            return false;
        };
        let told = self.full.load(Ordering::Relaxed);
        space.available <= if told { 2 * MARGIN } else { MARGIN }
    }

    fn now_ms(&self) -> u64 {
        self.host.clock.now().mono.as_ms()
    }

    fn is_fresh(&self) -> bool {
        let checked = self.checked_ms.load(Ordering::Relaxed);
        checked > 0 && self.now_ms().saturating_sub(checked) < FRESH_MS
    }

    fn refresh(&self, available: u64) {
        let budget = available.saturating_sub(MARGIN).min(BUDGET_MAX);
        self.budget.store(budget as i64, Ordering::Relaxed);
        self.checked_ms
            .store(self.now_ms().max(1), Ordering::Relaxed);
        // Twice the margin, so that a disk on the edge isn't told of again and again.
        if available > 2 * MARGIN && self.full.swap(false, Ordering::Relaxed) {
            tracing::warn!(path = %self.path.display(), free_bytes = available,
                "there is room again: produces are taken");
        }
        if available > self.reserve_bytes.saturating_mul(2).saturating_add(MARGIN) {
            self.hold();
        }
    }

    /// Takes the reserve if it isn't held; after the start, and again once room has come back.
    /// Only where that leaves room: a file system that can't give all of it may take what it has
    /// for a moment, and whoever writes then meets a full disk.
    pub(crate) fn hold(&self) {
        let mut reserve = lock(&self.reserve);
        if *reserve == Reserve::Held || self.reserve_bytes == 0 {
            return;
        }
        match self.take_reserve() {
            Ok(()) => *reserve = Reserve::Held,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "no room for the reserve");
            }
        }
    }

    fn take_reserve(&self) -> io::Result<()> {
        let disk = &self.host.disk;
        let space = disk.space(&self.path)?;
        let bytes = self.reserve_bytes.min(space.total / RESERVE_SHARE);
        let file = disk.open(&self.path.join(RESERVE), OpenMode::Create)?;
        // What an earlier run took is still there.
        let missing = bytes.saturating_sub(file.len()?);
        if missing > 0 && space.available < missing.saturating_add(2 * MARGIN) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.allocate(0, bytes)
    }

    /// Gives the reserve to whoever may have it. `false` when there is none left.
    fn release(&self) -> bool {
        let mut reserve = lock(&self.reserve);
        if *reserve == Reserve::None {
            return false;
        }
        tracing::warn!(path = %self.path.display(), "disk full: using the reserve");
        let freed = self
            .host
            .disk
            .open(&self.path.join(RESERVE), OpenMode::Write)
            .and_then(|file| file.set_len(0));
        *reserve = Reserve::None;
        freed.is_ok()
    }
}

#[cfg(test)]
#[path = "space_tests.rs"]
mod tests;
