//! Classic consumer groups and their offsets: one shard of them, which a partition of
//! `__consumer_offsets` keeps.
//!
//! The caller holds this under one lock and goes *decide → append → replay → apply*:
//! [`Groups::decide`] changes nothing and says what is to be written and answered; the caller
//! appends the records, gives each to [`Groups::replay`] with the offset that it got, and then has
//! [`Groups::apply`] make the rest of the decision the group's state. Answers leave once the group's
//! [`Groups::newest_offset`] is committed, in the order in which they came: nothing is shown that
//! could be lost, and nothing is decided on what is no longer so. If the append fails, the decision
//! is dropped and nothing has happened; if a commit fails, the shard is dropped and loaded anew.
//!
//! The rules are those of Apache Kafka 4.3's classic groups (KIP-62, KIP-134, KIP-345, KIP-394,
//! KIP-429, KIP-559, KIP-814, KIP-211, KIP-496).

mod describe;
mod hard;
mod join;
mod leave;
mod offsets;
mod rebalance;
mod record;
mod request;
mod settings;
mod soft;
mod sync;
mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use describe::{DescribedMember, Description, Figures, Listed, STATES};
pub use record::{Committed, Generation, KeptMember, Record};
pub use request::{
    Assigned, Commit, CommitPartition, Event, Join, Joined, JoinedMember, Leaving, Membership,
    Protocol, Reply, Request, Sync, Text, Token,
};
pub use settings::{PENDING_MEMBERS_PER_GROUP_MAX, Settings};

use hard::Hard;
use soft::Soft;
use turn::Turn;

use millrace_probe::{Branch, Bug, planted, reached};

use crate::Now;

/// The topic that keeps groups, as Kafka calls it.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// The partition of the topic that keeps a group: the absolute value of Java's hash of its id, by
/// the number of partitions.
pub fn partition_of(group: &str, partitions: usize) -> i32 {
    let hash = group.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    });
    // The least number has no absolute value; Kafka takes 0 for it.
    let hash = hash.checked_abs().unwrap_or(0);
    i32::try_from(partitions).map_or(0, |partitions| hash.checked_rem(partitions).unwrap_or(0))
}

/// What an event of one group leads to.
#[derive(Debug)]
pub struct Decision {
    group: Text,
    soft: Soft,
    /// What is to be written, in this order.
    pub records: Vec<Record>,
    /// What is to be answered, once it is committed.
    pub replies: Vec<(Token, Reply)>,
}

/// What a group takes beside its id and what is counted of it, for each of the two that are kept of
/// it: what its records say, and what it is doing.
const GROUP_BYTES: usize = 512;

/// What a group's entry takes.
fn entry_bytes(group: &Text) -> usize {
    GROUP_BYTES + group.len()
}

/// The groups of one shard.
#[derive(Debug, Default)]
pub struct Groups {
    hard: BTreeMap<Text, Hard>,
    soft: BTreeMap<Text, Soft>,
    /// When each group that waits for a time has something due.
    due: BTreeSet<(u64, Text)>,
    /// Groups of which nothing is kept any more, by the offset of the record that said so: until it
    /// is committed, whoever asks waits for it.
    emptied: BTreeMap<i64, Text>,
    /// Offset of the newest record of all; -1 for none.
    newest: i64,
    /// Everything below is committed.
    committed: i64,
    /// What all of it takes, in bytes, about.
    held_bytes: usize,
}

impl Groups {
    /// No groups.
    pub fn new() -> Self {
        Self {
            newest: -1,
            ..Self::default()
        }
    }

    /// Takes in a record, which lies at `offset`: every one that is appended, and at a start every
    /// one that was, in their order.
    pub fn replay(&mut self, offset: i64, record: &Record) {
        self.newest = offset;
        let group = record.group();
        if !self.hard.contains_key(group) {
            self.held_bytes += entry_bytes(group);
        }
        let hard = self.hard.entry(Arc::clone(group)).or_default();
        let before = hard.held_bytes;
        hard.replay(offset, record);
        self.held_bytes = self.held_bytes - before + hard.held_bytes;
        if hard.is_empty() {
            self.emptied.insert(offset, Arc::clone(group));
        }
    }

    /// All that was written has been replayed and is committed: the groups go on from there.
    pub fn loaded(&mut self, now: Now) {
        self.emptied.clear();
        let held_bytes = &mut self.held_bytes;
        self.hard.retain(|group, hard| {
            if hard.is_empty() {
                *held_bytes -= entry_bytes(group);
            }
            !hard.is_empty()
        });
        let mut loaded = Vec::new();
        for (group, hard) in &self.hard {
            if let Some(kept) = &hard.generation {
                let mut soft = Soft::loaded(kept, now);
                if !kept.members.is_empty() {
                    reached(Branch::GroupMembersLoaded);
                    if planted(Bug::GroupTimerLostOnReload) {
                        soft.check_at_ns = u64::MAX;
                    }
                }
                loaded.push((Arc::clone(group), soft));
            }
        }
        for (group, soft) in loaded {
            self.set_soft(group, soft);
        }
    }

    /// Everything below `upto` is committed.
    pub fn committed(&mut self, upto: i64) {
        self.committed = upto;
        let waiting = self.emptied.split_off(&upto);
        for group in std::mem::replace(&mut self.emptied, waiting).into_values() {
            let is_gone = |hard: &Hard| hard.is_empty() && hard.last_offset < upto;
            if self.hard.get(&group).is_some_and(is_gone) {
                self.held_bytes -= entry_bytes(&group);
                self.hard.remove(&group);
            }
        }
    }

