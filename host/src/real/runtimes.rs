//! The runtimes of the process, one for each pool of tasks.
//!
//! What always holds: the workers of [`Pool::Background`](crate::Pool::Background) have a lower priority
//! than all other threads, so that where processors are short they work in what the others leave, but
//! never starve: a log that is never compacted would grow without end.

use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::Options;
use super::spawn::Handles;

/// Stack of a worker, in bytes of address space; only what is touched is resident.
const WORKER_STACK_BYTES: usize = 2 << 20;
/// How much further back than the others the background's workers stand ([`nice(2)`]; the last place is
/// 19): beside a busy thread of the others one gets about a tenth of a processor.
///
/// [`nice(2)`]: https://man7.org/linux/man-pages/man2/nice.2.html
const BACKGROUND_NICE: i32 = 10;

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
        Ok(Self {
            data: runtime("data", options.data_workers).build()?,
            control: runtime("control", 1).build()?,
            background: runtime("background", options.background_workers)
                .on_thread_start(stand_back)
                .build()?,
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

fn stand_back() {
    // Of the calling thread alone, on Linux.
    if let Err(error) = rustix::process::nice(BACKGROUND_NICE) {
        tracing::warn!(%error, "compaction can't stand back behind other work");
    }
}
