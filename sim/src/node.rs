//! One node: its processes one after the other, and the tasks of the running one.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use millrace_host::{BoxFuture, Pool, Spawn, TaskHandle};
use tokio::task::JoinHandle;

use crate::disk::state::DiskState;
use crate::world::{Shared, lock};

/// A node of the world.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) shared: Arc<Shared>,
    /// Counts processes; a handle of another number is a dead process's.
    process: AtomicU64,
    /// Counts boots.
    pub(crate) boot: AtomicU64,
    pub(crate) boot_id_readable: AtomicBool,
    pub(crate) wall_moved_ms: AtomicI64,
    /// Nobody has read the wall clock since it was moved.
    pub(crate) wall_unread: AtomicBool,
    /// How often its processes gave back memory.
    pub(crate) given_back: AtomicU64,
    tasks: Mutex<Tasks>,
    pub(crate) disk: Mutex<DiskState>,
}

#[derive(Default)]
struct Tasks {
    killed: bool,
    next: u64,
    live: BTreeMap<u64, Arc<Slot>>,
    panics: Vec<String>,
}

impl Node {
    pub(crate) fn new(name: &str, shared: Arc<Shared>) -> Self {
        let disk = Mutex::new(DiskState::new(&shared.options.disk));
        Self {
            name: name.to_owned(),
            shared,
            process: AtomicU64::new(1),
            boot: AtomicU64::new(1),
            boot_id_readable: AtomicBool::new(true),
            wall_moved_ms: AtomicI64::new(0),
            wall_unread: AtomicBool::new(false),
            given_back: AtomicU64::new(0),
            tasks: Mutex::default(),
            disk,
        }
    }

    /// Whether `process` is the running one.
    pub(crate) fn runs(&self, process: u64) -> bool {
        self.process.load(Ordering::Relaxed) == process
    }

    /// The number of the running process; begins one when the last was killed.
    pub(crate) fn running_process(&self) -> u64 {
        if lock(&self.tasks).killed {
            self.end_process();
            lock(&self.tasks).killed = false;
        }
        self.process.load(Ordering::Relaxed)
    }

    /// Ends the running process: handles go dead, locks are released, tasks dropped.
    pub(crate) fn end_process(&self) {
        self.process.fetch_add(1, Ordering::Relaxed);
        lock(&self.disk).end_process();
        self.drop_tasks();
    }

    /// Drops every task in the order they were started, and refuses new ones.
    fn drop_tasks(&self) {
        let live = {
            let mut tasks = lock(&self.tasks);
            tasks.killed = true;
            std::mem::take(&mut tasks.live)
        };
        let _runtime = self.shared.handle.enter();
        for slot in live.into_values() {
            slot.end();
        }
    }

    pub(crate) fn power_cut(&self, flips: bool) {
        self.boot.fetch_add(1, Ordering::Relaxed);
        let mut disk = lock(&self.disk);
        crate::disk::crash::power_cut(&self.shared, &self.name, &mut disk, flips);
    }

    pub(crate) fn panics(&self) -> Vec<String> {
        lock(&self.tasks).panics.clone()
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Where a task's future lives, so that a kill drops it at that very moment.
struct Slot(Mutex<SlotState>);

struct SlotState {
    // Absent while it is polled and after its end.
    future: Option<BoxFuture<'static, ()>>,
    ended: bool,
    waker: Option<Waker>,
}

impl Slot {
    fn end(&self) {
        let (future, waker) = {
            let mut state = lock(&self.0);
            state.ended = true;
            (state.future.take(), state.waker.take())
        };
        // A panic in a destructor is the task's, not the killer's.
        drop(catch_unwind(AssertUnwindSafe(|| drop(future))));
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The task as the executor sees it; ends with whether it ended by itself.
struct Running {
    node: Arc<Node>,
    slot: Arc<Slot>,
    id: u64,
    name: &'static str,
}

impl Running {
    fn unlist(&self) {
        let removed = lock(&self.node.tasks).live.remove(&self.id);
        drop(removed);
    }

    fn panicked(&self, panic: &(dyn std::any::Any + Send)) {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        let line = format!("{}/{}: {text}", self.node.name, self.name);
        self.node.shared.event(format_args!("panic {line}"));
        lock(&self.node.tasks).panics.push(line);
    }
}

impl Future for Running {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let taken = {
            let mut state = lock(&self.slot.0);
            state.waker = Some(cx.waker().clone());
            state.future.take()
        };
        let Some(mut future) = taken else {
            self.unlist();
            return Poll::Ready(false);
        };
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        if matches!(polled, Ok(Poll::Pending)) {
            let mut state = lock(&self.slot.0);
            if !state.ended {
                state.future = Some(future);
                return Poll::Pending;
            }
        }
        let by_itself = matches!(polled, Ok(Poll::Ready(())));
        if let Err(panic) = &polled {
            self.panicked(&**panic);
        }
        self.unlist();
        self.node.shared.event(format_args!(
            "end {}/{} {}",
            self.node.name, self.name, self.id
        ));
        Poll::Ready(by_itself)
    }
}

/// The memory of a machine's processes: counts how often some was given back.
#[derive(Debug)]
pub(crate) struct SimMemory {
    pub(crate) node: Arc<Node>,
}

impl millrace_host::Memory for SimMemory {
    fn give_back(&self) {
        self.node.given_back.fetch_add(1, Ordering::Relaxed);
    }
}

/// Starts the tasks of one process.
#[derive(Debug)]
pub(crate) struct SimSpawn {
    pub(crate) node: Arc<Node>,
    pub(crate) process: u64,
}

impl Spawn for SimSpawn {
    fn spawn(
        &self,
        _pool: Pool,
        name: &'static str,
        task: BoxFuture<'static, ()>,
    ) -> Box<dyn TaskHandle> {
        let node = &self.node;
        let slot = Arc::new(Slot(Mutex::new(SlotState {
            future: None,
            ended: false,
            waker: None,
        })));
        let id = {
            let mut tasks = lock(&node.tasks);
            if tasks.killed || !node.runs(self.process) {
                return Box::new(SimTask { slot, handle: None });
            }
            let id = tasks.next;
            tasks.next += 1;
            tasks.live.insert(id, Arc::clone(&slot));
            id
        };
        lock(&slot.0).future = Some(task);
        node.shared
            .event(format_args!("spawn {}/{name} {id}", node.name));
        let running = Running {
            node: Arc::clone(node),
            slot: Arc::clone(&slot),
            id,
            name,
        };
        let handle = node.shared.handle.spawn(running);
        Box::new(SimTask {
            slot,
            handle: Some(handle),
        })
    }

    fn kill(&self) {
        if self.node.runs(self.process) {
            self.node
                .shared
                .event(format_args!("kill tasks of {}", self.node.name));
            self.node.drop_tasks();
        }
    }
}

/// `None` for a task that a dead process refused.
struct SimTask {
    slot: Arc<Slot>,
    handle: Option<JoinHandle<bool>>,
}

impl TaskHandle for SimTask {
    fn abort(&self) {
        self.slot.end();
    }

    fn join(self: Box<Self>) -> BoxFuture<'static, bool> {
        Box::pin(async move {
            match self.handle {
                Some(handle) => handle.await.unwrap_or(false),
                None => false,
            }
        })
    }
}

impl fmt::Debug for SimTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimTask")
    }
}
