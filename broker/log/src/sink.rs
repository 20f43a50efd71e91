//! Who is told when bytes have become durable.

/// Takes completions of one partition. Called by the flusher's task, outside all of its locks, once
/// per commit at most; must not block.
pub trait DurabilitySink: Send + Sync {
    /// Every record before `upto` is durable. `cut_count` is the partition's cut count when the
    /// bytes were staged: a completion from before a cut counts for nothing (C6).
    fn flushed(&self, upto: i64, cut_count: u32);

    /// The directory takes no more writes; nothing that isn't flushed yet ever will be (F1).
    fn directory_failed(&self, reason: &str);
}
