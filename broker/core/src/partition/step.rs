//! Applying what happened: the one place where a partition changes.
//!
//! Always: after a change of any offset the watermark is worked out again, then whoever waited for
//! it is let go; a partition that has failed or was deleted changes no more.

use millrace_probe::{Bug, planted};

use super::append::PlannedWrite;
use super::event::{AckOutcome, Effect, Event, Truncation};
use super::fetch_waiters::Bound;
use super::producers::BatchProducer;
use super::reject::{Reject, Unserved};
use super::replicas::{Leadership, Progress, ReplicaFetch};
use super::settings::{Durability, Settings};
use super::waiters::{Condition, Token};
use super::{Partition, Role};
use crate::Now;

impl Partition {
    /// Applies one event; what is to be done is pushed to `out`. Panics when an invariant breaks.
    pub fn step(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        if matches!(self.role, Role::Failed | Role::Deleted) {
            self.step_ended(&event, out);
            return;
        }
        match event {
            Event::Written(plan) => self.written(now, &plan, out),
            Event::WriteFailed(plan) => self.write_failed(now, &plan),
            Event::NoRoom(producer) => self.not_taken(producer),
            Event::Flushed { upto, cut_count } => self.flushed(now, upto, cut_count, out),
            Event::BecomeLeader(leadership) => self.become_leader(now, &leadership, out),
            Event::BecomeFollower {
                leader_epoch,
                leader,
            } => {
                self.become_follower(leader_epoch, leader, out);
            }
            Event::ReplicaFetched(fetch) => self.replica_fetched(now, &fetch, out),
            Event::ReplicaChanged(replica) => self.replicas.changed(replica),
            Event::IsrCommitted {
                isr,
                partition_epoch,
            } => {
                self.isr_committed(&isr, partition_epoch, out);
            }
            Event::IsrRefused(refusal) => {
                self.replicas.refused(now, refusal);
                self.advance(out);
            }
            Event::AwaitAck {
                token,
                condition,
                deadline_ns,
            } => {
                self.await_ack(now, token, condition, deadline_ns, out);
            }
            Event::CancelAck { token } => self.ack_waiters.cancel(token),
            Event::AwaitFetch {
                token,
                from_offset,
                bound,
            } => {
                self.await_fetch(token, from_offset, bound, out);
            }
            Event::CancelFetch { token } => self.fetch_waiters.cancel(token),
            Event::LogStartAdvanced { log_start } => self.log_start_advanced(log_start, out),
            Event::Truncated(truncation) => self.truncated(*truncation),
            Event::SettingsChanged(settings) => self.settings_changed(settings, out),
            Event::DurabilityChanged(durability) => self.durability_changed(durability, out),
            Event::Deadline => self.deadline(now, out),
            Event::DirectoryFailed => self.end(Role::Failed, Unserved::StorageFailed, out),
            Event::Deleted => self.end(Role::Deleted, Unserved::Deleted, out),
        }
        self.assert_invariants();
    }

    /// Who still asks is told; a failed partition can be deleted; nothing else happens any more.
    fn step_ended(&mut self, event: &Event, out: &mut Vec<Effect>) {
        match *event {
            Event::AwaitAck { token, .. } => {
                let why = self.leading().err().unwrap_or(Unserved::StorageFailed);
                out.push(Effect::AckReady {
                    token,
                    result: Err(why.into()),
                });
            }
            Event::AwaitFetch { token, .. } => out.push(Effect::WakeFetch { token }),
            Event::Deleted => self.role = Role::Deleted,
            Event::Written(_)
            | Event::WriteFailed(_)
            | Event::NoRoom(_)
            | Event::Flushed { .. }
            | Event::BecomeLeader(_)
            | Event::BecomeFollower { .. }
            | Event::ReplicaFetched(_)
            | Event::ReplicaChanged(_)
            | Event::IsrCommitted { .. }
            | Event::IsrRefused(_)
            | Event::CancelAck { .. }
            | Event::CancelFetch { .. }
            | Event::LogStartAdvanced { .. }
            | Event::Truncated(_)
            | Event::SettingsChanged(_)
            | Event::DurabilityChanged(_)
            | Event::Deadline
            | Event::DirectoryFailed => {}
        }
    }

