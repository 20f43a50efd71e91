//! Closing what is open when a node stops.

use std::sync::{Arc, Mutex, PoisonError};

use millrace_host::Pool;
use tokio::sync::oneshot;

use super::registry::Registry;

/// How many partitions a clean stop closes side by side.
const CLOSED_AT_ONCE: usize = 64;

impl Registry {
    /// Closes every open partition cleanly. Some side by side, so that they share syncs and commits;
    /// not all at once, since each opens files.
    pub(super) async fn close_partitions(&self) {
        let open = self.open_partitions();
        let closers = open.len().min(CLOSED_AT_ONCE);
        let left = Arc::new(Mutex::new(open.into_iter()));
        let mut closing = Vec::with_capacity(closers);
        for _ in 0..closers {
            let (tell, told) = oneshot::channel();
            let left = Arc::clone(&left);
            let close = async move {
                loop {
                    let next = left.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(open) = next else { break };
                    let Some(closed) = open.close() else { continue };
                    if let Err(error) = closed.await {
                        tracing::error!(%error, "a partition was not closed cleanly");
                    }
                }
                // Whoever no longer waits needs no answer.
                tell.send(()).ok();
            };
            let spawn = &self.host.spawn;
            drop(spawn.spawn(Pool::Data, "partition close", Box::pin(close)));
            closing.push(told);
        }
        for closed in closing {
            // One that went without a word has nothing left to close.
            closed.await.ok();
        }
    }
}
