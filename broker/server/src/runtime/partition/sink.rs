//! What the flusher tells a partition.

use std::sync::{Arc, OnceLock, Weak};

use millrace_core::partition::Event;
use millrace_log::sink::DurabilitySink;

use super::OpenPartition;

/// Completions of the flusher, passed on to a partition that is still there.
#[derive(Debug, Default)]
pub(crate) struct PartitionSink {
    partition: OnceLock<Weak<OpenPartition>>,
}

impl PartitionSink {
    /// From now on completions go to `partition`. What came before is in its recovered state.
    pub(crate) fn attach(&self, partition: &Arc<OpenPartition>) {
        // Attached once, by whoever opened it.
        self.partition.set(Arc::downgrade(partition)).ok();
    }

    fn step(&self, event: Event) {
        if let Some(partition) = self.partition.get().and_then(Weak::upgrade) {
            // A partition that is broken has told everyone already.
            partition.step(event).ok();
        }
    }
}

impl DurabilitySink for PartitionSink {
    fn flushed(&self, upto: i64, cut_count: u32) {
        self.step(Event::Flushed { upto, cut_count });
    }

    fn directory_failed(&self, _reason: &str) {
        self.step(Event::DirectoryFailed);
    }
}