    fn write_failed(&mut self, now: Now, plan: &PlannedWrite) {
        if let Some(update) = &plan.producer {
            if planted(Bug::SequenceAdvancedOnFailedWrite) {
                self.producers.apply(now, update, &self.settings);
            }
            self.not_taken(BatchProducer {
                producer_id: update.producer_id,
                producer_epoch: update.producer_epoch,
                base_sequence: update.batch.first_sequence,
            });
        }
    }

    /// A producer that isn't known has to send this batch again before anything behind it.
    fn not_taken(&mut self, producer: BatchProducer) {
        if !self.producers.knows(producer.producer_id) {
            self.refused.note(producer);
        }
    }

    fn written(&mut self, now: Now, plan: &PlannedWrite, out: &mut Vec<Effect>) {
        assert_eq!(
            self.role,
            Role::Leader {
                epoch: plan.leader_epoch
            },
            "written by no leader"
        );
        assert_eq!(
            plan.base_offset, self.offsets.log_end,
            "the plan is not for this log end"
        );
        let log_end = plan.last_offset + 1;
        self.offsets.appended(log_end);
        self.refused.taken(plan);
        if let Some(update) = &plan.producer {
            self.producers.apply(now, update, &self.settings);
        }
        if plan.urgent {
            self.flush.asked_upto = log_end;
        }
        if plan.flush_messages_due {
            self.flush.messages_upto = log_end;
        }
        self.flush.unflushed_since_ns.get_or_insert(now.mono_ns);
        self.advance(out);
    }

    fn flushed(&mut self, now: Now, upto: i64, cut_count: u32, out: &mut Vec<Effect>) {
        if cut_count != self.cut_count || !self.offsets.flush(upto) {
            return;
        }
        let all = self.offsets.flushed == self.offsets.log_end;
        self.flush.unflushed_since_ns = (!all).then_some(now.mono_ns);
        self.advance(out);
    }

    fn become_leader(&mut self, now: Now, leadership: &Leadership, out: &mut Vec<Effect>) {
        let epoch = leadership.leader_epoch;
        let same = self.role == Role::Leader { epoch };
        let stale = leadership.partition_epoch < self.replicas.partition_epoch();
        if epoch < self.leader_epoch || same && stale {
            return;
        }
        if let Some(latest) = self.epochs.latest()
            && (epoch < latest.epoch || epoch == latest.epoch && self.may_have_lost)
        {
            out.push(Effect::NeedsNewEpoch {
                leader_epoch: latest.epoch,
            });
            return;
        }
        self.may_have_lost = false;
        self.role = Role::Leader { epoch };
        self.leader_epoch = epoch;
        let start_offset = self.offsets.log_end;
        if self.epochs.assign(epoch, start_offset) {
            out.push(Effect::EpochStarted {
                leader_epoch: epoch,
                start_offset,
            });
        }
        if !same {
            self.wake_all_fetches(out);
        }
        self.replicas
            .lead(now, leadership, !same, self.own_progress());
        self.refuse_if_isr_too_small(out);
        self.advance(out);
    }

    fn become_follower(&mut self, leader_epoch: i32, leader: i32, out: &mut Vec<Effect>) {
        if leader_epoch < self.leader_epoch {
            return;
        }
        self.role = Role::Follower { leader };
        self.leader_epoch = leader_epoch;
        self.replicas.resign();
        self.end_waits(Unserved::NotLeader, out);
    }

