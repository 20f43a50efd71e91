//! A member of a classic group: what it does next. Pure decisions, nothing is sent here.
//!
//! What always holds:
//! - One step is under way at a time (finding the coordinator, joining, giving partitions up, ...);
//!   signs of life go beside it. While it waits for the other members they only show whether the
//!   coordinator is still there.
//! - Partitions are given up only while the application asks for records, or when it closes: so what
//!   it still works on is never another's already. Only those of a member that was thrown out are lost
//!   at once.
//! - A member that joins under the eager protocol owns nothing; under the cooperative one it joins with
//!   what it owns, gives up only what it is no longer assigned, and joins again when it did (KIP-429).
//! - A member whose application stopped asking leaves, and comes back when it asks again. A static
//!   member never says that it leaves (KIP-345): its session ends.
//! - A fault that no retry can mend ends it, with that error.

use std::collections::BTreeSet;
use std::time::Duration;

use millrace_host::Mono;

use super::protocol::NO_GENERATION;
use crate::{Error, TopicPartition};

/// Partitions.
pub(super) type Partitions = BTreeSet<TopicPartition>;

/// What a member goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) heartbeat_interval: Duration,
    pub(super) poll_interval_max: Duration,
    pub(super) cooperative: bool,
    pub(super) is_static: bool,
}

/// Why a request to the coordinator didn't do what it should.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// It isn't the coordinator any more, or can't be reached.
    Moved(Error),
    /// It can't answer now.
    Again(Error),
    /// A rebalance is under way.
    Rebalance,
    /// It doesn't know the member.
    UnknownMember,
    /// It knows the member, but in another generation.
    StaleGeneration,
    /// The member is to join with this id (KIP-394).
    TakeId(String),
    /// No retry can help.
    Final(Error),
}

/// What happened.
#[derive(Debug)]
pub(super) enum Event {
    /// Nothing but that time has passed, or the application begins to ask.
    Looked,
    /// Who coordinates.
    Found(Result<i32, Fault>),
    /// The generation joined, and the member's id.
    Joined(Result<(String, i32), Fault>),
    /// What is assigned in it.
    Synced(Result<Partitions, Fault>),
    /// The answer to a sign of life of this generation.
    Beat(i32, Result<(), Fault>),
    /// The partitions were given up.
    Revoked,
    /// Where to begin with new partitions is known.
    Located(Result<(), Fault>),
    /// The listener was told.
    Told,
    /// The coordinator was told that the member leaves, or couldn't be.
    Left,
    /// What to subscribe to, or how many partitions there are, has changed.
    Changed,
    /// The application closes the consumer.
    Close,
}

/// What to do. Steps, each of which ends with an event, unless it is said otherwise.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Ask who coordinates: [`Event::Found`].
    Find,
    /// Join: [`Event::Joined`].
    Join,
    /// Hear what is assigned, and say so to all others as their leader: [`Event::Synced`].
    Sync,
    /// Read no more of these, keep their offsets, tell the listener: [`Event::Revoked`].
    Revoke(Partitions),
    /// Ask where to begin with these: [`Event::Located`].
    Locate(Partitions),
    /// Read these too, tell the listener: [`Event::Told`].
    Adopt(Partitions),
    /// Tell the listener that these are lost: [`Event::Told`].
    TellLost(Partitions),
    /// Say that the member leaves: [`Event::Left`].
    Leave,
    /// Beside the steps. Give a sign of life: [`Event::Beat`].
    Beat,
    /// Present once, without an event. Read no more of these.
    Forget(Partitions),
    /// Present once, without an event. The step under way is of no use any more.
    Abandon,
}

/// The present.
#[derive(Clone, Copy, Debug)]
pub(super) struct Present {
    pub(super) now: Mono,
    /// When to try again what has failed now.
    pub(super) retry_at: Mono,
    /// Whether the application waits for records.
    pub(super) asking: bool,
    /// When it last did.
    pub(super) asked_at: Mono,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Find,
    Join,
    Sync,
    Revoke,
    Locate,
    Tell,
    Leave,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// It must join, if only again.
    Joining,
    /// It is in a generation and has to hear what is assigned to it.
    Joined,
    /// It has to make what it owns what it is assigned.
    Assigned(Partitions),
    Stable,
    /// The application doesn't ask.
    Away,
    Ended,
}

