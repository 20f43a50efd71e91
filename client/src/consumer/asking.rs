//! The application of a consumer in a group: whether it asks for records, and what it was given.
//!
//! What always holds: what was given counts as done with when the application asks again, commits or
//! closes, and not before.

use millrace_host::Mono;

use super::reading::Key;

/// The application.
#[derive(Debug)]
pub(crate) struct Asking {
    /// How many of its tasks wait for records.
    tasks: u32,
    /// When one of them last stopped to.
    since: Mono,
    /// Whether the membership waits for it.
    pub(crate) awaited: bool,
    /// Partitions of which it was given something since it asked last.
    pub(super) given: Vec<Key>,
}

/// What a consumer is in its group.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::{Consumer, ConsumerOptions, GroupOptions};
/// # world::run(async |cluster| {
/// let group = GroupOptions::new("billing", ["orders"]);
/// let member = Consumer::subscribe(&cluster, ConsumerOptions::default(), group)?;
/// if let Some(membership) = member.membership() {
///     println!("{} of generation {}", membership.member_id, membership.generation);
/// }
/// member.close().await?;
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The id that the coordinator knows it by.
    pub member_id: String,
    /// How often the group was assigned anew.
    pub generation: i32,
    /// The broker that coordinates the group, if it is known.
    pub coordinator: Option<i32>,
}

impl Asking {
    pub(super) fn new(now: Mono) -> Self {
        Self {
            tasks: 0,
            since: now,
            awaited: false,
            given: Vec::new(),
        }
    }

    /// A task begins to wait for records. Whether that is waited for.
    pub(super) fn begin(&mut self) -> bool {
        self.tasks += 1;
        std::mem::take(&mut self.awaited)
    }

    /// It waits no longer.
    pub(crate) fn end(&mut self, now: Mono) {
        self.tasks -= 1;
        self.since = now;
    }

    /// Whether a task waits for records.
    pub(crate) fn is_on(&self) -> bool {
        self.tasks > 0
    }

    /// When one last did.
    pub(crate) fn since(&self) -> Mono {
        self.since
    }
}
