//! Tasks on the runtimes, registered with their node so that they can be killed together.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinHandle};

use crate::{BoxFuture, Pool, Spawn, TaskHandle};

/// A runtime for each pool of tasks.
#[derive(Clone, Debug)]
pub(super) struct Handles {
    pub(super) data: Handle,
    pub(super) control: Handle,
    pub(super) background: Handle,
}

impl Handles {
    fn of(&self, pool: Pool) -> &Handle {
        match pool {
            Pool::Data => &self.data,
            Pool::Control => &self.control,
            Pool::Background => &self.background,
        }
    }
}

/// The spawner of one node.
#[derive(Debug)]
pub(super) struct RealSpawn {
    handles: Handles,
    tasks: Arc<Registry>,
    panics: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Registry(Mutex<Tasks>);

#[derive(Debug, Default)]
struct Tasks {
    killed: bool,
    next: u64,
    // `None` between taking the number and having the handle.
    live: BTreeMap<u64, Option<AbortHandle>>,
}

impl Registry {
    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RealSpawn {
    pub(super) fn new(handles: Handles) -> Self {
        Self {
            handles,
            tasks: Arc::default(),
            panics: Arc::default(),
        }
    }

    /// The same runtimes, tasks of another node.
    pub(super) fn another_node(&self) -> Self {
        Self {
            handles: self.handles.clone(),
            tasks: Arc::default(),
            panics: Arc::clone(&self.panics),
        }
    }

    /// Tasks ended by a panic so far.
    pub(super) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }
}

impl Spawn for RealSpawn {
    fn spawn(
        &self,
        pool: Pool,
        name: &'static str,
        task: BoxFuture<'static, ()>,
    ) -> Box<dyn TaskHandle> {
        let id = {
            let mut tasks = self.tasks.tasks();
            if tasks.killed {
                return Box::new(RealTask(None));
            }
            let id = tasks.next;
            tasks.next += 1;
            tasks.live.insert(id, None);
            id
        };
        let listed = Listed {
            registry: Arc::clone(&self.tasks),
            id,
        };
        let guarded = Guarded {
            task,
            name,
            panics: Arc::clone(&self.panics),
            _listed: listed,
        };
        // Without the lock: a runtime that has stopped drops the task here, and with it `Listed`.
        let handle = self.handles.of(pool).spawn(guarded);
        let mut tasks = self.tasks.tasks();
        if tasks.killed {
            handle.abort();
        } else if let Some(slot) = tasks.live.get_mut(&id) {
            *slot = Some(handle.abort_handle());
        }
        Box::new(RealTask(Some(handle)))
    }

    fn kill(&self) {
        let live = {
            let mut tasks = self.tasks.tasks();
            tasks.killed = true;
            std::mem::take(&mut tasks.live)
        };
        for abort in live.into_values().flatten() {
            abort.abort();
        }
    }
}

/// Takes a task off the list when it ends, however it ends.
#[derive(Debug)]
struct Listed {
    registry: Arc<Registry>,
    id: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let removed = self.registry.tasks().live.remove(&self.id);
        drop(removed);
    }
}

/// The task with its panic guard; ends with `true` unless it panicked.
struct Guarded {
    task: BoxFuture<'static, ()>,
    name: &'static str,
    panics: Arc<AtomicU64>,
    _listed: Listed,
}

impl Future for Guarded {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let this = &mut *self;
        // The future is never polled again after a panic, so broken state is not seen.
        if let Ok(poll) = catch_unwind(AssertUnwindSafe(|| this.task.as_mut().poll(cx))) {
            return poll.map(|()| true);
        }
        this.panics.fetch_add(1, Ordering::Relaxed);
        tracing::error!(task = this.name, "a task panicked and was ended");
        Poll::Ready(false)
    }
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// `None` for a task that a killed node refused.
#[derive(Debug)]
struct RealTask(Option<JoinHandle<bool>>);

impl TaskHandle for RealTask {
    fn abort(&self) {
        if let Some(handle) = &self.0 {
            handle.abort();
        }
    }

    fn join(self: Box<Self>) -> BoxFuture<'static, bool> {
        Box::pin(async move {
            match self.0 {
                Some(handle) => handle.await.unwrap_or(false),
                None => false,
            }
        })
    }
}