/// The member.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent of each other: any of them may hold in any phase"
)]
pub(super) struct Member {
    rules: Rules,
    phase: Phase,
    step: Option<Step>,
    coordinator: Option<i32>,
    id: String,
    generation: i32,
    owned: Partitions,
    /// What is being given up.
    revoking: Partitions,
    /// What the listener doesn't know yet to be lost.
    lost: Partitions,
    rejoins: bool,
    leaves: bool,
    closing: bool,
    beating: bool,
    next_beat: Mono,
    failures: u32,
    not_before: Mono,
    error: Option<Error>,
}

impl Member {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            phase: Phase::Joining,
            step: None,
            coordinator: None,
            id: String::new(),
            generation: NO_GENERATION,
            owned: Partitions::new(),
            revoking: Partitions::new(),
            lost: Partitions::new(),
            rejoins: false,
            leaves: false,
            closing: false,
            beating: false,
            next_beat: Mono::default(),
            failures: 0,
            not_before: Mono::default(),
            error: None,
        }
    }

    /// The broker that coordinates the group, if it is known.
    pub(super) fn coordinator(&self) -> Option<i32> {
        self.coordinator
    }

    /// The member's id, empty while it has none.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The generation that it is in, or -1.
    pub(super) fn generation(&self) -> i32 {
        self.generation
    }

    /// What it owns.
    pub(super) fn owned(&self) -> &Partitions {
        &self.owned
    }

    /// Failed attempts in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether all is over, and the listener knows.
    pub(super) fn has_ended(&self) -> bool {
        self.phase == Phase::Ended && self.step.is_none() && self.lost.is_empty()
    }

    /// What ended it, if not the application.
    pub(super) fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// Whether it goes on when the application asks.
    pub(super) fn awaits_application(&self) -> bool {
        match &self.phase {
            Phase::Away => true,
            Phase::Joining => !self.rules.cooperative && !self.owned.is_empty(),
            Phase::Assigned(assigned) => !self.owned.is_subset(assigned),
            Phase::Joined | Phase::Stable | Phase::Ended => false,
        }
    }

    /// When to look again, if nothing else happens.
    pub(super) fn next_at(&self, at: Present) -> Option<Mono> {
        let waits = self.step.is_none() && self.not_before > at.now;
        let beats = self.can_beat() && !self.beating;
        let leaves = !at.asking && self.may_give_up_waiting();
        let times = [
            waits.then_some(self.not_before),
            beats.then_some(self.next_beat),
            leaves.then(|| at.asked_at + self.rules.poll_interval_max),
        ];
        times.into_iter().flatten().min()
    }

    /// Hears what happened, and says what to do.
    pub(super) fn decide(&mut self, at: Present, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.hear(at, event, &mut effects);
        self.act(at, &mut effects);
        effects
    }

    fn hear(&mut self, at: Present, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Looked => {}
            Event::Changed => self.rejoins = true,
            Event::Close => {
                self.closing = true;
                self.abandon(effects);
            }
            Event::Beat(generation, answer) => self.beat(at, generation, answer, effects),
            step @ (Event::Found(_)
            | Event::Joined(_)
            | Event::Synced(_)
            | Event::Revoked
            | Event::Located(_)
            | Event::Told
            | Event::Left) => {
                self.step = None;
                self.step_ended(at, step, effects);
            }
        }
    }

    fn step_ended(&mut self, at: Present, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Found(Ok(coordinator)) => self.coordinator = Some(coordinator),
            Event::Joined(Ok((member_id, generation))) => {
                self.id = member_id;
                self.generation = generation;
                self.phase = Phase::Joined;
                self.rejoins = false;
                self.heard(at);
            }
            Event::Joined(Err(Fault::TakeId(id))) => {
                // Once is what the protocol asks for; more often it is a fault like any.
                if !self.id.is_empty() {
                    self.fail(at);
                }
                self.id = id;
            }
            Event::Synced(Ok(assigned)) => {
                self.phase = Phase::Assigned(assigned);
                self.heard(at);
            }
            Event::Synced(Err(fault)) => {
                self.phase = Phase::Joining;
                self.faulted(at, fault, effects);
            }
            Event::Revoked => {
                let given_up = std::mem::take(&mut self.revoking);
                self.owned.retain(|owned| !given_up.contains(owned));
                // The one that gets them hears of it in the next generation.
                self.rejoins |= self.rules.cooperative;
            }
            Event::Located(Ok(())) => self.adopt(effects),
            Event::Told => {
                if matches!(self.phase, Phase::Assigned(_)) {
                    self.phase = Phase::Stable;
                }
            }
            Event::Left => {
                self.leaves = false;
                self.id.clear();
                self.generation = NO_GENERATION;
            }
            Event::Found(Err(fault)) | Event::Joined(Err(fault)) | Event::Located(Err(fault)) => {
                self.faulted(at, fault, effects);
            }
            Event::Looked | Event::Changed | Event::Close | Event::Beat(..) => {}
        }
    }

    fn beat(
        &mut self,
        at: Present,
        generation: i32,
        answer: Result<(), Fault>,
        effects: &mut Vec<Effect>,
    ) {
        self.beating = false;
        self.next_beat = at.now + self.rules.heartbeat_interval;
        let waits_for_others = matches!(self.step, Some(Step::Join | Step::Sync));
        let is_out = matches!(self.phase, Phase::Away | Phase::Ended);
        if waits_for_others && let Err(Fault::Moved(_)) = answer {
            // Nobody is there to answer what waits for the others.
            self.phase = Phase::Joining;
            self.coordinator = None;
            self.fail(at);
            return self.abandon(effects);
        }
        if generation != self.generation || waits_for_others || is_out {
            // What waits for the others hears itself how the member stands.
            return;
        }
        match answer {
            Ok(()) => self.failures = 0,
            Err(Fault::Rebalance) => self.rejoins = true,
            Err(Fault::Again(_)) => self.next_beat = at.retry_at,
            Err(fault) => self.faulted(at, fault, effects),
        }
    }

    fn heard(&mut self, at: Present) {
        self.failures = 0;
        self.next_beat = at.now + self.rules.heartbeat_interval;
    }

    fn fail(&mut self, at: Present) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = at.retry_at;
    }

    fn faulted(&mut self, at: Present, fault: Fault, effects: &mut Vec<Effect>) {
        self.fail(at);
        match fault {
            Fault::Moved(_) => self.coordinator = None,
            Fault::Again(_) | Fault::Rebalance => {}
            Fault::UnknownMember => {
                self.id.clear();
                self.thrown_out(effects);
            }
            Fault::TakeId(id) => {
                self.id = id;
                self.thrown_out(effects);
            }
            Fault::StaleGeneration => self.thrown_out(effects),
            Fault::Final(error) => {
                self.thrown_out(effects);
                self.error = Some(error);
                self.phase = Phase::Ended;
            }
        }
    }

    /// It is in no generation any more.
    fn thrown_out(&mut self, effects: &mut Vec<Effect>) {
        self.generation = NO_GENERATION;
        self.rejoins = false;
        self.phase = Phase::Joining;
        self.abandon(effects);
        if !self.owned.is_empty() {
            effects.push(Effect::Forget(self.owned.clone()));
            let owned = std::mem::take(&mut self.owned);
            let lost = owned.into_iter();
            self.lost
                .extend(lost.filter(|owned| !self.revoking.contains(owned)));
        }
    }

    /// Waits no longer for what others decide. What the listener is being told goes on.
    fn abandon(&mut self, effects: &mut Vec<Effect>) {
        if let Some(Step::Find | Step::Join | Step::Sync | Step::Locate) = self.step {
            self.step = None;
            effects.push(Effect::Abandon);
        }
    }

    fn act(&mut self, at: Present, effects: &mut Vec<Effect>) {
        self.give_up_waiting(at, effects);
        if self.step.is_none() {
            self.next_step(at, effects);
        }
        if self.can_beat() && !self.beating && at.now >= self.next_beat {
            self.beating = true;
            effects.push(Effect::Beat);
        }
    }

    /// Goes away when the application hasn't asked for too long.
    fn give_up_waiting(&mut self, at: Present, effects: &mut Vec<Effect>) {
        let in_time = at.now < at.asked_at + self.rules.poll_interval_max;
        if at.asking || in_time || !self.may_give_up_waiting() {
            return;
        }
        self.thrown_out(effects);
        self.phase = Phase::Away;
        self.leaves = true;
    }

    fn may_give_up_waiting(&self) -> bool {
        let told = matches!(self.step, Some(Step::Revoke | Step::Tell | Step::Leave));
        !told && !self.closing && !matches!(self.phase, Phase::Away | Phase::Ended)
    }

    /// In a generation it gives signs of life; while it waits for others it sees whether the
    /// coordinator gives any.
    fn can_beat(&self) -> bool {
        let beats = match self.step {
            Some(Step::Join | Step::Sync) => true,
            Some(Step::Find | Step::Leave) => false,
            _ => self.generation != NO_GENERATION,
        };
        let is_out = matches!(self.phase, Phase::Away | Phase::Ended);
        beats && self.coordinator.is_some() && !is_out
    }

    fn next_step(&mut self, at: Present, effects: &mut Vec<Effect>) {
        if !self.lost.is_empty() {
            let lost = std::mem::take(&mut self.lost);
            return self.take_step(Step::Tell, Effect::TellLost(lost), effects);
        }
        if self.phase == Phase::Ended {
            return;
        }
        if self.closing {
            return self.close(effects);
        }
        if self.phase == Phase::Away {
            if self.leaves && self.leave(effects) {
                return;
            }
            if !at.asking {
                return;
            }
            self.phase = Phase::Joining;
        }
        if at.now < self.not_before {
            return;
        }
        if self.coordinator.is_none() {
            return self.take_step(Step::Find, Effect::Find, effects);
        }
        if self.phase == Phase::Stable && self.rejoins {
            self.phase = Phase::Joining;
        }
        match &self.phase {
            Phase::Joining if !self.rules.cooperative && !self.owned.is_empty() => {
                let owned = self.owned.clone();
                self.revoke(at, owned, effects);
            }
            Phase::Joining => {
                self.next_beat = at.now + self.rules.heartbeat_interval;
                self.take_step(Step::Join, Effect::Join, effects);
            }
            Phase::Joined => self.take_step(Step::Sync, Effect::Sync, effects),
            Phase::Assigned(assigned) => {
                let gone: Partitions = self.owned.difference(assigned).cloned().collect();
                let new: Partitions = assigned.difference(&self.owned).cloned().collect();
                if !gone.is_empty() {
                    self.revoke(at, gone, effects);
                } else if new.is_empty() {
                    self.adopt(effects);
                } else {
                    self.take_step(Step::Locate, Effect::Locate(new), effects);
                }
            }
            Phase::Stable | Phase::Away | Phase::Ended => {}
        }
    }

    fn take_step(&mut self, step: Step, effect: Effect, effects: &mut Vec<Effect>) {
        self.step = Some(step);
        effects.push(effect);
    }

    fn revoke(&mut self, at: Present, partitions: Partitions, effects: &mut Vec<Effect>) {
        if at.asking || self.closing {
            self.revoking.clone_from(&partitions);
            self.take_step(Step::Revoke, Effect::Revoke(partitions), effects);
        }
    }

    fn adopt(&mut self, effects: &mut Vec<Effect>) {
        if let Phase::Assigned(assigned) = &self.phase {
            let new = assigned.difference(&self.owned).cloned().collect();
            self.owned.clone_from(assigned);
            self.take_step(Step::Tell, Effect::Adopt(new), effects);
        }
    }

    fn close(&mut self, effects: &mut Vec<Effect>) {
        if !self.owned.is_empty() {
            let owned = self.owned.clone();
            self.revoking.clone_from(&owned);
            return self.take_step(Step::Revoke, Effect::Revoke(owned), effects);
        }
        if !self.leave(effects) {
            self.phase = Phase::Ended;
        }
    }

    /// Whether there is somebody to say so to.
    fn leave(&mut self, effects: &mut Vec<Effect>) -> bool {
        let known = self.coordinator.is_some() && !self.id.is_empty();
        if !known || self.rules.is_static {
            return false;
        }
        self.take_step(Step::Leave, Effect::Leave, effects);
        true
    }
}

#[cfg(test)]
#[path = "member_tests.rs"]
mod tests;