    fn replica_fetched(&mut self, now: Now, fetch: &ReplicaFetch, out: &mut Vec<Effect>) {
        let Role::Leader { epoch } = self.role else {
            return;
        };
        if fetch.leader_epoch != epoch {
            return;
        }
        self.replicas.fetched(now, fetch, self.offsets.log_end);
        let epoch_start = self.epochs.start_of(epoch).unwrap_or(self.offsets.log_end);
        let high_watermark = self.offsets.high_watermark;
        let proposal = self
            .replicas
            .expand(high_watermark, epoch_start, self.durability, epoch);
        out.extend(proposal.map(Effect::ProposeIsr));
        self.advance(out);
    }

    fn isr_committed(&mut self, isr: &[i32], partition_epoch: i32, out: &mut Vec<Effect>) {
        // Without this broker in it, it announces a leader change that comes with the image.
        if !self.is_leader() || !isr.contains(&self.replicas.own_id()) {
            return;
        }
        if self.replicas.committed(isr, partition_epoch) {
            self.refuse_if_isr_too_small(out);
            self.advance(out);
        }
    }

    fn await_ack(
        &mut self,
        now: Now,
        token: Token,
        condition: Condition,
        deadline_ns: u64,
        out: &mut Vec<Effect>,
    ) {
        let bounds = self.bounds();
        let result = if let Err(unserved) = self.leading() {
            Err(unserved.into())
        } else if condition.is_met(&bounds) {
            Ok(AckOutcome {
                log_start: bounds.log_start,
            })
        } else if condition.waits_for_commit(&bounds) && !self.replicas.has_min_isr(&self.settings)
        {
            Err(Reject::NotEnoughReplicasAfterAppend)
        } else if deadline_ns <= now.mono_ns
            || self.ack_waiters.len() >= self.settings.ack_waiters_max
        {
            Err(Reject::TimedOut)
        } else {
            self.ack_waiters
                .push(&bounds, condition, token, deadline_ns);
            if let Some(upto) = condition.flush_upto(self.durability == Durability::Fsync) {
                self.ask_flush(upto, out);
            }
            return;
        };
        out.push(Effect::AckReady { token, result });
    }

    fn await_fetch(&mut self, token: Token, from_offset: i64, bound: Bound, out: &mut Vec<Effect>) {
        self.fetch_waiters.cancel(token);
        let bounds = self.bounds();
        let there = bound.of(&bounds) > from_offset || from_offset < bounds.log_start;
        // It waits at the new place only, if at all.
        self.fetch_waiters.cancel(token);
        if there || !self.is_leader() {
            out.push(Effect::WakeFetch { token });
        } else if self.fetch_waiters.len() < self.settings.fetch_waiters_max {
            self.fetch_waiters.push(token, from_offset, bound);
            let shown_by_flush = self.durability == Durability::Fsync && bound != Bound::LogEnd;
            if shown_by_flush && from_offset < bounds.log_end {
                self.ask_flush(bounds.log_end, out);
            }
        } else {
            out.push(Effect::FetchRefused { token });
        }
    }

    /// Somebody waits for everything below `upto` to be durable.
    fn ask_flush(&mut self, upto: i64, out: &mut Vec<Effect>) {
        if upto > self.flush.asked_upto && upto > self.offsets.flushed {
            self.flush.asked_upto = self.offsets.log_end;
            out.push(Effect::FlushNow);
        }
    }

    fn log_start_advanced(&mut self, log_start: i64, out: &mut Vec<Effect>) {
        let high_watermark = self.offsets.high_watermark;
        assert!(
            log_start <= high_watermark,
            "the log start {log_start} passes the high watermark {high_watermark}"
        );
        if log_start > self.offsets.log_start {
            self.offsets.log_start = log_start;
            self.epochs.truncate_from_start(log_start);
            self.advance(out);
        }
    }

