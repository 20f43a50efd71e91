//! Whether everybody gets on: each task of a workload has a pulse, which beats when a request of
//! its own was answered with success.

use std::sync::atomic::{AtomicU64, Ordering};

/// One task's progress.
#[derive(Debug)]
pub struct Pulse {
    /// Whose it is.
    pub name: String,
    beats: AtomicU64,
}

impl Pulse {
    /// Of somebody who has not begun.
    pub fn new(name: String) -> Self {
        Self {
            name,
            beats: AtomicU64::new(0),
        }
    }

    /// It got on.
    pub fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it got on.
    pub fn count(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }
}
