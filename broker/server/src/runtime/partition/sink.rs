//! What the flusher tells a partition.

use std::sync::{Arc, OnceLock, Weak};

use millrace_core::partition::Event;
use millrace_log::dir::LogDir;
use millrace_log::sink::DurabilitySink;

use super::OpenPartition;

/// Completions of the flusher, passed on to a partition that is still there.
#[derive(Debug, Default)]
pub(crate) struct PartitionSink {
    partition: OnceLock<(Weak<OpenPartition>, Weak<LogDir>)>,
}

impl PartitionSink {
    /// From now on completions go to `partition`. What came before is in its recovered state.
    pub(crate) fn attach(&self, partition: &Arc<OpenPartition>) {
        let dir = Arc::downgrade(&partition.dir.load_full());
        // Attached once, by whoever opened it.
        self.partition.set((Arc::downgrade(partition), dir)).ok();
    }

    fn step(&self, event: Event) {
        let Some((partition, dir)) = self.partition.get() else {
            return;
        };
        let there = partition.upgrade().zip(dir.upgrade());
        // Of a directory that it has left nothing concerns it any more.
        if let Some((partition, _)) = there.filter(|(partition, dir)| partition.is_in(dir)) {
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
