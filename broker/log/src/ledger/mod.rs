//! The ledger: what a log directory knows of its partitions without opening theirs (L1, L2).

mod entry;

pub use entry::{LedgerEntry, PendingCut, SealedEntry, SegmentEntry};
