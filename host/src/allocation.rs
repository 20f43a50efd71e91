//! An allocator that counts, for tests of how much memory foreign bytes make a reader take.
//!
//! What always holds: every call goes on to the system's allocator, unchanged; a growing buffer
//! counts old and new together, as they may lie in memory in truth; memory that C code takes for
//! itself is not seen. A test program counts once it says
//! `#[global_allocator] static ALLOCATOR: Counting = Counting;`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, counted by thread and for the whole process.
#[derive(Debug)]
pub struct Counting;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

static PROCESS_NOW: AtomicUsize = AtomicUsize::new(0);
static PROCESS_PEAK: AtomicUsize = AtomicUsize::new(0);
static PROCESS_CALLS: AtomicUsize = AtomicUsize::new(0);

/// Does `work` and says how many bytes the calling thread held for it at one moment, beyond those
/// held before.
pub fn peak<R>(work: impl FnOnce() -> R) -> (R, usize) {
    let start = NOW.get();
    PEAK.set(start);
    let result = work();
    let peak = PEAK.get().saturating_sub(start);
    (result, usize::try_from(peak).unwrap_or(0))
}

/// Begins to count all threads together; gives the bytes that are held now.
pub fn begin_process() -> usize {
    let now = PROCESS_NOW.load(Ordering::Relaxed);
    PROCESS_PEAK.store(now, Ordering::Relaxed);
    now
}

/// The most bytes that all threads held at one moment since [`begin_process`].
pub fn process_peak() -> usize {
    PROCESS_PEAK.load(Ordering::Relaxed)
}

/// How often any thread has asked for memory since the start; a buffer that grows asks again.
pub fn process_calls() -> usize {
    PROCESS_CALLS.load(Ordering::Relaxed)
}

fn grown(bytes: usize) {
    PROCESS_CALLS.fetch_add(1, Ordering::Relaxed);
    let now = PROCESS_NOW.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PROCESS_PEAK.fetch_max(now, Ordering::Relaxed);
    // A thread that ends frees after its cells are gone: nothing is counted for it then.
    let Ok(now) = NOW.try_with(|now| {
        now.set(now.get().wrapping_add_unsigned(bytes));
        now.get()
    }) else {
        return;
    };
    let _gone = PEAK.try_with(|peak| peak.set(peak.get().max(now)));
}

fn shrunk(bytes: usize) {
    PROCESS_NOW.fetch_sub(bytes, Ordering::Relaxed);
    let _gone = NOW.try_with(|now| now.set(now.get().wrapping_sub_unsigned(bytes)));
}

#[expect(
    unsafe_code,
    reason = "an allocator that counts; every call goes on to the system's"
)]
// SAFETY: each method passes its arguments on unchanged and gives back what it gets.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        shrunk(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
    // Growing goes through alloc, copy, dealloc: both sizes count at once.
}
