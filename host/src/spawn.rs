//! Tasks: each belongs to a node, so that a crash of the node drops all of them and nothing else.

use std::fmt;

use crate::BoxFuture;

/// Which runtime a task belongs to (in simulation all are the one executor).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Connections, produce, fetch, flushers: workers that may block briefly in the page cache.
    Data,
    /// Consensus, timers, admin HTTP: never blocks on a file.
    Control,
    /// Compaction: long work that nobody waits for. Its workers are few, and
    /// stand back behind all others where processors are short.
    Background,
}

/// A running task. Dropping the handle leaves the task running.
pub trait TaskHandle: fmt::Debug + Send + Sync {
    /// Ends the task at its next suspension point; does nothing when it has already ended.
    fn abort(&self);

    /// Completes when the task has ended, by itself, by a panic or by [`TaskHandle::abort`].
    /// `true` if it ended by itself.
    fn join(self: Box<Self>) -> BoxFuture<'static, bool>;
}

/// Starts tasks that belong to one node.
pub trait Spawn: fmt::Debug + Send + Sync {
    /// Starts `task`. `name` is for diagnosis. A panic inside ends this task only, is logged with
    /// the name and counted.
    fn spawn(
        &self,
        pool: Pool,
        name: &'static str,
        task: BoxFuture<'static, ()>,
    ) -> Box<dyn TaskHandle>;

    /// Aborts every task of this node and refuses new ones: what `kill -9` does to them.
    fn kill(&self);
}
