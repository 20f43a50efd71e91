//! The tasks of a producer or a consumer: some of its own, and one for each broker.
//!
//! What always holds: a broker has at most one; all of them end with their owner.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use millrace_host::{Host, Pool, TaskHandle};
use tokio::sync::Notify;

use super::lock;

/// The tasks.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    brokers: Mutex<BTreeMap<i32, Arc<Notify>>>,
    tasks: Mutex<Vec<Box<dyn TaskHandle>>>,
}

impl Workers {
    /// Starts one of the owner's own.
    pub(crate) fn spawn(
        &self,
        host: &Host,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let spawned = host.spawn.spawn(Pool::Data, name, Box::pin(task));
        lock(&self.tasks).push(spawned);
    }

    /// Sees that these brokers have theirs, which is told when to look, and tells it to.
    pub(crate) fn serve<F: Future<Output = ()> + Send + 'static>(
        &self,
        host: &Host,
        name: &'static str,
        ids: impl Iterator<Item = i32>,
        task: impl Fn(i32, Arc<Notify>) -> F,
    ) {
        for id in ids {
            let (wake, is_new) = {
                let mut brokers = lock(&self.brokers);
                let is_new = !brokers.contains_key(&id);
                (Arc::clone(brokers.entry(id).or_default()), is_new)
            };
            if is_new {
                self.spawn(host, name, task(id, Arc::clone(&wake)));
            }
            wake.notify_one();
        }
    }

    /// Tells a broker's task to look.
    pub(crate) fn wake(&self, broker: i32) {
        if let Some(wake) = lock(&self.brokers).get(&broker) {
            wake.notify_one();
        }
    }

    /// Tells all of them to look.
    pub(crate) fn wake_all(&self) {
        for wake in lock(&self.brokers).values() {
            wake.notify_one();
        }
    }

    /// Ends all of them.
    pub(crate) fn end(&self) {
        for task in lock(&self.tasks).drain(..) {
            task.abort();
        }
    }
}
