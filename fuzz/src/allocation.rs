//! How much memory a piece of work holds at one moment, counted by the allocator.
//!
//! What always holds: only the calling thread is counted (every target runs on one thread), and a
//! growing buffer counts old and new together, as they may in truth. Memory that C code takes for
//! itself is not seen here; libFuzzer's limit on the process holds that.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What is always allowed on top of a multiple of the input: texts of errors and the like.
const SLACK_BYTES: usize = 64 * 1024;

/// The multiple of the input that a reader of foreign bytes may hold, unless its target says more.
const PER_BYTE: usize = 4;

/// What a target's work may hold at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    /// Bytes held for each byte of input.
    pub(crate) per_byte: usize,
    /// Bytes of buffers whose size is fixed by design, whatever the input says.
    pub(crate) fixed_bytes: usize,
}

impl Bound {
    /// Four bytes for each of the input and 64 KiB, and no more.
    pub(crate) const STRICT: Self = Self::with_fixed(0);

    /// The same beside buffers of a fixed size.
    pub(crate) const fn with_fixed(fixed_bytes: usize) -> Self {
        Self {
            per_byte: PER_BYTE,
            fixed_bytes,
        }
    }
}

/// Does `work` on an input of `input_bytes`, and panics when it held more than `bound` allows.
pub(crate) fn within<R>(bound: Bound, input_bytes: usize, work: impl FnOnce() -> R) -> R {
    let (result, peak) = peak(work);
    let allowed = bound.per_byte * input_bytes + SLACK_BYTES + bound.fixed_bytes;
    assert!(
        peak <= allowed,
        "{peak} bytes were held for {input_bytes} bytes of input, {allowed} are allowed"
    );
    result
}

/// Does `work` and says how many bytes it held at one moment, beyond those held before.
pub(crate) fn peak<R>(work: impl FnOnce() -> R) -> (R, usize) {
    let start = NOW.get();
    PEAK.set(start);
    let result = work();
    let peak = PEAK.get().saturating_sub(start);
    (result, usize::try_from(peak).unwrap_or(0))
}

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn grown(bytes: usize) {
    // A thread that ends frees after its cells are gone: nothing is counted then.
    let Ok(now) = NOW.try_with(|now| {
        now.set(now.get().wrapping_add_unsigned(bytes));
        now.get()
    }) else {
        return;
    };
    if let Ok(peak) = PEAK.try_with(Cell::get) {
        PEAK.set(peak.max(now));
    }
}

fn shrunk(bytes: usize) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_at_once_is_counted_and_what_was_given_back_is_not() {
        within(Bound::STRICT, 0, || {
            for _ in 0..10 {
                drop(std::hint::black_box(vec![1_u8; SLACK_BYTES - 1024]));
            }
        });
    }

    #[test]
    #[should_panic(expected = "bytes were held for 10 bytes of input")]
    fn more_than_the_bound_is_a_panic() {
        within(Bound::STRICT, 10, || {
            drop(std::hint::black_box(vec![1_u8; SLACK_BYTES + 41]));
        });
    }
}
