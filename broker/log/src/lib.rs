//! What is on disk and how it comes back: segments, indexes, journal, ledger, recovery.
//!
//! What always holds (`docs/durability.md`, rules J1–A5): bytes count as durable only after a sync
//! that began after they were written; a failed sync is terminal for its directory; the mark of a
//! change is durable before the change; recovery never takes *unreadable* for *empty*.

/// Which version this is, as a directory that it has open says.
pub(crate) const VERSION: &str = concat!("Millrace ", env!("CARGO_PKG_VERSION"));

pub mod check;
mod codec;
pub mod dir;
pub mod dump;
pub mod epoch_checkpoint;
pub mod error;
#[cfg(test)]
mod fixture;
pub mod flusher;
pub mod handles;
mod journal;
pub mod ledger;
pub mod mark;
pub mod partition;
pub mod partition_metadata;
pub mod producer_snapshot;
#[cfg(all(test, feature = "schedules"))]
#[path = "tests/schedules/mod.rs"]
mod schedules;
mod segment;
pub mod sink;
pub mod slots;
#[cfg(test)]
mod testing;
