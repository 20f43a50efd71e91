//! When a request is due: a thread that sleeps by the kernel's own timer, since an executor's rounds
//! up to the next millisecond, which would be in every latency at a fixed rate.

use std::time::Duration;

use millrace_host::{Clock, Mono};

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
