//! The simulated machine: the twin of `millrace_host::real`, drawn from one seed.
//!
//! A [`Sim`] owns an executor whose clock only moves when every task waits, and a [`World`] of
//! nodes, each with a disk, tasks and clocks of its own, joined by one network. What always
//! holds: no thread, no real file, socket or clock; everything that could go either way is drawn
//! from the seed in the order of events; the same seed and the same program give the same
//! [`TraceSummary`].

mod clock;
mod disk;
pub mod faults;
mod net;
mod node;
#[cfg(feature = "schedules")]
pub mod schedules;
mod trace;
mod world;

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

pub use disk::planted::{DiskEffect, DiskFault, DiskOp, FaultId, When};
pub use disk::{DiskLimits, FlipAt};
pub use net::control::{Drip, NetOptions};
pub use trace::TraceSummary;
pub use world::World;

/// What a run is made of besides its program.
#[derive(Clone, Debug)]
pub struct SimOptions {
    /// Everything drawn in the run is drawn from it.
    pub seed: u64,
    /// Keep the text of every event, not only the hash: for looking at one seed.
    pub keep_lines: bool,
    /// Shape of every node's disk.
    pub disk: DiskLimits,
    /// Shape of the network.
    pub net: NetOptions,
    /// Wall time at the start, in milliseconds since the Unix epoch.
    pub wall_start_ms: i64,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self {
            seed: 0,
            keep_lines: false,
            disk: DiskLimits::default(),
            net: NetOptions::default(),
            wall_start_ms: 1_700_000_000_000,
        }
    }
}

/// One run. Dereferences to its [`World`].
pub struct Sim {
    world: World,
    // `Some` until dropped.
    runtime: Option<Runtime>,
}

impl Sim {
    /// A run with the default shape.
    pub fn new(seed: u64) -> Self {
        Self::with_options(SimOptions {
            seed,
            ..SimOptions::default()
        })
    }

    /// A run of a given shape.
    pub fn with_options(options: SimOptions) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without drivers of the system needs nothing that can be missing");
        let world = World::new(runtime.handle().clone(), options);
        Self {
            world,
            runtime: Some(runtime),
        }
    }

    /// The world, for tasks that crash nodes, inject faults and so on.
    pub fn world(&self) -> World {
        self.world.clone()
    }

    /// Runs `future`, and every node's tasks with it, until it is done. Time jumps whenever all
    /// wait; a future that waits for nothing that will come never ends.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        match &self.runtime {
            Some(runtime) => runtime.block_on(future),
            None => unreachable!("the runtime is only taken by drop"),
        }
    }

    /// Lets all nodes run for `span` of virtual time.
    pub fn run_for(&self, span: Duration) {
        self.block_on(self.world.pause(span));
    }
}

impl Deref for Sim {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Drop for Sim {
    /// Tasks hold hosts, which hold the world, which holds the tasks: the ring is cut here.
    fn drop(&mut self) {
        self.world.dissolve();
        self.runtime.take();
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim")
            .field("world", &self.world)
            .finish_non_exhaustive()
    }
}
