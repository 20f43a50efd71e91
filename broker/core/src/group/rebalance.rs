//! The phases of a rebalance: members join again, the leader assigns, everyone gets their part.

use std::sync::Arc;

use millrace_probe::{Branch, Bug, planted, reached};
use millrace_protocol::error_code::ErrorCode;

use super::request::{Reply, Text};
use super::soft::{Awaiting, FirstDelay, Phase, Syncs};
use super::turn::Turn;

impl Turn<'_> {
    /// Begins a rebalance unless one is under way.
    pub(super) fn rebalance(&mut self) {
        let is_first = match self.soft.phase {
            Phase::Preparing { .. } => return,
            Phase::Completing | Phase::Stable => false,
            Phase::Empty => true,
        };
        self.fail_syncs();
        self.soft.syncs = None;
        let timeout_ms = self.soft.rebalance_timeout_ms();
        if is_first {
            let part_ms = self.settings.initial_rebalance_delay_ms;
            let first = FirstDelay {
                left_ms: timeout_ms.saturating_sub(part_ms),
                part_ms,
                joined: false,
            };
            self.prepare(part_ms, Some(first));
        } else {
            self.prepare(timeout_ms, None);
            self.complete_join_if_all_joined();
        }
    }

    fn prepare(&mut self, wait_ms: u64, first: Option<FirstDelay>) {
        let until_ns = self.now.after_ms(wait_ms);
        self.enter(Phase::Preparing { until_ns, first });
        self.soft.due_at(until_ns);
    }

    /// Whoever waits for an assignment of the last generation is to join again.
    fn fail_syncs(&mut self) {
        let waiting = self.soft.members.iter();
        let waiting: Vec<Text> = waiting
            .filter(|(_, member)| matches!(member.awaiting, Awaiting::Sync(_)))
            .map(|(id, _)| Arc::clone(id))
            .collect();
        for id in waiting {
            self.fail(&id, ErrorCode::RebalanceInProgress);
            self.touch(&id);
        }
    }

    /// Ends the join once everyone is there who is known; a group that begins waits its time.
    pub(super) fn complete_join_if_all_joined(&mut self) {
        let waits = matches!(self.soft.phase, Phase::Preparing { first: None, .. });
        if waits && self.soft.all_joined() {
            self.complete_join();
        }
    }

    /// The time for joining is over.
    pub(super) fn join_is_over(&mut self, first: Option<FirstDelay>) {
        let Some(first) = first else {
            self.complete_join();
            return;
        };
        if !first.joined || first.left_ms == 0 {
            self.complete_join();
            return;
        }
        let delay_ms = self.settings.initial_rebalance_delay_ms;
        let part_ms = delay_ms.min(first.left_ms);
        let next = FirstDelay {
            left_ms: first.left_ms.saturating_sub(first.part_ms),
            part_ms,
            joined: false,
        };
        let since_ms = self.soft.since_ms;
        self.prepare(part_ms, Some(next));
        self.soft.since_ms = since_ms;
    }

    /// Ends the join: whoever has not joined is out, unless it is static; the rest are a new
    /// generation.
    fn complete_join(&mut self) {
        let absent = self
            .soft
            .members
            .iter()
            .filter(|(_, member)| !member.awaits_join() && member.group_instance_id.is_none());
        let absent: Vec<Text> = absent.map(|(id, _)| Arc::clone(id)).collect();
        for id in &absent {
            reached(Branch::RebalanceTimedOut);
            self.soft.remove(id);
        }
        if !self.soft.members.is_empty() && !self.elect_leader() {
            // Nobody is there to assign: static members have until their sessions end.
            let timeout_ms = self.soft.rebalance_timeout_ms();
            let since_ms = self.soft.since_ms;
            self.prepare(timeout_ms, None);
            self.soft.since_ms = since_ms;
            return;
        }
        if self.soft.generation == 0 || !planted(Bug::GenerationReused) {
            self.soft.generation = next_generation(self.soft.generation);
        }
        if self.soft.members.is_empty() {
            self.soft.protocol = None;
            self.enter(Phase::Empty);
            self.soft.subscribed = self.soft.subscriptions();
            self.write_group(|_| Arc::from([]));
            return;
        }
        self.soft.protocol = self.soft.elected_protocol();
        self.enter(Phase::Completing);
        self.soft.subscribed = self.soft.subscriptions();
        self.answer_joins();
    }

    /// Has a member lead that has joined; whether there is one.
    fn elect_leader(&mut self) -> bool {
        let leader = self.soft.leader.as_ref();
        let joined = leader.and_then(|leader| self.soft.members.get(leader));
        if joined.is_some_and(super::soft::Member::awaits_join) {
            return true;
        }
        let mut members = self.soft.members.iter();
        let other = members.find(|(_, member)| member.awaits_join());
        let Some(other) = other.map(|(id, _)| Arc::clone(id)) else {
            return false;
        };
        self.soft.leader = Some(other);
        true
    }

    fn answer_joins(&mut self) {
        let ids: Vec<Text> = self.soft.members.keys().cloned().collect();
        let mut missing = rpds::RedBlackTreeMapSync::default();
        for id in &ids {
            missing.insert_mut(Arc::clone(id), ());
            let Some(member) = self.soft.members.get(id) else {
                continue;
            };
            if let Awaiting::Join(token) = member.awaiting {
                let joined = self.joined(id, true);
                self.reply(token, Reply::Join(joined));
            }
            self.soft.update(id, |member| {
                member.awaiting = Awaiting::Nothing;
                member.is_new = false;
            });
            self.touch(id);
        }
        let until_ns = self.now.after_ms(self.soft.rebalance_timeout_ms());
        self.soft.syncs = Some(Syncs { until_ns, missing });
        self.soft.due_at(until_ns);
    }
}

/// The number of the next generation; after the last possible one comes the first.
fn next_generation(generation: i32) -> i32 {
    generation.checked_add(1).unwrap_or(0)
}
