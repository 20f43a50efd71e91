//! Giving freed memory back to the machine: `malloc_trim`, which no safe crate offers.
//!
//! Each thread allocates from an arena of its own, and glibc gives back only what is free at an arena's
//! very end: one small thing that outlives its neighbours keeps all of them. 100,000 partitions that
//! were deleted left 450 MiB so.
#![cfg_attr(
    target_env = "gnu",
    expect(
        unsafe_code,
        reason = "a call of the C library without a safe wrapper; argued below"
    )
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::threads;
use crate::Memory;

/// The process's allocator. One call at a time is under way.
#[derive(Debug, Default)]
pub(super) struct RealMemory {
    is_busy: Arc<AtomicBool>,
}

impl Memory for RealMemory {
    fn give_back(&self) {
        if self.is_busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let is_busy = Arc::clone(&self.is_busy);
        let work = move || {
            trim();
            is_busy.store(false, Ordering::Release);
        };
        let thread = std::thread::Builder::new().name("memory".to_owned());
        if let Err(error) = threads::start(thread, work) {
            self.is_busy.store(false, Ordering::Release);
            tracing::debug!(%error, "freed memory is kept");
        }
    }
}

#[cfg(target_env = "gnu")]
fn trim() {
    // SAFETY: the call takes no pointers, may be made by any thread at any time (it takes each arena's
    // lock in turn), and touches only pages that lie whole in chunks that were freed.
    let given = unsafe { libc::malloc_trim(0) };
    tracing::debug!(given, "freed memory given back");
}

#[cfg(not(target_env = "gnu"))]
fn trim() {
    tracing::debug!("freed memory is the allocator's own affair here");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that this process has resident.
    #[cfg(target_env = "gnu")]
    fn resident() -> u64 {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages = statm.split_whitespace().nth(1).unwrap();
        pages.parse::<u64>().unwrap() * rustix::param::page_size() as u64
    }

    #[cfg(target_env = "gnu")]
    #[test]
    fn what_was_freed_between_things_that_stay_is_given_back() {
        const EACH: usize = 1 << 10;
        const COUNT: usize = 100_000;
        let mut all: Vec<Option<Box<[u8]>>> = (0..COUNT)
            .map(|at| Some(vec![at as u8; EACH].into_boxed_slice()))
            .collect();
        // The last one stays, and one in a hundred before it.
        for (at, one) in all.iter_mut().enumerate() {
            if (at + 1) % 100 != 0 {
                *one = None;
            }
        }
        let before = resident();
        trim();
        let given = before.saturating_sub(resident());
        assert!(
            given > (COUNT * EACH / 2) as u64,
            "{given} bytes of {before}"
        );
        assert_eq!(all.last().unwrap().as_ref().unwrap()[0], (COUNT - 1) as u8);
    }
}
