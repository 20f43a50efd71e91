//! The ledger: what a log directory knows of its partitions without opening theirs (L1, L2).

mod entry;
pub(crate) mod file;
pub(crate) mod fold;
mod form;

pub use entry::{LedgerEntry, PendingCut, SealedEntry, SegmentEntry};
pub(crate) use fold::{Ledger, Run, UNKNOWN_GENERATION};
pub(crate) use form::{put_run, take_run};