    fn truncated(&mut self, truncation: Truncation) {
        assert!(!self.is_leader(), "a leader's log is never cut");
        let Truncation {
            log_end,
            flushed,
            cut_count,
            producers,
        } = truncation;
        assert!(
            self.offsets.log_start <= log_end && log_end <= self.offsets.log_end,
            "a cut to {log_end} outside {:?}",
            self.offsets
        );
        self.cut_count = cut_count;
        self.offsets.log_end = log_end;
        self.offsets.written = log_end;
        self.offsets.flushed = flushed.min(log_end);
        let countable = self.offsets.countable(self.durability);
        self.offsets.high_watermark = self.offsets.high_watermark.min(countable);
        self.epochs.truncate_from_end(log_end);
        self.producers = producers;
        self.producers.plan_expiry(&self.settings);
        self.flush.asked_upto = self.flush.asked_upto.min(log_end);
        self.flush.messages_upto = self.flush.messages_upto.min(log_end);
    }

    fn settings_changed(&mut self, settings: Settings, out: &mut Vec<Effect>) {
        self.settings = settings;
        self.producers.plan_expiry(&self.settings);
        if self.is_leader() {
            self.refuse_if_isr_too_small(out);
            self.advance(out);
        }
    }

    fn durability_changed(&mut self, durability: Durability, out: &mut Vec<Effect>) {
        if durability == self.durability {
            return;
        }
        self.durability = durability;
        // The page cache may have let it pass what is durable: it stays until that has caught up.
        self.shown_upto = self.offsets.high_watermark;
        if durability == Durability::Fsync {
            self.ask_flush(self.offsets.log_end, out);
        }
        self.advance(out);
    }

    fn deadline(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.ack_waiters.expire(now.mono_ns, |token| {
            out.push(Effect::AckReady {
                token,
                result: Err(Reject::TimedOut),
            });
        });
        self.producers.expire(now, &self.settings);
        if self.flush_due_ns().is_some_and(|due| due <= now.mono_ns) {
            self.ask_flush(self.offsets.log_end, out);
        }
        if let Role::Leader { epoch } = self.role {
            let log_end = self.offsets.log_end;
            let shrink = self.replicas.shrink(now, log_end, &self.settings, epoch);
            let retry = self.replicas.retry(now, epoch);
            out.extend(shrink.into_iter().chain(retry).map(Effect::ProposeIsr));
        }
    }

    fn own_progress(&self) -> Progress {
        Progress {
            log_end: self.offsets.log_end,
            flushed: self.offsets.flushed,
        }
    }

    /// Works the watermark out again and lets go whoever waited for what holds now.
    fn advance(&mut self, out: &mut Vec<Effect>) {
        if !self.is_leader() {
            return;
        }
        self.replicas.advance_own(self.own_progress());
        let upto = self
            .replicas
            .committed_upto(self.durability, &self.settings);
        if let Some(upto) = upto
            && self.offsets.commit(upto)
        {
            self.producers.committed(self.offsets.high_watermark);
        }
        let bounds = self.bounds();
        let outcome = AckOutcome {
            log_start: bounds.log_start,
        };
        self.ack_waiters.met(&bounds, |token| {
            out.push(Effect::AckReady {
                token,
                result: Ok(outcome),
            });
        });
        self.fetch_waiters
            .wake(&bounds, |token| out.push(Effect::WakeFetch { token }));
    }

    /// Replies that wait for a commit end when the ISR is too small to commit anything.
    fn refuse_if_isr_too_small(&mut self, out: &mut Vec<Effect>) {
        if !self.replicas.has_min_isr(&self.settings) {
            let result = Err(Reject::NotEnoughReplicasAfterAppend);
            self.ack_waiters
                .drain_commit(|token| out.push(Effect::AckReady { token, result }));
        }
    }

    fn wake_all_fetches(&mut self, out: &mut Vec<Effect>) {
        self.fetch_waiters
            .drain(|token| out.push(Effect::WakeFetch { token }));
    }

    fn end_waits(&mut self, why: Unserved, out: &mut Vec<Effect>) {
        let result = Err(why.into());
        self.ack_waiters
            .drain(|token| out.push(Effect::AckReady { token, result }));
        self.wake_all_fetches(out);
    }

    fn end(&mut self, role: Role, why: Unserved, out: &mut Vec<Effect>) {
        self.role = role;
        self.replicas.resign();
        self.end_waits(why, out);
    }
}
