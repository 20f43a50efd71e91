//! What went into and out of one partition since it was opened. Counted at the partition and summed
//! by topic when somebody asks: nothing is looked up by name on the way of a record.

use std::sync::atomic::{AtomicU64, Ordering};

/// Sums since the partition was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// Records appended.
    pub(crate) records_in: u64,
    /// Bytes of batches appended.
    pub(crate) bytes_in: u64,
    /// Bytes of batches in replies.
    pub(crate) bytes_out: u64,
}

/// The counters behind [`Sums`].
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    // Counts only: nothing is decided by them, so no order is needed between them.
    records_in: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl Traffic {
    /// A batch was appended.
    pub(super) fn appended(&self, records: i32, bytes: usize) {
        let records = u64::try_from(records).unwrap_or(0);
        self.records_in.fetch_add(records, Ordering::Relaxed);
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Batches go into a reply.
    pub(crate) fn sent(&self, bytes: u64) {
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What it has come to.
    pub(crate) fn sums(&self) -> Sums {
        Sums {
            records_in: self.records_in.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
        }
    }
}
