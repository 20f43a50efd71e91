//! What the broker decides: partitions, producers, leader epochs, cluster metadata, groups, compaction.
//!
//! Everything here is a function of its arguments: no I/O, clock, randomness, `async`, lock, or
//! iteration over a hash map. Time comes in as [`Now`]; what is to be done comes out as values.

pub mod cluster;
pub mod compaction;
pub mod group;
pub mod partition;

/// One reading of both clocks, taken by the caller before it asks for a decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds on a clock that never goes back, since an arbitrary start; for deadlines and
    /// ages. Comparable only within one process.
    pub mono_ns: u64,
    /// Milliseconds since the Unix epoch; only stored, never compared.
    pub wall_ms: i64,
}

/// Nanoseconds in a millisecond.
pub(crate) const NS_PER_MS: u64 = 1_000_000;

impl Now {
    /// The monotonic time `delay_ms` from here; the end of time when that cannot be represented.
    pub fn after_ms(&self, delay_ms: u64) -> u64 {
        self.mono_ns
            .saturating_add(delay_ms.saturating_mul(NS_PER_MS))
    }
}
