//! The real machine: Linux files and sockets, on tokio.
//!
//! Owns the runtimes and the bounded pools of the product. What always holds: nothing here
//! waits for a device on a runtime's worker but through the page cache, every pool and queue has
//! a limit named in [`Options`], and threads are made when there is work for them, so that an
//! idle process stays small.

mod apart;
mod clock;
mod disk;
mod facts;
mod file;
mod groups;
mod limits;
mod listen;
mod map;
mod memory;
mod net;
mod pools;
mod processors;
mod rng;
mod runtimes;
mod send;
mod signals;
mod spawn;
#[cfg(test)]
mod tests;
mod threads;
mod trim;
mod write_back;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

pub use facts::{Mounted, clock_source, mounted};
pub use groups::{Giver, Share};
pub use limits::{OpenFiles, open_files, raise_open_files};
pub use memory::memory_limit;
pub use processors::processors;
pub use signals::{Signal, Signals};

use crate::Host;
use pools::Pools;
use runtimes::Runtimes;
use spawn::Handles;

/// Most workers of the Data runtime, however many processors there are.
const DATA_WORKERS_MAX: usize = 256;
/// Most workers of the Background runtime.
const BACKGROUND_WORKERS_MAX: usize = 16;

/// The named limits of the real host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Workers of the Data runtime. More than cores, since a worker may block in the page cache.
    pub data_workers: usize,
    /// Workers of the Background runtime.
    pub background_workers: usize,
    /// Threads for `sync` and `sync_dir`: how many syncs of one device may be on their way at once.
    pub sync_threads: usize,
    /// Threads for reads that wait for the device.
    pub cold_read_threads: usize,
    /// Threads for `list`, `rename`, `remove` and `remove_dir`.
    pub directory_threads: usize,
    /// Threads for host name look-ups.
    pub resolve_threads: usize,
    /// Operations that may wait in front of one pool; past it the caller blocks until there is
    /// room, which slows whoever asks and grows nothing.
    pub pool_queue_max: usize,
    /// How long an idle pool thread stays.
    pub pool_idle_timeout_ms: u64,
    /// Descriptors below the limit of the moment that no accepted connection may take: they are
    /// for files.
    pub descriptor_reserve: u64,
}

impl Options {
    /// For a process that may use so many processors at once.
    pub fn for_processors(count: u64) -> Self {
        let processors = usize::try_from(count).unwrap_or(usize::MAX);
        Self {
            data_workers: processors.saturating_mul(2).clamp(4, DATA_WORKERS_MAX),
            background_workers: processors.clamp(1, BACKGROUND_WORKERS_MAX),
            sync_threads: 16,
            cold_read_threads: 16,
            directory_threads: 4,
            resolve_threads: 2,
            pool_queue_max: 4096,
            pool_idle_timeout_ms: 5000,
            descriptor_reserve: 64,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::for_processors(processors().amount)
    }
}

/// Counts of what went wrong or was slow on the machine, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MachineCounts {
    /// Tasks ended by a panic.
    pub task_panics: u64,
    /// Times a caller had to wait because a pool's queue was full.
    pub pool_full_waits: u64,
}

/// The machine of one process: the runtimes, the pools, and the [`Host`] made of them.
pub struct RealHost {
    host: Host,
    spawn: Arc<spawn::RealSpawn>,
    pools: Arc<Pools>,
    // `Some` until `stop` or drop takes them.
    runtimes: Option<Runtimes>,
}

impl RealHost {
    /// Starts the runtimes. Pools start their threads when first used.
    pub fn start(options: &Options) -> io::Result<Self> {
        let runtimes = Runtimes::start(options)?;
        let (host, spawn, pools) = assemble(options, runtimes.handles())?;
        Ok(Self {
            host,
            spawn,
            pools,
            runtimes: Some(runtimes),
        })
    }

    /// The seams, for the broker.
    pub fn host(&self) -> Host {
        self.host.clone()
    }

    /// A host on the same runtimes and pools whose tasks are killed apart from all others.
    pub fn another_node(&self) -> Host {
        let spawn = Arc::new(self.spawn.another_node());
        Host {
            spawn,
            ..self.host.clone()
        }
    }

    /// What went wrong or was slow so far.
    pub fn counts(&self) -> MachineCounts {
        MachineCounts {
            task_panics: self.spawn.panics(),
            pool_full_waits: self.pools.full_waits(),
        }
    }

    /// Runs `future` on the calling thread until it is done. Not from inside a task.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        match &self.runtimes {
            Some(runtimes) => runtimes.block_on(future),
            None => unreachable!("the runtimes are only taken by stop and drop"),
        }
    }

    /// Ends every task and waits up to `timeout` for the workers. Not from inside a task.
    pub fn stop(mut self, timeout: Duration) {
        self.host.spawn.kill();
        if let Some(runtimes) = self.runtimes.take() {
            runtimes.stop(timeout);
        }
    }
}

impl Drop for RealHost {
    /// Ends the tasks without waiting, so that it is safe inside a task of another runtime.
    fn drop(&mut self) {
        if let Some(runtimes) = self.runtimes.take() {
            runtimes.leave();
        }
    }
}

impl fmt::Debug for RealHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RealHost").finish_non_exhaustive()
    }
}

/// A host on the tokio runtime this is called from (its net and time drivers must be enabled):
/// all pools of tasks are that runtime. For tests and small tools.
pub fn host(options: &Options) -> io::Result<Host> {
    let runtime = Handle::try_current().map_err(io::Error::other)?;
    let handles = Handles {
        data: runtime.clone(),
        control: runtime.clone(),
        background: runtime,
    };
    Ok(assemble(options, handles)?.0)
}

fn assemble(
    options: &Options,
    handles: Handles,
) -> io::Result<(Host, Arc<spawn::RealSpawn>, Arc<Pools>)> {
    let pools = Arc::new(Pools::new(options));
    let data = handles.data.clone();
    let spawn = Arc::new(spawn::RealSpawn::new(handles));
    let host = Host {
        disk: Arc::new(disk::RealDisk::new(Arc::clone(&pools))),
        net: Arc::new(net::RealNet::new(
            data,
            Arc::clone(&pools),
            options.descriptor_reserve,
        )),
        clock: Arc::new(clock::RealClock),
        rng: Arc::new(rng::RealRng::new()?),
        spawn: Arc::<spawn::RealSpawn>::clone(&spawn),
        memory: Arc::new(trim::RealMemory::default()),
    };
    Ok((host, spawn, pools))
}
