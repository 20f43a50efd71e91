//! How late the runtime is: a task that is due once a second says when it came to run. What blocks a
//! worker shows here before clients feel it, and one that never comes is what `/health/live` tells.

use std::sync::Arc;
use std::time::Duration;

use millrace_host::Clock;
use prometheus::Histogram;

use crate::health::Health;

/// How often.
const INTERVAL: Duration = Duration::from_secs(1);

/// Runs until the node ends.
pub(crate) async fn watch(clock: Arc<dyn Clock>, lateness: Histogram, health: Arc<Health>) {
    loop {
        let due = clock.now().mono + INTERVAL;
        clock.sleep_until(due).await;
        let now = clock.now().mono;
        let late = now.since(due);
        health.beat(now);
        lateness.observe(late.as_secs_f64());
    }
}
