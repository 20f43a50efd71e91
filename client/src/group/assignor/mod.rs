//! Who gets which partitions: what the leader of a group decides for all of its members.
//!
//! What always holds: pure, and the same for the same input; every partition of a topic that somebody
//! subscribes to goes to exactly one of its subscribers, but for those that a cooperative assignment
//! withholds until their owner has given them up. The names, and what members say beside their topics,
//! are those of Kafka's Java client, so that groups may mix.

mod even;
mod sticky;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::protocol::{self, NO_GENERATION, Subscription};
use crate::TopicPartition;

/// A way to assign partitions. A group uses one that all of its members offer.
///
/// ```
/// # use millrace_client::{Assignor, GroupOptions};
/// let group = GroupOptions {
///     // For a rolling change: all members offer both until every one offers the new one.
///     assignors: vec![Assignor::CooperativeSticky, Assignor::Range],
///     ..GroupOptions::new("billing", ["orders"])
/// };
/// assert_eq!(group.assignors.len(), 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// Each topic on its own: neighbouring partitions to a member, the first members one more. Racks
    /// are not looked at.
    Range,
    /// All partitions in turn.
    RoundRobin,
    /// As even as can be, and as much as can be stays where it is. Everything is given up before a
    /// rebalance (eager).
    Sticky,
    /// The same, but only what moves is given up, and read on meanwhile (KIP-429).
    CooperativeSticky,
}

/// Everyone's share, by member id.
pub(super) type Shares = BTreeMap<String, BTreeSet<TopicPartition>>;

/// A member as the leader sees it.
#[derive(Clone, Debug)]
pub(super) struct Applicant {
    /// What a static member calls itself.
    pub(super) instance_id: Option<String>,
    pub(super) subscription: Subscription,
}

/// How many partitions each topic has; one that isn't there has none.
pub(super) type Counts = BTreeMap<Arc<str>, i32>;

impl Assignor {
    /// Kafka's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::Sticky => "sticky",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// Whether members may keep what they own through a rebalance.
    pub(super) const fn is_cooperative(self) -> bool {
        matches!(self, Self::CooperativeSticky)
    }

    /// What a member says beside its topics, that got `assigned` in `generation`.
    pub(super) fn user_data(
        self,
        assigned: &BTreeSet<TopicPartition>,
        generation: i32,
    ) -> Option<Bytes> {
        match self {
            Self::Range | Self::RoundRobin => None,
            Self::Sticky => {
                (generation != NO_GENERATION).then(|| protocol::encode_sticky(assigned, generation))
            }
            Self::CooperativeSticky => {
                let mut data = BytesMut::new();
                data.put_i32(generation);
                Some(data.freeze())
            }
        }
    }

    /// Assigns.
    pub(super) fn assign(self, members: &BTreeMap<String, Applicant>, counts: &Counts) -> Shares {
        match self {
            Self::Range => even::range(members, counts),
            Self::RoundRobin => even::round_robin(members, counts),
            Self::Sticky => sticky::assign(members, counts, of_user_data),
            Self::CooperativeSticky => {
                let mut shares = sticky::assign(members, counts, of_subscription);
                sticky::withhold(members, &mut shares);
                shares
            }
        }
    }
}

/// What a member owned, and in which generation, if it is known.
type Claim = (BTreeSet<TopicPartition>, Option<i32>);

/// As members of the sticky assignor tell it: they own nothing any more when they join.
fn of_user_data(subscription: &Subscription) -> Claim {
    let data = subscription.user_data.as_deref().unwrap_or_default();
    protocol::decode_sticky(data).unwrap_or_default()
}

/// As members of the cooperative one do: the generation stands beside in version 2, before it in the
/// user data.
fn of_subscription(subscription: &Subscription) -> Claim {
    let data = subscription.user_data.as_deref().unwrap_or_default();
    let beside = data.first_chunk().map(|bytes| i32::from_be_bytes(*bytes));
    let generation = subscription.generation.or(beside);
    (
        subscription.owned.clone(),
        generation.filter(|generation| *generation >= 0),
    )
}

#[cfg(test)]
mod tests;
