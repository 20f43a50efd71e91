//! Bounded pools of threads for what waits on a device.
//!
//! What always holds: an operation handed to a pool runs to its end whether or not anyone still
//! waits for it; a pool has at most its limit of threads and of waiting operations; threads are
//! made on demand and leave after an idle time.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Options, threads};
use crate::Completion;

/// Stack of a pool thread: system calls and their buffers on the heap, nothing deep.
const POOL_STACK_BYTES: usize = 256 << 10;

type Job = Box<dyn FnOnce() + Send>;

/// Devices whose syncs have a pool of their own; those of any more share one.
const SYNC_POOLS_MAX: usize = 16;

/// The pools of the process.
#[derive(Debug)]
pub(super) struct Pools {
    /// `fdatasync` of files, `fsync` of directories.
    pub(super) sync: SyncPools,
    /// Reads, and `sendfile`, of bytes that aren't resident.
    pub(super) cold: ThreadPool,
    /// Directory reads and changes of names.
    pub(super) directory: ThreadPool,
    /// Host name look-ups.
    pub(super) resolve: ThreadPool,
}

impl Pools {
    pub(super) fn new(options: &Options) -> Self {
        let pool = |name, threads| ThreadPool::new(options, (name, threads));
        Self {
            sync: SyncPools {
                options: options.clone(),
                of_device: Mutex::default(),
            },
            cold: pool("cold", options.cold_read_threads),
            directory: pool("directory", options.directory_threads),
            resolve: pool("resolve", options.resolve_threads),
        }
    }

    /// How often a caller found a queue full and had to wait.
    pub(super) fn full_waits(&self) -> u64 {
        let syncs = self
            .sync
            .of_device()
            .values()
            .map(ThreadPool::full_waits)
            .sum::<u64>();
        let others = [&self.cold, &self.directory, &self.resolve];
        syncs + others.iter().map(|pool| pool.full_waits()).sum::<u64>()
    }
}

/// A pool for the syncs of each device, so that one that hangs holds up only its own.
#[derive(Debug)]
pub(super) struct SyncPools {
    options: Options,
    of_device: Mutex<BTreeMap<u64, ThreadPool>>,
}

impl SyncPools {
    /// The pool of the device that `file` is on.
    pub(super) fn of(&self, file: &std::fs::File) -> ThreadPool {
        // The number 0 is no device's.
        self.of_number(file.metadata().map_or(0, |file| file.dev()))
    }

    /// The pool of a device that can't be told.
    pub(super) fn of_unknown(&self) -> ThreadPool {
        self.of_number(0)
    }

    fn of_number(&self, device: u64) -> ThreadPool {
        let mut pools = self.of_device();
        let is_one_more = pools.len() >= SYNC_POOLS_MAX && !pools.contains_key(&device);
        let key = if is_one_more { 0 } else { device };
        let new = || ThreadPool::new(&self.options, ("sync", self.options.sync_threads));
        pools.entry(key).or_insert_with(new).clone()
    }

    /// Pools are only added: a panic elsewhere cannot leave the map half changed.
    fn of_device(&self) -> MutexGuard<'_, BTreeMap<u64, ThreadPool>> {
        self.of_device
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// One pool. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct ThreadPool {
    shared: Arc<Shared>,
}

