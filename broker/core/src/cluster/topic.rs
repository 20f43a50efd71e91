//! A topic and its partitions, as the image holds them.

use std::sync::Arc;

use millrace_protocol::ids::TopicId;
use rpds::RedBlackTreeMapSync;

/// A log directory's id, as it stands in partition records.
pub type Directory = TopicId;

/// In the place of a leader: nobody leads.
pub(super) const NO_LEADER: i32 = -1;

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Brokers that hold it, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Replicas in sync.
    pub isr: Vec<i32>,
    /// Leader, -1 for none.
    pub leader: i32,
    /// Grows with each election.
    pub leader_epoch: i32,
    /// Grows with each change.
    pub partition_epoch: i32,
    /// Log directory of each replica, in the order of `replicas`.
    pub directories: Vec<Directory>,
}

impl Partition {
    /// The log directory of a broker's replica; `None` when it has none, or none is named.
    pub fn directory_of(&self, broker_id: i32) -> Option<Directory> {
        let place = self.replicas.iter().position(|id| *id == broker_id)?;
        let directory = self.directories.get(place).copied();
        directory.filter(|id| !id.is_zero())
    }
}

/// One topic.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Name.
    pub name: Arc<str>,
    /// Identity.
    pub id: TopicId,
    /// Partitions by index; dense from 0.
    pub partitions: RedBlackTreeMapSync<i32, Partition>,
    /// Offset of the newest record that configured it; `None` when it was never configured. What is
    /// derived from the configuration is good as long as this stays.
    pub config_offset: Option<i64>,
}
