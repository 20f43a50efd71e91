//! How much memory a piece of work holds at one moment, counted by the allocator.
//!
//! What always holds: only the calling thread is counted, since every target runs on one. Memory that
//! C code takes for itself is not seen here; libFuzzer's limit on the process holds that.

use millrace_host::allocation::Counting;
pub(crate) use millrace_host::allocation::peak;

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

    /// Panics when `held` bytes are more than is allowed for an input of `input_bytes`.
    pub(crate) fn hold(self, held: usize, input_bytes: usize) {
        let allowed = self.per_byte * input_bytes + SLACK_BYTES + self.fixed_bytes;
        assert!(
            held <= allowed,
            "{held} bytes were held for {input_bytes} bytes of input, {allowed} are allowed"
        );
    }
}

/// Does `work` on an input of `input_bytes`, and panics when it held more than `bound` allows.
pub(crate) fn within<R>(bound: Bound, input_bytes: usize, work: impl FnOnce() -> R) -> R {
    let (result, peak) = peak(work);
    bound.hold(peak, input_bytes);
    result
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

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
