//! Time: monotonic for every deadline, wall only where Kafka stores it (timestamps, retention).

use std::fmt;
use std::ops::Add;
use std::time::Duration;

use crate::BoxFuture;

/// A point in monotonic time: nanoseconds since an arbitrary start that is the same for the whole
/// life of one process. Never stored on disk, never compared across processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// How long after `earlier` this point lies; zero when it does not lie after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Whole milliseconds since the arbitrary start.
    pub fn as_ms(self) -> u64 {
        self.0 / 1_000_000
    }
}

impl Add<Duration> for Mono {
    type Output = Self;

    /// Saturates: a deadline past the end of representable time never comes.
    fn add(self, delay: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For deadlines and ages.
    pub mono: Mono,
    /// Milliseconds since the Unix epoch. May jump in either direction between two readings.
    pub wall_ms: i64,
}

/// The clocks of one node.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Reads both clocks.
    fn now(&self) -> Now;

    /// Completes once the monotonic clock has reached `deadline`; at once if it already has.
    fn sleep_until(&self, deadline: Mono) -> BoxFuture<'static, ()>;
}
