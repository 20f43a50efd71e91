//! A group's soft state: who is a member now, who waits for what, and until when. It is lost when
//! the coordinator moves or starts again, and made anew from the hard state.
//!
//! What always holds ([`Soft::assert_invariants`]): the counts are those of the members; a static
//! name leads to a member that has it; the leader is a member; nobody is a member and about to be
//! one; an empty group has no members. A clone shares everything with its original, so that a
//! decision works on a clone, which takes the original's place once what it wrote is in the log.

use std::collections::BTreeSet;
use std::sync::Arc;

use millrace_protocol::coordinator::subscribed_topics;
use rpds::RedBlackTreeMapSync;

use super::record::{Generation, KeptMember};
use super::request::{Protocol, Text, Token};
use crate::Now;

/// What members speak whose subscriptions name topics.
const CONSUMER: &str = "consumer";

/// What a member takes beside its texts, with what holds it.
const MEMBER_BYTES: usize = 512;
/// What an id takes beside itself that was given out and not used yet.
const PENDING_BYTES: usize = 128;
/// What a protocol takes beside its texts, with its count.
const PROTOCOL_BYTES: usize = 128;

/// What a group is doing. Kafka's names are those of [`Phase::name`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has no members; maybe offsets.
    Empty,
    /// Its members are to join again.
    Preparing {
        /// When it ends without those who have not.
        until_ns: u64,
        /// It begins to exist: it waits for more to come.
        first: Option<FirstDelay>,
    },
    /// They have joined, and wait for the leader's assignment.
    Completing,
    /// They have it.
    Stable,
}

/// What is left of the wait of a group that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FirstDelay {
    /// How long it may be extended, in milliseconds.
    pub(super) left_ms: u64,
    /// How long this part of it is.
    pub(super) part_ms: u64,
    /// Somebody has joined since it was extended.
    pub(super) joined: bool,
}

impl Phase {
    /// Kafka's name.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Preparing { .. } => "PreparingRebalance",
            Self::Completing => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// What a member waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaiting {
    /// Nothing.
    Nothing,
    /// That all have joined.
    Join(Token),
    /// The assignment.
    Sync(Token),
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) group_instance_id: Option<Text>,
    pub(super) client_id: Text,
    pub(super) client_host: Text,
    pub(super) session_timeout_ms: u64,
    pub(super) rebalance_timeout_ms: u64,
    pub(super) protocols: Arc<[Protocol]>,
    pub(super) awaiting: Awaiting,
    /// It was never answered.
    pub(super) is_new: bool,
    /// When it is taken out unless it says that it lives.
    pub(super) until_ns: u64,
}

impl Member {
    /// What it says in a protocol.
    pub(super) fn metadata(&self, protocol: Option<&Text>) -> Arc<[u8]> {
        let found = protocol.and_then(|name| self.protocols.iter().find(|p| p.name == *name));
        found.map_or_else(|| Arc::from([]), |protocol| Arc::clone(&protocol.metadata))
    }

    /// What it takes in memory with its id, about.
    fn bytes(&self, member_id: &Text) -> usize {
        let said = self.protocols.iter();
        let said = said.map(|one| PROTOCOL_BYTES + one.name.len() + one.metadata.len());
        let name = self.group_instance_id.as_deref().map_or(0, str::len);
        let texts = member_id.len() + name + self.client_id.len();
        MEMBER_BYTES + texts + said.sum::<usize>()
    }

    /// Whether it waits for all to join.
    pub(super) fn awaits_join(&self) -> bool {
        matches!(self.awaiting, Awaiting::Join(_))
    }
}

/// Who has not asked for an assignment yet, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Syncs {
    pub(super) until_ns: u64,
    pub(super) missing: RedBlackTreeMapSync<Text, ()>,
}

/// One group, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Soft {
    pub(super) phase: Phase,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<Text>,
    pub(super) protocol: Option<Text>,
    pub(super) leader: Option<Text>,
    /// Since when it is in its phase, milliseconds since the Unix epoch; -1 for unknown.
    pub(super) since_ms: i64,
    pub(super) members: RedBlackTreeMapSync<Text, Member>,
    /// Members by what static ones call themselves.
    pub(super) instances: RedBlackTreeMapSync<Text, Text>,
    /// Ids that were given out and not used yet, and until when they may be.
    pub(super) pending: RedBlackTreeMapSync<Text, u64>,
    /// How many members can follow each protocol.
    pub(super) supported: RedBlackTreeMapSync<Text, usize>,
    pub(super) awaiting_join: usize,
    /// What the members said, and the ids given out, with what they take beside it, in bytes, about.
    pub(super) said_bytes: usize,
    pub(super) syncs: Option<Syncs>,
    /// The topics that members of protocol type `consumer` read, if that can be told.
    pub(super) subscribed: Option<Arc<BTreeSet<Text>>>,
    /// Nothing is due before.
    pub(super) check_at_ns: u64,
}

