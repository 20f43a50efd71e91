//! Who is in sync: progress of every replica as the leader knows it, and proposals to change the ISR.
//!
//! Always, while leading: this broker is in the ISR; the ISR is a subset of the assigned replicas; at
//! most one proposal is on its way; the high watermark is a minimum over the *maximal* ISR, the
//! committed one together with what is proposed (KIP-497): additions count at once, removals only
//! when committed.

use super::settings::{Durability, ISR_RETRY_MS, Settings};
use crate::{NS_PER_MS, Now};

/// How far a replica's log goes, by its own word. The leader's own is kept the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Offset after the last record in its page cache.
    pub log_end: i64,
    /// Offset after the last record on its stable storage. A follower that does not tell reports
    /// its fetch offset.
    pub flushed: i64,
}

impl Progress {
    fn countable(self, durability: Durability) -> i64 {
        match durability {
            Durability::Fsync => self.flushed.min(self.log_end),
            Durability::PageCache => self.log_end,
        }
    }
}

/// An assigned replica, as the metadata image has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssignedReplica {
    /// Its broker.
    pub broker_id: i32,
    /// The epoch of its broker's present registration; -1 when it is not registered.
    pub broker_epoch: i64,
    /// Registered, not fenced and not shutting down: only then may it join the ISR (KIP-841).
    pub eligible: bool,
}

/// What the metadata image says when this broker leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// The leader epoch.
    pub leader_epoch: i32,
    /// The partition epoch: raised by every change of the partition's record.
    pub partition_epoch: i32,
    /// The assigned replicas, this broker among them.
    pub replicas: Vec<AssignedReplica>,
    /// The committed ISR, this broker in it.
    pub isr: Vec<i32>,
}

/// A change of the ISR that the leader wants (`AlterPartition`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsrProposal {
    /// The new ISR, ascending.
    pub isr: Vec<i32>,
    /// The leader epoch it is proposed in.
    pub leader_epoch: i32,
    /// The partition epoch it builds on.
    pub partition_epoch: i32,
}

/// What the controller answered to a proposal that it did not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsrRefusal {
    /// 55 or 107: it never took effect and never will; as before.
    Revert,
    /// 3, 42, 74, 95, 100, 108: the image has moved on. What is proposed keeps counting until the
    /// metadata arrives.
    AwaitMetadata,
    /// Anything else, or no answer: unknown; it keeps counting and is proposed again.
    Retry,
}

/// A fetch of a follower, whose epoch was checked by `check_fetch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaFetch {
    /// The follower.
    pub replica: i32,
    /// Its log: `log_end` is the offset it fetches from.
    pub progress: Progress,
    /// The leader epoch it follows.
    pub leader_epoch: i32,
    /// The epoch of its registration when it sent the fetch (KIP-903).
    pub broker_epoch: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Replica {
    assigned: AssignedReplica,
    /// Unknown until it fetches in this leader epoch.
    progress: Option<Progress>,
    /// Broker epoch of its last fetch.
    fetch_broker_epoch: i64,
    /// When it last had everything that the leader had.
    caught_up_ns: u64,
    /// Its last fetch, and the leader's log end then.
    fetched_ns: u64,
    leader_end_at_fetch: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pending {
    isr: Vec<i32>,
    /// When to propose it again; `None` while an answer or metadata is awaited.
    retry_at_ns: Option<u64>,
}

/// Everything a leader knows of the replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Replicas {
    own_id: i32,
    assigned: Vec<Replica>,
    isr: Vec<i32>,
    pending: Option<Pending>,
    partition_epoch: i32,
    shrink_check_ns: u64,
}

impl Replicas {
    pub(super) fn new(own_id: i32) -> Self {
        Self {
            own_id,
            partition_epoch: -1,
            ..Self::default()
        }
    }

    /// Takes what the image says. `fresh`: a new leader epoch, in which nothing is known of the
    /// followers' progress; otherwise what is known of those that stay is kept.
    pub(super) fn lead(&mut self, now: Now, leadership: &Leadership, fresh: bool, own: Progress) {
        let mut replicas = Vec::with_capacity(leadership.replicas.len());
        for assigned in &leadership.replicas {
            let id = assigned.broker_id;
            let in_isr = leadership.isr.contains(&id);
            let known = self
                .assigned
                .iter()
                .find(|replica| replica.assigned.broker_id == id);
            let mut replica = match known {
                Some(known) if !fresh => *known,
                Some(_) | None => Replica {
                    assigned: *assigned,
                    progress: None,
                    fetch_broker_epoch: -1,
                    // Those in the ISR get their time to show themselves.
                    caught_up_ns: if in_isr { now.mono_ns } else { 0 },
                    fetched_ns: 0,
                    leader_end_at_fetch: -1,
                },
            };
            replica.assigned = *assigned;
            replicas.push(replica);
        }
        self.assigned = replicas;
        self.isr.clone_from(&leadership.isr);
        self.isr.sort_unstable();
        self.pending = None;
        self.partition_epoch = leadership.partition_epoch;
        self.advance_own(own);
    }