    /// Decides what an event of `group` leads to.
    pub fn decide(&self, now: Now, settings: &Settings, group: &Text, event: Event) -> Decision {
        let nothing = Hard::default();
        let hard = self.hard.get(group).filter(|hard| {
            hard.last_offset < self.committed || !planted(Bug::GroupDecidesOnCommitted)
        });
        let mut turn = Turn {
            group,
            hard: hard.unwrap_or(&nothing),
            soft: self.soft.get(group).cloned().unwrap_or_default(),
            now,
            settings,
            records: Vec::new(),
            replies: Vec::new(),
        };
        match event {
            Event::Request(token, request) => turn.request(token, request),
            Event::Gone(token) => turn.gone(token),
            Event::Timer => turn.timer(),
            Event::Expire(at_ms) => turn.expire(at_ms),
            Event::TopicsDeleted(topics) => turn.topics_deleted(&topics),
        }
        if cfg!(debug_assertions) {
            turn.soft.assert_invariants();
        }
        Decision {
            group: Arc::clone(group),
            soft: turn.soft,
            records: turn.records,
            replies: turn.replies,
        }
    }

    /// Makes a decision the group's state, after its records were replayed. Gives the answers, and
    /// the offset that must be committed before they leave; -1 for none.
    pub fn apply(&mut self, decision: Decision) -> (Vec<(Token, Reply)>, i64) {
        let newest = self.newest_offset(&decision.group);
        self.set_soft(decision.group, decision.soft);
        (decision.replies, newest)
    }

    /// What was due of a group could not be written: it is due again then.
    pub fn postpone(&mut self, group: &Text, until_ns: u64) {
        if let Some(soft) = self.soft.get(group) {
            let soft = Soft {
                check_at_ns: until_ns,
                ..soft.clone()
            };
            self.set_soft(Arc::clone(group), soft);
        }
    }

    /// When something is due next; nanoseconds as [`Now::mono_ns`].
    pub fn next_due_ns(&self) -> Option<u64> {
        self.due.first().map(|(at_ns, _)| *at_ns)
    }

    /// A group of which something is due: [`Event::Timer`] is for it.
    pub fn due(&self, now: Now) -> Option<&Text> {
        let (at_ns, group) = self.due.first()?;
        (*at_ns <= now.mono_ns).then_some(group)
    }

    /// Offset of the newest record of a group; -1 for none.
    pub fn newest_offset(&self, group: &str) -> i64 {
        self.hard.get(group).map_or(-1, |hard| hard.last_offset)
    }

    /// Offset of the newest record of all; -1 for none. What is told of all groups waits for it.
    pub fn newest_of_all(&self) -> i64 {
        self.newest
    }

    /// What all groups take in memory, in bytes, about: what the caller holds to a limit.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The groups of which something is kept: those that may have what expires.
    pub fn kept(&self) -> impl Iterator<Item = &Text> {
        self.hard.keys()
    }

    /// Whether both keep the same, as it would be loaded: for tests.
    pub fn keeps_the_same(&self, other: &Self) -> bool {
        self.hard == other.hard
    }

    fn set_soft(&mut self, group: Text, soft: Soft) {
        if let Some(old) = self.soft.get(&group)
            && old.check_at_ns != u64::MAX
        {
            self.due.remove(&(old.check_at_ns, Arc::clone(&group)));
        }
        let before = self.soft.get(&group).map_or(0, |soft| soft.said_bytes);
        self.held_bytes = self.held_bytes - before + soft.said_bytes;
        let hard = self.hard.get(&group);
        let is_kept = hard.is_some_and(|hard| hard.generation.is_some());
        if soft.is_vacant() && !is_kept {
            if self.soft.remove(&group).is_some() {
                self.held_bytes -= entry_bytes(&group);
            }
            return;
        }
        if soft.check_at_ns != u64::MAX {
            self.due.insert((soft.check_at_ns, Arc::clone(&group)));
        }
        let bytes = entry_bytes(&group);
        if self.soft.insert(group, soft).is_none() {
            self.held_bytes += bytes;
        }
    }
}

impl Turn<'_> {
    fn request(&mut self, token: Token, request: Request) {
        match request {
            Request::Join(join) => self.join(token, join),
            Request::Sync(sync) => self.sync(token, sync),
            Request::Heartbeat(member) => self.heartbeat(token, &member),
            Request::Leave(leaving) => self.leave(token, &leaving),
            Request::Commit(commit) => self.commit(token, &commit),
            Request::DeleteOffsets(offsets) => self.delete_offsets(token, &offsets),
            Request::Delete => self.delete(token),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_lie_where_kafka_looks_for_them() {
        // `Math.abs(id.hashCode()) % 50`, by Java itself.
        for (group, partition) in [("", 0), ("g", 3), ("console-consumer-1", 24), ("größe", 7)] {
            assert_eq!(partition_of(group, 50), partition, "{group}");
        }
        // The one of the shortest texts whose hash is the least number.
        assert_eq!(partition_of("polygenelubricants", 50), 0);
        assert_eq!(partition_of("g", 0), 0);
    }
}