struct Shared {
    name: &'static str,
    threads_max: usize,
    queue_max: usize,
    idle_timeout: Duration,
    state: Mutex<State>,
    work: Condvar,
    room: Condvar,
    full_waits: AtomicU64,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// The state is only counters and a queue: a panic elsewhere cannot leave it half changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ThreadPool {
    fn new(options: &Options, (name, threads): (&'static str, usize)) -> Self {
        Self {
            shared: Arc::new(Shared {
                name,
                threads_max: threads.max(1),
                queue_max: options.pool_queue_max.max(1),
                idle_timeout: Duration::from_millis(options.pool_idle_timeout_ms),
                state: Mutex::new(State::default()),
                work: Condvar::new(),
                room: Condvar::new(),
                full_waits: AtomicU64::new(0),
            }),
        }
    }

    fn full_waits(&self) -> u64 {
        self.shared.full_waits.load(Ordering::Relaxed)
    }

    /// Starts `operation` and returns its end. Blocks the caller only while the queue is full.
    pub(super) fn start<T: Send + 'static>(
        &self,
        operation: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Completion<T> {
        let (done, end) = oneshot::channel();
        self.push(Box::new(move || {
            // Nobody may be waiting any more; the operation has still been done.
            drop(done.send(operation()));
        }));
        Box::pin(async move {
            end.await
                .unwrap_or_else(|_| Err(io::Error::other("the operation's thread panicked")))
        })
    }

    fn push(&self, job: Job) {
        let shared = &self.shared;
        let mut state = shared.state();
        if state.queue.len() >= shared.queue_max {
            shared.full_waits.fetch_add(1, Ordering::Relaxed);
            while state.queue.len() >= shared.queue_max {
                state = shared
                    .room
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
        state.queue.push_back(job);
        let spare = state.idle >= state.queue.len();
        if spare || state.threads >= shared.threads_max {
            drop(state);
            shared.work.notify_one();
            return;
        }
        state.threads += 1;
        drop(state);
        if let Err(error) = start_thread(Arc::clone(shared)) {
            self.without_thread(&error);
        }
    }

    /// The system gave no thread: another thread of the pool takes the job, or this one must.
    fn without_thread(&self, error: &io::Error) {
        tracing::warn!(pool = self.shared.name, %error, "no thread for the pool, working with less");
        let mut state = self.shared.state();
        state.threads -= 1;
        if state.threads > 0 {
            return;
        }
        while let Some(job) = state.queue.pop_front() {
            drop(state);
            self.shared.room.notify_one();
            run(job);
            state = self.shared.state();
        }
    }
}

fn start_thread(shared: Arc<Shared>) -> io::Result<()> {
    let thread = std::thread::Builder::new()
        .name(shared.name.to_owned())
        .stack_size(POOL_STACK_BYTES);
    threads::start(thread, move || work(&shared))
}

/// One thread's life: jobs until none came for the idle time.
fn work(shared: &Shared) {
    let mut state = shared.state();
    loop {
        if let Some(job) = state.queue.pop_front() {
            drop(state);
            shared.room.notify_one();
            run(job);
            state = shared.state();
            continue;
        }
        state.idle += 1;
        let (again, waited) = shared
            .work
            .wait_timeout(state, shared.idle_timeout)
            .unwrap_or_else(PoisonError::into_inner);
        state = again;
        state.idle -= 1;
        if waited.timed_out() && state.queue.is_empty() {
            state.threads -= 1;
            return;
        }
    }
}

/// A panic ends the operation (its waiter is told), never the pool.
fn run(job: Job) {
    if catch_unwind(AssertUnwindSafe(job)).is_err() {
        tracing::error!("an operation on a pool panicked");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools(threads: usize, queue: usize) -> Pools {
        Pools::new(&Options {
            directory_threads: threads,
            sync_threads: 1,
            pool_queue_max: queue,
            pool_idle_timeout_ms: 10,
            ..Options::default()
        })
    }

    #[tokio::test]
    async fn an_operation_runs_to_its_end_when_its_future_is_dropped() {
        let pools = pools(1, 8);
        let (told, end) = oneshot::channel();
        drop(pools.directory.start(move || {
            told.send(7).expect("the test listens");
            Ok(())
        }));
        assert_eq!(end.await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_full_queue_makes_the_caller_wait_and_loses_nothing() {
        let pools = pools(1, 1);
        let ends: Vec<_> = (0..100)
            .map(|n| pools.directory.start(move || Ok(n)))
            .collect();
        for (n, end) in ends.into_iter().enumerate() {
            assert_eq!(end.await.unwrap(), n);
        }
        assert_eq!(pools.directory.shared.state().threads, 1);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_that_operation_only() {
        let pools = pools(1, 8);
        let bad = pools
            .directory
            .start(|| -> io::Result<()> { panic!("planted") });
        assert!(bad.await.is_err());
        assert_eq!(pools.directory.start(|| Ok(1)).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_device_that_hangs_holds_up_no_other() {
        let pools = pools(1, 8);
        let (let_go, hangs) = std::sync::mpsc::sync_channel(1);
        let hanging = pools.sync.of_number(1).start(move || {
            hangs.recv().expect("the test lets go");
            Ok(1)
        });
        let behind = pools.sync.of_number(1).start(|| Ok(2));
        let beside = pools.sync.of_number(2).start(|| Ok(3));
        assert_eq!(beside.await.unwrap(), 3);
        let_go.send(()).unwrap();
        assert_eq!((hanging.await.unwrap(), behind.await.unwrap()), (1, 2));
    }

    #[test]
    fn however_many_devices_there_are_pools_have_a_limit() {
        let pools = pools(1, 8);
        for device in 1..100 {
            pools.sync.of_number(device);
        }
        assert_eq!(pools.sync.of_device().len(), SYNC_POOLS_MAX + 1);
    }
}