    /// Forgets all of it: this broker no longer leads.
    pub(super) fn resign(&mut self) {
        *self = Self::new(self.own_id);
    }

    pub(super) fn partition_epoch(&self) -> i32 {
        self.partition_epoch
    }

    pub(super) fn own_id(&self) -> i32 {
        self.own_id
    }

    pub(super) fn isr(&self) -> &[i32] {
        &self.isr
    }

    /// The leader's own progress.
    pub(super) fn advance_own(&mut self, own: Progress) {
        let id = self.own_id;
        if let Some(replica) = self.replica_mut(id) {
            replica.progress = Some(own);
        }
    }

    /// A follower's broker was registered anew, fenced or unfenced.
    pub(super) fn changed(&mut self, assigned: AssignedReplica) {
        if let Some(replica) = self.replica_mut(assigned.broker_id) {
            replica.assigned = assigned;
        }
    }

    fn replica_mut(&mut self, id: i32) -> Option<&mut Replica> {
        self.assigned
            .iter_mut()
            .find(|replica| replica.assigned.broker_id == id)
    }

    /// Notes a follower's fetch. One that claims more than the leader has, or that is not assigned,
    /// counts for nothing.
    pub(super) fn fetched(&mut self, now: Now, fetch: &ReplicaFetch, leader_end: i64) {
        let Progress { log_end, flushed } = fetch.progress;
        if fetch.replica == self.own_id || log_end > leader_end || flushed > log_end {
            return;
        }
        let Some(replica) = self.replica_mut(fetch.replica) else {
            return;
        };
        // A word of an earlier life of that broker, overtaken by a later one.
        if fetch.broker_epoch < replica.fetch_broker_epoch {
            return;
        }
        // Caught up now, or by now with what was there at the fetch before.
        if log_end >= leader_end {
            replica.caught_up_ns = now.mono_ns;
        } else if replica.leader_end_at_fetch >= 0 && log_end >= replica.leader_end_at_fetch {
            replica.caught_up_ns = replica.caught_up_ns.max(replica.fetched_ns);
        }
        replica.progress = Some(fetch.progress);
        replica.fetch_broker_epoch = fetch.broker_epoch;
        replica.fetched_ns = now.mono_ns;
        replica.leader_end_at_fetch = leader_end;
    }

