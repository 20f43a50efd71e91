//! What is told of groups to whoever asks: `OffsetFetch`, `DescribeGroups`, `ListGroups`.
//!
//! What is told may not be committed yet: an answer waits until [`Groups::newest_offset`] is.

use std::sync::Arc;

use super::Groups;
use super::record::Committed;
use super::request::Text;
use super::soft::{Phase, Soft};

/// One group, as it is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Kafka's name of what it is doing.
    pub state: &'static str,
    /// What its members speak; empty when none ever joined.
    pub protocol_type: Text,
    /// The protocol that was chosen; empty unless the group is stable.
    pub protocol: Text,
    /// The generation.
    pub generation: i32,
    /// The members.
    pub members: Vec<DescribedMember>,
}

/// One member, as it is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member_id: Text,
    /// What it calls itself, if it is static.
    pub group_instance_id: Option<Text>,
    /// The client's id.
    pub client_id: Text,
    /// Its address.
    pub client_host: Text,
    /// What it said in the protocol that was chosen; empty unless the group is stable.
    pub metadata: Arc<[u8]>,
    /// What it was assigned last; while the group shares anew, still that.
    pub assignment: Arc<[u8]>,
}

/// What a group may be doing, by Kafka's names.
pub const STATES: [&str; 4] = [
    "Empty",
    "PreparingRebalance",
    "CompletingRebalance",
    "Stable",
];

/// One group in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures<'a> {
    /// The group's id.
    pub group: &'a Text,
    /// One of [`STATES`].
    pub state: &'static str,
    /// Its members.
    pub members: usize,
    /// Its generation.
    pub generation: i32,
}

/// One group, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The group's id.
    pub group: Text,
    /// What its members speak; empty when none ever joined.
    pub protocol_type: Text,
    /// Kafka's name of what it is doing.
    pub state: &'static str,
}

impl Groups {
    /// One group; `None` if there is none.
    pub fn describe(&self, group: &str) -> Option<Description> {
        let hard = self.hard.get(group);
        let soft = self.soft.get(group);
        if hard.is_none_or(super::hard::Hard::is_empty) && soft.is_none_or(Soft::is_vacant) {
            return None;
        }
        let vacant = Soft::default();
        let soft = soft.unwrap_or(&vacant);
        let is_stable = soft.phase == Phase::Stable;
        let none = || Arc::from([]);
        let members = soft.members.iter().map(|(id, member)| DescribedMember {
            member_id: Arc::clone(id),
            group_instance_id: member.group_instance_id.clone(),
            client_id: Arc::clone(&member.client_id),
            client_host: Arc::clone(&member.client_host),
            metadata: if is_stable {
                member.metadata(soft.protocol.as_ref())
            } else {
                none()
            },
            assignment: match hard {
                Some(hard) => hard.assignment(id),
                None => none(),
            },
        });
        let protocol = soft.protocol.as_ref().filter(|_| is_stable);
        Some(Description {
            state: soft.phase.name(),
            protocol_type: text(soft.protocol_type.as_ref()),
            protocol: text(protocol),
            generation: soft.generation,
            members: members.collect(),
        })
    }

    /// Every group, by its id: those that are kept first.
    pub fn list(&self) -> impl Iterator<Item = Listed> {
        self.all().map(|group| {
            let soft = self.soft.get(group);
            Listed {
                group: Arc::clone(group),
                protocol_type: text(soft.and_then(|soft| soft.protocol_type.as_ref())),
                state: soft.map_or(Phase::Empty.name(), |soft| soft.phase.name()),
            }
        })
    }

    /// Every group in numbers, in the same order.
    pub fn figures(&self) -> impl Iterator<Item = Figures<'_>> {
        self.all().map(|group| {
            let soft = self.soft.get(group);
            Figures {
                group,
                state: soft.map_or(Phase::Empty.name(), |soft| soft.phase.name()),
                members: soft.map_or(0, |soft| soft.members.size()),
                generation: soft.map_or(0, |soft| soft.generation),
            }
        })
    }

    fn all(&self) -> impl Iterator<Item = &Text> {
        let is_kept = |group: &Text| self.hard.get(group).is_some_and(|hard| !hard.is_empty());
        let kept = self.hard.keys().filter(move |group| is_kept(group));
        let soft_only = self.soft.iter().filter(move |(group, soft)| {
            let is_kept = self.hard.get(*group).is_some_and(|hard| !hard.is_empty());
            !is_kept && !soft.is_vacant()
        });
        kept.chain(soft_only.map(|(group, _)| group))
    }

    /// The offset that is kept for a partition.
    pub fn offset(&self, group: &str, topic: &str, partition: i32) -> Option<&Committed> {
        self.hard.get(group)?.offsets.get(topic)?.get(&partition)
    }

    /// What a group takes in memory, in bytes, about.
    pub fn group_bytes(&self, group: &str) -> usize {
        let kept = self.hard.get(group).map_or(0, |hard| hard.held_bytes);
        kept + self.soft.get(group).map_or(0, |soft| soft.said_bytes)
    }

    /// All offsets that a group keeps, by topic and partition.
    pub fn offsets(&self, group: &str) -> impl Iterator<Item = (&Text, i32, &Committed)> {
        let topics = self
            .hard
            .get(group)
            .into_iter()
            .flat_map(|hard| &hard.offsets);
        topics.flat_map(|(topic, partitions)| {
            partitions
                .iter()
                .map(move |(partition, kept)| (topic, *partition, kept))
        })
    }
}

fn text(found: Option<&Text>) -> Text {
    found.cloned().unwrap_or_else(|| Text::from(""))
}
