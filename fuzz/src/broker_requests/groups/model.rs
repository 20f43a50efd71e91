//! What a broker must know of groups, as plainly as it can be said: the offsets that each keeps, and
//! its members as long as it is certain who they are.
//!
//! What always holds: offsets are known to the last byte, as every request is answered before the next
//! one; members are known from the end of a join until somebody leaves, stays away for too long, or
//! joins alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use millrace_host::Mono;

/// How long a member may be silent.
pub(in crate::broker_requests) const SESSION: Duration = Duration::from_secs(30);
/// How long the others are waited for.
pub(in crate::broker_requests) const REBALANCE: Duration = Duration::from_secs(2);
/// So long before either limit nothing is certain.
const MARGIN: Duration = Duration::from_secs(1);

/// One offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broker_requests) struct Kept {
    pub(in crate::broker_requests) offset: i64,
    pub(in crate::broker_requests) leader_epoch: i32,
    pub(in crate::broker_requests) metadata: String,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broker_requests) struct Member {
    pub(in crate::broker_requests) id: String,
    /// It is one until then, if it says nothing.
    pub(in crate::broker_requests) until: Mono,
    /// What it was assigned.
    pub(in crate::broker_requests) part: Bytes,
}

/// What a group is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::broker_requests) enum Phase {
    /// It has no members.
    #[default]
    Empty,
    /// All have joined; their parts are waited for until then.
    Joined(Mono),
    /// All have their parts.
    Stable,
    /// Nobody can say.
    Unsure,
}

/// One group.
#[derive(Clone, Debug, Default)]
pub(in crate::broker_requests) struct Group {
    pub(in crate::broker_requests) offsets: BTreeMap<(String, i32), Kept>,
    pub(in crate::broker_requests) phase: Phase,
    pub(in crate::broker_requests) generation: i32,
    /// While they are known: the leader first.
    pub(in crate::broker_requests) members: Vec<Member>,
    /// Something may be kept that nobody is shown, or an id was given out.
    pub(in crate::broker_requests) may_exist: bool,
}

impl Group {
    /// Time has passed: who was silent for too long may be gone.
    pub(in crate::broker_requests) fn passes(&mut self, now: Mono) {
        let is_late = |until: Mono| now + MARGIN >= until;
        let late = self.members.iter().any(|member| is_late(member.until));
        let unshared = matches!(self.phase, Phase::Joined(until) if is_late(until));
        if late || unshared {
            self.doubt();
        }
    }

    /// Nobody knows any more who its members are.
    pub(in crate::broker_requests) fn doubt(&mut self) {
        self.phase = Phase::Unsure;
        self.members.clear();
        self.may_exist = true;
    }

    /// The broker began a new life.
    pub(in crate::broker_requests) fn restarted(&mut self, now: Mono) {
        match self.phase {
            Phase::Stable => {
                let members = self.members.iter_mut();
                members.for_each(|member| member.until = now + SESSION);
            }
            Phase::Empty => {}
            Phase::Joined(_) | Phase::Unsure => self.doubt(),
        }
    }

    /// A topic is gone, with what was kept of it.
    pub(in crate::broker_requests) fn lost(&mut self, topic: &str) {
        let before = self.offsets.len();
        self.offsets.retain(|(of, _), _| of != topic);
        self.may_exist |= self.offsets.len() < before;
    }

    /// All ids, while they are known.
    pub(in crate::broker_requests) fn ids(&self) -> BTreeSet<&str> {
        self.members
            .iter()
            .map(|member| member.id.as_str())
            .collect()
    }

    /// One of its members, by a number.
    pub(in crate::broker_requests) fn some(&mut self, number: u8) -> Option<&mut Member> {
        let at = usize::from(number) % self.members.len().max(1);
        self.members.get_mut(at)
    }
}
