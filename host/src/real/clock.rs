//! The machine's clocks. Monotonic time counts from the first reading of this process.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::{BoxFuture, Clock, Mono, Now};

/// Where [`Mono`] begins: one point for the whole process, so that hosts can be mixed.
fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(instant)
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock that others must use"
)]
fn instant() -> Instant {
    Instant::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock that others must use"
)]
fn wall_ms() -> i64 {
    let now = SystemTime::now();
    let ms = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    // A clock set before 1970 is a negative number, not an error.
    now.duration_since(UNIX_EPOCH)
        .map_or_else(|before| -ms(before.duration()), ms)
}

/// Reads the system's clocks; sleeps on the timer of the runtime that polls.
#[derive(Debug)]
pub(super) struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> Now {
        let start = start();
        let mono = Mono(0) + instant().saturating_duration_since(start);
        Now {
            mono,
            wall_ms: wall_ms(),
        }
    }

    fn sleep_until(&self, deadline: Mono) -> BoxFuture<'static, ()> {
        let at = start() + Duration::from_nanos(deadline.0);
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the sleep that others must use"
        )]
        Box::pin(async move { tokio::time::sleep_until(at.into()).await })
    }
}
