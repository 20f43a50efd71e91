//! How a consumer takes part in a group.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use millrace_host::BoxFuture;

use super::assignor::Assignor;
use crate::{Error, TopicPartition};

/// What a member of a group reads, and how it behaves there. The defaults are those of Kafka's Java
/// client.
///
/// ```
/// # use millrace_client::{Assignor, GroupOptions};
/// let options = GroupOptions {
///     assignors: vec![Assignor::CooperativeSticky],
///     ..GroupOptions::new("billing", ["orders", "refunds"])
/// };
/// # drop(options);
/// ```
#[derive(Clone, Debug)]
pub struct GroupOptions {
    /// The group.
    pub group: String,
    /// The topics that its members share.
    pub topics: Topics,
    /// What a static member calls itself: one that comes back under this name within the session gets
    /// its partitions without a rebalance (KIP-345). `None` for a dynamic member.
    pub instance_id: Option<String>,
    /// The rack that it runs in, for the assignor.
    pub rack: Option<String>,
    /// Ways to assign that it offers, the preferred first; the group uses one that all members offer.
    /// Members keep what they own through a rebalance only if all that they offer are cooperative.
    pub assignors: Vec<Assignor>,
    /// A member that gave no sign of life for that long is thrown out.
    pub session_timeout: Duration,
    /// How often it gives one.
    pub heartbeat_interval: Duration,
    /// A member whose application hasn't asked for records for that long leaves, until it does. Also
    /// how long a rebalance waits for its members.
    pub poll_interval_max: Duration,
    /// How often offsets are committed without being told to; `None` for never. Committed is what the
    /// application is done with: what it was given before it asked for more, or closed.
    pub commit_interval: Option<Duration>,
    /// Who is told what is assigned and revoked.
    pub listener: Option<Arc<dyn RebalanceListener>>,
}

impl GroupOptions {
    /// The defaults, for a member of this group that reads these topics.
    pub fn new<T: Into<String>>(
        group: impl Into<String>,
        topics: impl IntoIterator<Item = T>,
    ) -> Self {
        let topics = topics.into_iter().map(Into::into).collect();
        Self::with_topics(group, Topics::Named(topics))
    }

    /// The defaults, for a member that reads each topic whose name passes; those that are made later
    /// too. Topics that the brokers keep for themselves are not asked about.
    pub fn matching(
        group: impl Into<String>,
        passes: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::with_topics(group, Topics::Matching(Arc::new(passes)))
    }

    fn with_topics(group: impl Into<String>, topics: Topics) -> Self {
        Self {
            group: group.into(),
            topics,
            instance_id: None,
            rack: None,
            assignors: vec![Assignor::Range, Assignor::CooperativeSticky],
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            poll_interval_max: Duration::from_mins(5),
            commit_interval: Some(Duration::from_secs(5)),
            listener: None,
        }
    }

    /// Options that can't be followed.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse = |reason: &str| {
            Err(Error::Options {
                reason: reason.to_owned(),
            })
        };
        if self.group.is_empty() {
            return refuse("a group has a name: give it one");
        }
        if self.assignors.is_empty() {
            return refuse("a member offers at least one assignor");
        }
        let distinct = |at: usize| !self.assignors[..at].contains(&self.assignors[at]);
        if !(0..self.assignors.len()).all(distinct) {
            return refuse("an assignor is offered twice");
        }
        if matches!(&self.topics, Topics::Named(names) if names.is_empty()) {
            return refuse("a member reads at least one topic");
        }
        if self.heartbeat_interval.is_zero() || self.heartbeat_interval >= self.session_timeout {
            return refuse("heartbeat_interval lies between 0 and session_timeout");
        }
        if self
            .commit_interval
            .is_some_and(|interval| interval.is_zero())
        {
            return refuse("commit_interval is more than 0, or None for never");
        }
        Ok(())
    }
}

/// Which topics a member reads.
#[derive(Clone)]
pub enum Topics {
    /// These; one that isn't there yet is read once it is.
    Named(BTreeSet<String>),
    /// Each whose name passes. Looked for when the member joins, and then as often as
    /// [`metadata_age_max`](crate::ClusterOptions::metadata_age_max) says.
    Matching(Arc<dyn Fn(&str) -> bool + Send + Sync>),
}

impl fmt::Debug for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(names) => f.debug_tuple("Named").field(names).finish(),
            Self::Matching(_) => f.write_str("Matching(..)"),
        }
    }
}

/// An offset to be kept for a group, or kept for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetAndMetadata {
    /// The offset of the next record to be read.
    pub offset: i64,
    /// The leader's epoch in which the record before it was written, if it is known.
    pub leader_epoch: Option<i32>,
    /// Whatever the application wants to find beside it; the broker limits its length.
    pub metadata: String,
}

impl OffsetAndMetadata {
    /// An offset with nothing beside it.
    pub fn at(offset: i64) -> Self {
        Self {
            offset,
            leader_epoch: None,
            metadata: String::new(),
        }
    }
}

/// A change of what a member owns.
#[derive(Clone, Debug)]
pub struct Rebalance {
    /// The member's id.
    pub member_id: String,
    /// The generation; of what is lost, -1.
    pub generation: i32,
    /// The partitions that it is about.
    pub partitions: BTreeSet<TopicPartition>,
}

/// Is told what a member's partitions become. One call at a time, in their order; the member stays
/// alive meanwhile, and a rebalance waits at most
/// [`poll_interval_max`](GroupOptions::poll_interval_max) for it.
pub trait RebalanceListener: fmt::Debug + Send + Sync {
    /// These are the member's now, beside those that it had; none of their records was given out yet.
    /// None may be new.
    fn assigned<'a>(&'a self, assigned: &'a Rebalance) -> BoxFuture<'a, ()> {
        let _ = assigned;
        Box::pin(std::future::ready(()))
    }

    /// These are about to become somebody else's. None of their records is given out any more. Their
    /// offsets are committed already where that is automatic; those that are given back are committed
    /// too.
    fn revoked<'a>(
        &'a self,
        revoked: &'a Rebalance,
    ) -> BoxFuture<'a, Vec<(TopicPartition, OffsetAndMetadata)>> {
        let _ = revoked;
        Box::pin(std::future::ready(Vec::new()))
    }

    /// These were somebody else's already when the member heard of it: nothing can be committed for
    /// them.
    fn lost<'a>(&'a self, lost: &'a Rebalance) -> BoxFuture<'a, ()> {
        let _ = lost;
        Box::pin(std::future::ready(()))
    }
}
