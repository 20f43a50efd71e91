//! What a process has freed and its allocator keeps.

use std::fmt;

/// The memory of one process.
pub trait Memory: fmt::Debug + Send + Sync {
    /// Gives back to the machine what was freed and is kept for allocations to come. Returns at once;
    /// it goes on beside the tasks, which may have to wait a moment for memory, so it is for when much
    /// was freed that nobody will want again soon.
    fn give_back(&self);
}