    /// The committed ISR and what is proposed on top of it.
    fn maximal_isr(&self) -> impl Iterator<Item = i32> + '_ {
        let proposed = self
            .pending
            .as_ref()
            .map_or(&[][..], |pending| &pending.isr);
        let added = proposed.iter().filter(|id| !self.isr.contains(id));
        self.isr.iter().chain(added).copied()
    }

    /// How many replicas acks=all needs: never more than there are.
    pub(super) fn min_isr(&self, settings: &Settings) -> usize {
        settings.min_insync_replicas.min(self.assigned.len()).max(1)
    }

    pub(super) fn has_min_isr(&self, settings: &Settings) -> bool {
        self.isr.len() >= self.min_isr(settings)
    }

    /// Up to where every replica of the maximal ISR has the records, as `durability` counts them.
    /// `None` while the ISR is too small or a member has not been heard of.
    pub(super) fn committed_upto(
        &self,
        durability: Durability,
        settings: &Settings,
    ) -> Option<i64> {
        if !self.has_min_isr(settings) {
            return None;
        }
        let mut upto = i64::MAX;
        for id in self.maximal_isr() {
            let replica = self
                .assigned
                .iter()
                .find(|replica| replica.assigned.broker_id == id)?;
            upto = upto.min(replica.progress?.countable(durability));
        }
        Some(upto)
    }

    /// Wants a follower in the ISR that has all committed records, has reached this epoch's start
    /// (KAFKA-7128), and fetches with its broker's present registration (KIP-903).
    pub(super) fn expand(
        &mut self,
        high_watermark: i64,
        epoch_start: i64,
        durability: Durability,
        leader_epoch: i32,
    ) -> Option<IsrProposal> {
        if self.pending.is_some() {
            return None;
        }
        let joins = |replica: &&Replica| {
            let assigned = replica.assigned;
            let caught_up = |progress: Progress| {
                progress.countable(durability) >= high_watermark && progress.log_end >= epoch_start
            };
            !self.isr.contains(&assigned.broker_id)
                && assigned.eligible
                && assigned.broker_epoch == replica.fetch_broker_epoch
                && replica.progress.is_some_and(caught_up)
        };
        let mut isr = self.isr.clone();
        isr.extend(
            self.assigned
                .iter()
                .filter(joins)
                .map(|replica| replica.assigned.broker_id),
        );
        if isr.len() == self.isr.len() {
            return None;
        }
        isr.sort_unstable();
        Some(self.propose(isr, leader_epoch))
    }

    /// Wants followers out of the ISR that have not caught up for longer than allowed. Looks at
    /// most every half of that time.
    pub(super) fn shrink(
        &mut self,
        now: Now,
        leader_end: i64,
        settings: &Settings,
        leader_epoch: i32,
    ) -> Option<IsrProposal> {
        if self.isr.len() < 2 || now.mono_ns < self.shrink_check_ns {
            return None;
        }
        self.shrink_check_ns = now.after_ms(settings.replica_lag_time_max_ms / 2);
        if self.pending.is_some() {
            return None;
        }
        let lag_ns = settings.replica_lag_time_max_ms.saturating_mul(NS_PER_MS);
        let stays = |id: &i32| {
            let replica = self
                .assigned
                .iter()
                .find(|replica| replica.assigned.broker_id == *id);
            *id == self.own_id
                || replica.is_some_and(|replica| {
                    let at_end = replica.progress.is_some_and(|is| is.log_end == leader_end);
                    at_end || now.mono_ns.saturating_sub(replica.caught_up_ns) <= lag_ns
                })
        };
        let isr: Vec<i32> = self.isr.iter().copied().filter(stays).collect();
        (isr.len() < self.isr.len()).then(|| self.propose(isr, leader_epoch))
    }

    fn propose(&mut self, isr: Vec<i32>, leader_epoch: i32) -> IsrProposal {
        let proposal = IsrProposal {
            isr,
            leader_epoch,
            partition_epoch: self.partition_epoch,
        };
        self.pending = Some(Pending {
            isr: proposal.isr.clone(),
            retry_at_ns: None,
        });
        proposal
    }

    /// The controller committed an ISR. Returns whether that was news.
    pub(super) fn committed(&mut self, isr: &[i32], partition_epoch: i32) -> bool {
        if partition_epoch <= self.partition_epoch {
            return false;
        }
        self.partition_epoch = partition_epoch;
        self.isr = isr.to_vec();
        self.isr.sort_unstable();
        self.pending = None;
        true
    }

    /// The controller did not take the proposal.
    pub(super) fn refused(&mut self, now: Now, refusal: IsrRefusal) {
        match refusal {
            IsrRefusal::Revert => self.pending = None,
            IsrRefusal::AwaitMetadata => {}
            IsrRefusal::Retry => {
                if let Some(pending) = &mut self.pending {
                    pending.retry_at_ns = Some(now.after_ms(ISR_RETRY_MS));
                }
            }
        }
    }

    /// The proposal to make again, once its time has come.
    pub(super) fn retry(&mut self, now: Now, leader_epoch: i32) -> Option<IsrProposal> {
        let pending = self.pending.as_mut()?;
        if pending.retry_at_ns? > now.mono_ns {
            return None;
        }
        pending.retry_at_ns = None;
        Some(IsrProposal {
            isr: pending.isr.clone(),
            leader_epoch,
            partition_epoch: self.partition_epoch,
        })
    }

    /// When to look at the followers again; `None` for a partition without any in its ISR.
    pub(super) fn due_ns(&self) -> Option<u64> {
        let retry = self
            .pending
            .as_ref()
            .and_then(|pending| pending.retry_at_ns);
        let shrink = (self.isr.len() > 1).then_some(self.shrink_check_ns);
        match (retry, shrink) {
            (Some(retry), Some(shrink)) => Some(retry.min(shrink)),
            (due, None) | (None, due) => due,
        }
    }

    /// Panics when the rules at the top of this file do not hold for a leader.
    pub(super) fn assert_leading(&self) {
        let assigned = |id: &i32| {
            self.assigned
                .iter()
                .any(|replica| replica.assigned.broker_id == *id)
        };
        assert!(
            self.isr.contains(&self.own_id),
            "the leader is not in its ISR {:?}",
            self.isr
        );
        assert!(
            self.isr.iter().all(assigned),
            "the ISR {:?} is not assigned",
            self.isr
        );
        if let Some(pending) = &self.pending {
            assert!(
                pending.isr.contains(&self.own_id) && pending.isr.iter().all(assigned),
                "the proposed ISR {:?} lacks the leader or names a stranger",
                pending.isr
            );
        }
    }
}
