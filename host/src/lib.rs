//! What the machine gives Millrace, as object-safe traits, and their real implementation.
//!
//! Everything non-deterministic enters the product through this crate: files, sockets, clocks,
//! randomness and tasks. The simulated twin of every trait here is in `millrace-sim`; the *same*
//! broker code runs on both, and one conformance suite (`conformance`) holds both to the words
//! of the trait documentation. Nothing else lives here: no Kafka, no policy, no configuration.

pub mod alarm;
#[cfg(feature = "allocation")]
pub mod allocation;
pub mod changing;
pub mod clock;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod disk;
pub mod memory;
pub mod net;
pub mod real;
pub mod rng;
pub mod spawn;
pub mod sync;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub use alarm::Alarm;
pub use changing::Changing;
pub use clock::{Clock, Mono, Now};
pub use disk::{
    DirEntry, Disk, EntryKind, File, FileMap, LockGuard, OpenMode, Space, is_out_of_descriptors,
};
pub use memory::Memory;
pub use net::{Connection, FileSlice, Listener, Net, Piece, ReadHalf, Rope, Vouched, WriteHalf};
pub use rng::Rng;
pub use spawn::{Pool, Spawn, TaskHandle};

/// A future on the heap: what a call that may wait returns through an object-safe trait.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A call on the machine that may wait: an event on a bounded pool in production, an event at a
/// drawn virtual time in simulation. The operation starts when the method is called, not at the
/// first poll, and runs to its end even when the future is dropped.
pub type Completion<T> = BoxFuture<'static, std::io::Result<T>>;

/// The machine as one node sees it: the six seams together. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Host {
    /// Files and directories.
    pub disk: Arc<dyn Disk>,
    /// Listening and connecting.
    pub net: Arc<dyn Net>,
    /// Monotonic and wall time, and waiting for a deadline.
    pub clock: Arc<dyn Clock>,
    /// The only source of randomness.
    pub rng: Arc<dyn Rng>,
    /// Tasks that belong to this node and die with it.
    pub spawn: Arc<dyn Spawn>,
    /// What was freed and is kept.
    pub memory: Arc<dyn Memory>,
}
