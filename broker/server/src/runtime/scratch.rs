//! Reused buffers for looking into batches: one for each request that looks at the same time.

use std::sync::{Mutex, PoisonError};

use millrace_protocol::records::Scratch;

/// Most idle scratches kept; a further one is dropped.
const KEPT_MAX: usize = 16;

/// Scratches that nobody uses at the moment.
#[derive(Debug)]
pub(crate) struct Scratches {
    idle: Mutex<Vec<Scratch>>,
    inflated_bytes_max: usize,
}

impl Scratches {
    /// Scratches that inflate a batch to `inflated_bytes_max` bytes at most.
    pub(crate) fn new(inflated_bytes_max: usize) -> Self {
        Self {
            idle: Mutex::new(Vec::new()),
            inflated_bytes_max,
        }
    }

    /// Runs `work` with a scratch.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> R {
        let mut scratch = self.take();
        let result = work(&mut scratch);
        self.give_back(scratch);
        result
    }

    /// A scratch to keep across waits; [`Scratches::give_back`] when done.
    pub(crate) fn take(&self) -> Scratch {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        idle.unwrap_or_else(|| Scratch::new(self.inflated_bytes_max))
    }

    /// Keeps a scratch for the next one.
    pub(crate) fn give_back(&self, scratch: Scratch) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT_MAX {
            idle.push(scratch);
        }
    }
}
