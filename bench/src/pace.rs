//! When a request is due: a thread that sleeps by the kernel's own timer, since an executor's rounds
//! up to the next millisecond, which would be in every latency at a fixed rate.

use std::sync::Arc;
use std::time::Duration;

use millrace_host::{Clock, Mono};

use crate::text;

/// Starts a thread that gives out so many numbers from 0, each with when it was due, once it is. It ends
/// with the last one, or when nobody takes one any more: whoever did has failed then, and says why.
pub(crate) fn start(
    clock: &Arc<dyn Clock>,
    (start, interval): (Mono, Duration),
    count: usize,
    give: impl Fn(usize, Mono) -> bool + Send + 'static,
) -> Result<(), String> {
    let clock = Arc::clone(clock);
    let pacing = move || {
        for number in 0..count {
            let due = due(start, interval, number);
            wait_until(&*clock, due);
            if !give(number, due) {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("pace".to_owned());
    thread.spawn(pacing).map(drop).map_err(text)
}

/// When request `number` is due at a fixed rate.
pub(crate) fn due(start: Mono, interval: Duration, number: usize) -> Mono {
    let nanos = interval.as_nanos().saturating_mul(number as u128);
    start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Blocks this thread until then; not at all when it has passed.
pub(crate) fn wait_until(clock: &dyn Clock, due: Mono) {
    loop {
        let now = clock.now().mono;
        if now >= due {
            return;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "a thread of its own whose only work is to wake in time"
        )]
        std::thread::sleep(due.since(now));
    }
}