impl Default for Soft {
    fn default() -> Self {
        Self {
            phase: Phase::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            since_ms: -1,
            members: RedBlackTreeMapSync::default(),
            instances: RedBlackTreeMapSync::default(),
            pending: RedBlackTreeMapSync::default(),
            supported: RedBlackTreeMapSync::default(),
            awaiting_join: 0,
            said_bytes: 0,
            syncs: None,
            subscribed: None,
            check_at_ns: u64::MAX,
        }
    }
}

impl Soft {
    /// A group as its records have it. Its members have a whole session to say that they live.
    pub(super) fn loaded(kept: &Generation, now: Now) -> Self {
        let named = Some(&kept.protocol_type).filter(|name| !name.is_empty());
        let mut soft = Self {
            generation: kept.generation,
            protocol_type: named.cloned(),
            protocol: kept.protocol.clone(),
            since_ms: kept.since_ms,
            ..Self::default()
        };
        for member in &kept.members {
            soft.add(
                Arc::clone(&member.member_id),
                loaded_member(kept, member, now),
            );
        }
        if !kept.members.is_empty() {
            soft.phase = Phase::Stable;
            if let Some(leader) = &kept.leader
                && soft.members.contains_key(leader)
            {
                soft.leader = Some(Arc::clone(leader));
            }
        }
        soft.subscribed = soft.subscriptions();
        soft
    }

    /// Whether nothing would be lost with it.
    pub(super) fn is_vacant(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty() && self.phase == Phase::Empty
    }

    /// Something is due at that time.
    pub(super) fn due_at(&mut self, at_ns: u64) {
        self.check_at_ns = self.check_at_ns.min(at_ns);
    }

    /// Gives out an id, which may be used until then.
    pub(super) fn expect(&mut self, member_id: Text, until_ns: u64) {
        self.said_bytes += PENDING_BYTES + member_id.len();
        self.pending.insert_mut(member_id, until_ns);
        self.due_at(until_ns);
    }

    /// An id that was given out is used, or no longer may be; whether it was one.
    pub(super) fn expect_no_more(&mut self, member_id: &Text) -> bool {
        let was_expected = self.pending.remove_mut(member_id);
        if was_expected {
            self.said_bytes -= PENDING_BYTES + member_id.len();
        }
        was_expected
    }

    /// Adds a member that isn't there, or puts it in the place of what is there under its id.
    pub(super) fn add(&mut self, member_id: Text, member: Member) {
        self.take(&member_id);
        for protocol in &*member.protocols {
            let count = self.supported.get(&protocol.name).copied().unwrap_or(0);
            self.supported
                .insert_mut(Arc::clone(&protocol.name), count + 1);
        }
        if let Some(instance) = &member.group_instance_id {
            self.instances
                .insert_mut(Arc::clone(instance), Arc::clone(&member_id));
        }
        self.awaiting_join += usize::from(member.awaits_join());
        self.said_bytes += member.bytes(&member_id);
        self.due_at(member.until_ns);
        self.leader.get_or_insert_with(|| Arc::clone(&member_id));
        self.members.insert_mut(member_id, member);
    }

    /// Takes a member out but leaves the group's leader and whom it waits for as they are.
    fn take(&mut self, member_id: &Text) -> Option<Member> {
        let member = self.members.get(member_id)?.clone();
        for protocol in &*member.protocols {
            match self.supported.get(&protocol.name).copied() {
                None | Some(0 | 1) => self.supported.remove_mut(&protocol.name),
                Some(count) => {
                    self.supported
                        .insert_mut(Arc::clone(&protocol.name), count - 1);
                    true
                }
            };
        }
        if let Some(instance) = &member.group_instance_id
            && self.instances.get(instance) == Some(member_id)
        {
            self.instances.remove_mut(instance);
        }
        self.awaiting_join -= usize::from(member.awaits_join());
        self.said_bytes -= member.bytes(member_id);
        self.members.remove_mut(member_id);
        Some(member)
    }

