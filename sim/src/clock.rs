//! A node's clocks and randomness.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use millrace_host::{BoxFuture, Clock, Mono, Now, Rng};
use rand::RngCore;

use crate::faults;
use crate::node::Node;
use crate::world::{Shared, lock};

/// Monotonic time is the executor's; wall time is that plus what the node's clock was moved by.
#[derive(Debug)]
pub(crate) struct SimClock {
    pub(crate) node: Arc<Node>,
}

impl Clock for SimClock {
    fn now(&self) -> Now {
        let shared = &self.node.shared;
        let mono = Mono(shared.now_ns());
        if self.node.wall_unread.swap(false, Ordering::Relaxed) {
            shared.count(faults::WALL_CLOCK, 1);
        }
        let moved_ms = self.node.wall_moved_ms.load(Ordering::Relaxed);
        let passed_ms = i64::try_from(mono.as_ms()).unwrap_or(i64::MAX);
        let wall_ms = shared.options.wall_start_ms.saturating_add(passed_ms);
        Now {
            mono,
            wall_ms: wall_ms.saturating_add(moved_ms),
        }
    }

    fn sleep_until(&self, deadline: Mono) -> BoxFuture<'static, ()> {
        Box::pin(self.node.shared.sleep_until(deadline.0))
    }
}

/// Draws from the run's seed.
#[derive(Debug)]
pub(crate) struct SimRng {
    pub(crate) shared: Arc<Shared>,
}

impl Rng for SimRng {
    fn fill(&self, buf: &mut [u8]) {
        lock(&self.shared.rng).fill_bytes(buf);
    }
}
