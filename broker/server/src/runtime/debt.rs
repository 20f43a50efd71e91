//! Work in the background that keeps to so many bytes in a second: what was done beyond that is owed,
//! and paid by waiting.
//!
//! What always holds: what is owed falls by what the limit allows in the time that passed, never below
//! nothing; a limit that changes counts from then on, for what is owed already too.

use std::time::Duration;

use millrace_host::Mono;

/// Bytes beyond what the limit allowed so far.
#[derive(Debug, Default)]
pub(super) struct Debt {
    bytes: u64,
    paid_at: Mono,
}

impl Debt {
    /// So many bytes more were read or written.
    pub(super) fn owe(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// How long to wait before more is read or written; for ever where nothing is allowed.
    pub(super) fn pause(&mut self, now: Mono, per_second: u64) -> Duration {
        const SECOND_NS: u128 = 1_000_000_000;
        let passed_ns = now.since(self.paid_at).as_nanos();
        let paid = passed_ns.saturating_mul(u128::from(per_second)) / SECOND_NS;
        self.bytes = self
            .bytes
            .saturating_sub(u64::try_from(paid).unwrap_or(u64::MAX));
        if paid > 0 || self.bytes == 0 {
            self.paid_at = now;
        }
        if per_second == 0 {
            return Duration::MAX;
        }
        let ns = u128::from(self.bytes) * SECOND_NS / u128::from(per_second);
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }
}
