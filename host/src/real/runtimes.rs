//! The runtimes of the process, one for each pool of tasks.
//!
//! What always holds: the workers of [`Pool::Background`](crate::Pool::Background) have a lower priority
//! than all other threads, so that where processors are short they work in what the others leave, but
//! never starve: a log that is never compacted would grow without end.

use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::spawn::Handles;
use super::{Options, threads};

/// Stack of a worker, in bytes of address space; only what is touched is resident.
const WORKER_STACK_BYTES: usize = 2 << 20;
/// The runtimes.
pub(super) struct Runtimes {
    data: Runtime,
    control: Runtime,
    background: Runtime,
}

impl Runtimes {
    pub(super) fn start(options: &Options) -> io::Result<Self> {
        let runtime = |name: &str, workers: usize| {
            let mut builder = Builder::new_multi_thread();
            builder
                .worker_threads(workers.max(1))
                .max_blocking_threads(1)
                .thread_stack_size(WORKER_STACK_BYTES)
                .thread_name(name)
                .enable_all();
            builder
        };
        let data = runtime("data", options.data_workers).build()?;
        let control = runtime("control", 1).build()?;
        let usual = data.handle().clone();
        let background = runtime("background", options.background_workers)
            .on_thread_start(move || threads::stand_back(usual.clone()))
            .build()?;
        Ok(Self {
            data,
            control,
            background,
        })
    }

    pub(super) fn handles(&self) -> Handles {
        Handles {
            data: self.data.handle().clone(),
            control: self.control.handle().clone(),
            background: self.background.handle().clone(),
        }
    }

    pub(super) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.control.block_on(future)
    }

    /// Waits for each one's workers, up to `timeout`.
    pub(super) fn stop(self, timeout: Duration) {
        self.data.shutdown_timeout(timeout);
        self.background.shutdown_timeout(timeout);
        self.control.shutdown_timeout(timeout);
    }

    /// Waits for nobody.
    pub(super) fn leave(self) {
        self.data.shutdown_background();
        self.background.shutdown_background();
        self.control.shutdown_background();
    }
}