    /// Takes a member out; another one leads if it led.
    pub(super) fn remove(&mut self, member_id: &Text) -> Option<Member> {
        self.expect_no_more(member_id);
        if let Some(syncs) = &mut self.syncs {
            syncs.missing.remove_mut(member_id);
        }
        let member = self.take(member_id)?;
        if self.leader.as_ref() == Some(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// Changes a member, keeping the counts.
    pub(super) fn update(&mut self, member_id: &Text, change: impl FnOnce(&mut Member)) {
        let leader = self.leader.clone();
        if let Some(mut member) = self.take(member_id) {
            change(&mut member);
            self.add(Arc::clone(member_id), member);
        }
        self.leader = leader;
    }

    /// A member lives until then at least.
    pub(super) fn touch(&mut self, member_id: &Text, until_ns: u64) {
        if let Some(member) = self.members.get(member_id) {
            let member = Member {
                until_ns,
                ..member.clone()
            };
            self.members.insert_mut(Arc::clone(member_id), member);
            self.due_at(until_ns);
        }
    }

    /// Whether somebody of that kind with these protocols could be a member.
    pub(super) fn supports(&self, protocol_type: &Text, protocols: &[Protocol]) -> bool {
        if self.phase == Phase::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_ref() == Some(protocol_type)
            && protocols
                .iter()
                .any(|protocol| self.all_support(&protocol.name))
    }

    fn all_support(&self, protocol: &Text) -> bool {
        self.supported.get(protocol).copied().unwrap_or(0) == self.members.size()
    }

    /// The protocol that most members rank first among those that all can follow; of several the
    /// first by name.
    pub(super) fn elected_protocol(&self) -> Option<Text> {
        let mut votes: Vec<(&Text, usize)> = Vec::new();
        for member in self.members.values() {
            let mut ranked = member.protocols.iter().map(|protocol| &protocol.name);
            let Some(choice) = ranked.find(|name| self.all_support(name)) else {
                continue;
            };
            match votes.iter_mut().find(|(name, _)| *name == choice) {
                Some((_, count)) => *count += 1,
                None => votes.push((choice, 1)),
            }
        }
        votes.sort_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
        votes.first().map(|(name, _)| Arc::clone(name))
    }

    /// The longest that a member wants a rebalance to wait for it.
    pub(super) fn rebalance_timeout_ms(&self) -> u64 {
        let timeouts = self
            .members
            .values()
            .map(|member| member.rebalance_timeout_ms);
        timeouts.max().unwrap_or(0)
    }

    /// Whether everyone has joined who is known.
    pub(super) fn all_joined(&self) -> bool {
        self.awaiting_join == self.members.size() && self.pending.is_empty()
    }

    /// Whether its members say which topics they read.
    pub(super) fn speaks_consumer(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// The topics that the members read; `None` if that can't be told.
    pub(super) fn subscriptions(&self) -> Option<Arc<BTreeSet<Text>>> {
        if !self.speaks_consumer() {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let subscription = member.metadata(self.protocol.as_ref());
            topics.extend(subscribed_topics(&subscription)?.map(Text::from));
        }
        Some(Arc::new(topics))
    }

    /// Whether members read that topic, as far as can be told.
    pub(super) fn is_subscribed_to(&self, topic: &Text) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.speaks_consumer() && !self.members.is_empty(),
        }
    }

    /// Panics if something doesn't hold that always must.
    pub(super) fn assert_invariants(&self) {
        let awaiting = self.members.values().filter(|member| member.awaits_join());
        assert_eq!(
            self.awaiting_join,
            awaiting.count(),
            "who waits to join is counted"
        );
        let said = self.members.iter().map(|(id, member)| member.bytes(id));
        let pending = self.pending.keys().map(|id| PENDING_BYTES + id.len());
        assert_eq!(
            self.said_bytes,
            said.chain(pending).sum::<usize>(),
            "what members say is counted"
        );
        let names = self
            .members
            .values()
            .flat_map(|member| member.protocols.iter());
        let counted: usize = self.supported.values().sum();
        assert_eq!(
            counted,
            names.count(),
            "who can follow a protocol is counted"
        );
        for (instance, member_id) in &self.instances {
            let named = self
                .members
                .get(member_id)
                .and_then(|m| m.group_instance_id.as_ref());
            assert_eq!(named, Some(instance), "a static name leads to its member");
        }
        let led = |leader| self.members.contains_key(leader);
        assert!(
            self.leader.as_ref().is_none_or(led),
            "the leader is a member"
        );
        assert_eq!(
            self.leader.is_none(),
            self.members.is_empty(),
            "members have a leader"
        );
        let both = self
            .pending
            .keys()
            .find(|id| self.members.contains_key(*id));
        assert_eq!(both, None, "nobody is a member and about to be one");
        let is_empty = self.phase == Phase::Empty;
        assert!(
            !is_empty || self.members.is_empty(),
            "an empty group has no members"
        );
    }
}

fn loaded_member(kept: &Generation, member: &KeptMember, now: Now) -> Member {
    let protocol = kept.protocol.clone().map(|name| Protocol {
        name,
        metadata: Arc::clone(&member.subscription),
    });
    let session_timeout_ms = u64::try_from(member.session_timeout_ms).unwrap_or(0);
    Member {
        group_instance_id: member.group_instance_id.clone(),
        client_id: Arc::clone(&member.client_id),
        client_host: Arc::clone(&member.client_host),
        session_timeout_ms,
        rebalance_timeout_ms: u64::try_from(member.rebalance_timeout_ms).unwrap_or(0),
        protocols: protocol.into_iter().collect(),
        awaiting: Awaiting::Nothing,
        is_new: false,
        until_ns: now.after_ms(session_timeout_ms),
    }
}
