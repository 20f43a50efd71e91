//! Deciding an append: the first step of *plan → write → apply*.
//!
//! Always: [`Partition::plan_append`] changes nothing. A plan is good until the next `step`: plan,
//! write and apply happen under one hold of the partition's lock.

use millrace_probe::{Bug, planted};
use millrace_protocol::producer::ProducerBatch;

use super::producers::{BatchProducer, ProducerUpdate, Room, Verdict, sequence_after};
use super::reject::{Reject, Unserved};
use super::settings::Durability;
use super::waiters::Condition;
use super::{Partition, Role};
use crate::Now;

/// Which promise the producer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// 0: no reply.
    None,
    /// 1: written by the leader.
    Leader,
    /// -1: on every in-sync replica, at least the minimum of them.
    All,
}

/// Who made the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client's Produce request.
    Client,
    /// This broker (coordinators, cluster metadata): the sequence rules do not apply.
    Broker,
}

/// A batch that asks to be appended, by what its validated header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Append {
    /// The leader epoch the sender counts on; `None` when it does not care (Produce).
    pub leader_epoch: Option<i32>,
    /// The promise asked for.
    pub acks: Acks,
    /// The idempotent producer; `None` for producer id -1.
    pub producer: Option<BatchProducer>,
    /// Offset of the last record minus that of the first, at least 0.
    pub last_offset_delta: i32,
    /// Largest timestamp, milliseconds since the Unix epoch.
    pub max_timestamp: i64,
    /// Attribute bit 4.
    pub transactional: bool,
    /// Attribute bit 5.
    pub control: bool,
    /// Who made it.
    pub origin: Origin,
    /// The broker remembers as many producers as it may: one more here takes the place of another,
    /// or is refused.
    pub crowded: bool,
}

/// What to do with an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Write it, then `step` with `Written` or `WriteFailed`, then wait for its condition.
    Write(PlannedWrite),
    /// It is in the log already: write nothing, wait for the condition, answer with the original.
    Duplicate(Duplicate),
}

/// A batch to write. Nothing has to be durable before the write begins but the mark of a cut that
/// went before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedWrite {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Offset of the last record.
    pub last_offset: i64,
    /// The leader epoch to store in the batch.
    pub leader_epoch: i32,
    /// What has to hold before the reply leaves.
    pub condition: Condition,
    /// Whether a reply or a reader waits for the flush; otherwise the ordinary lag will do.
    pub urgent: bool,
    pub(super) producer: Option<ProducerUpdate>,
    pub(super) flush_messages_due: bool,
}

/// A batch that was appended before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// Offset the first record has.
    pub base_offset: i64,
    /// Offset the last record has.
    pub last_offset: i64,
    /// Largest timestamp of the original, milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// What has to hold before the reply leaves: what its original waits for, never less.
    pub condition: Condition,
}

impl Plan {
    /// What has to hold before the reply leaves; hand it to `AwaitAck`.
    pub fn condition(&self) -> Condition {
        match self {
            Self::Write(write) => write.condition,
            Self::Duplicate(duplicate) => duplicate.condition,
        }
    }

    /// The offset to answer with.
    pub fn base_offset(&self) -> i64 {
        match self {
            Self::Write(write) => write.base_offset,
            Self::Duplicate(duplicate) => duplicate.base_offset,
        }
    }
}

impl Partition {
    /// Decides whether and where a batch is appended. Checks in Kafka's order: leader, ISR, batch,
    /// producer. Changes nothing. After [`Reject::TooManyProducers`] give [`Event::NoRoom`] to
    /// `step`.
    ///
    /// [`Event::NoRoom`]: super::Event::NoRoom
    pub fn plan_append(&self, now: Now, append: &Append) -> Result<Plan, Reject> {
        let leader_epoch = self.leading()?;
        if let Some(asked) = append.leader_epoch {
            self.check_epoch(asked)?;
        }
        if self.read_only {
            return Err(Unserved::StorageFailed.into());
        }
        if append.acks == Acks::All && !self.replicas.has_min_isr(&self.settings) {
            return Err(Reject::NotEnoughReplicas {
                isr: self.replicas.isr().len(),
                min: self.replicas.min_isr(&self.settings),
            });
        }
        check_batch(append)?;
        let base_offset = self.offsets.log_end;
        let last_offset = base_offset
            .checked_add(i64::from(append.last_offset_delta))
            .filter(|last| *last < i64::MAX)
            .ok_or(Reject::InvalidRecord("the partition's offsets are used up"))?;
        let producer = match self.judge(now, append, last_offset)? {
            Judged::Fresh(update) => update,
            Judged::Duplicate(batch) => return Ok(Plan::Duplicate(self.again(append.acks, batch))),
        };
        let flush_messages_due = self.flush_messages_due(last_offset);
        let condition = condition(append.acks, last_offset, flush_messages_due);
        Ok(Plan::Write(PlannedWrite {
            base_offset,
            last_offset,
            leader_epoch,
            condition,
            urgent: self.is_urgent(condition, last_offset),
            producer,
            flush_messages_due,
        }))
    }

    fn judge(&self, now: Now, append: &Append, last_offset: i64) -> Result<Judged, Reject> {
        let Some(producer) = append.producer else {
            return Ok(Judged::Fresh(None));
        };
        let last_sequence = sequence_after(producer.base_sequence, append.last_offset_delta);
        let client = append.origin == Origin::Client;
        if client && !self.producers.knows(producer.producer_id) {
            self.refused.check(producer)?;
        }
        let room = Room {
            now,
            settings: &self.settings,
            crowded: append.crowded,
        };
        match self
            .producers
            .judge(producer, last_sequence, client, room)?
        {
            Verdict::Duplicate(batch) => Ok(Judged::Duplicate(batch)),
            Verdict::Fresh { forget } => Ok(Judged::Fresh(Some(ProducerUpdate {
                producer_id: producer.producer_id,
                producer_epoch: producer.producer_epoch,
                batch: ProducerBatch {
                    first_sequence: producer.base_sequence,
                    last_sequence,
                    last_offset,
                    offset_delta: append.last_offset_delta,
                    timestamp_ms: append.max_timestamp,
                },
                forget,
            }))),
        }
    }

    /// The answer to a batch that is in the log. Where `flush.messages` made the original wait for
    /// a flush, its duplicate waits too.
    fn again(&self, acks: Acks, batch: ProducerBatch) -> Duplicate {
        let flush_due = batch.last_offset < self.flush.messages_upto;
        Duplicate {
            base_offset: batch.base_offset(),
            last_offset: batch.last_offset,
            timestamp_ms: batch.timestamp_ms,
            condition: if planted(Bug::DuplicateAckedAtOnce) {
                Condition::Written
            } else {
                condition(acks, batch.last_offset, flush_due)
            },
        }
    }

    /// Whether the append that ends with `last_offset` reaches `flush.messages` offsets since the
    /// last flush that was asked for.
    fn flush_messages_due(&self, last_offset: i64) -> bool {
        let since = self.offsets.flushed.max(self.flush.asked_upto);
        u64::try_from(last_offset + 1 - since)
            .is_ok_and(|count| count >= self.settings.flush_messages)
    }

    fn is_urgent(&self, condition: Condition, last_offset: i64) -> bool {
        let fsync = self.durability == Durability::Fsync;
        condition.flush_upto(fsync).is_some()
            || fsync && self.fetch_waiters.consumer_waits_below(last_offset + 1)
    }

    /// The leader epoch, if this replica leads and serves.
    pub(super) fn leading(&self) -> Result<i32, Unserved> {
        match self.role {
            Role::Leader { epoch } => Ok(epoch),
            Role::Follower { .. } | Role::Idle => Err(Unserved::NotLeader),
            Role::Failed => Err(Unserved::StorageFailed),
            Role::Deleted => Err(Unserved::Deleted),
        }
    }

    /// Compares the leader epoch a sender named (-1: none) with this replica's.
    pub(super) fn check_epoch(&self, asked: i32) -> Result<(), Unserved> {
        let current = self.leader_epoch();
        if asked == -1 || asked == current {
            Ok(())
        } else if asked < current {
            Err(Unserved::FencedLeaderEpoch { asked, current })
        } else {
            Err(Unserved::UnknownLeaderEpoch { asked, current })
        }
    }
}

enum Judged {
    Fresh(Option<ProducerUpdate>),
    Duplicate(ProducerBatch),
}

/// What no leader may take, whatever its state.
fn check_batch(append: &Append) -> Result<(), Reject> {
    if append.last_offset_delta < 0 {
        return Err(Reject::InvalidRecord(
            "a batch without records cannot be appended",
        ));
    }
    if append.control {
        return Err(Reject::InvalidRecord(
            "control batches are written by brokers only",
        ));
    }
    if append.transactional {
        let producer_id = append.producer.map_or(-1, |producer| producer.producer_id);
        return Err(Reject::InvalidTxnState { producer_id });
    }
    let negative = |producer: BatchProducer| {
        producer.producer_id < 0 || producer.producer_epoch < 0 || producer.base_sequence < 0
    };
    if append.producer.is_some_and(negative) {
        return Err(Reject::InvalidRecord(
            "producer id, producer epoch and sequence must not be negative",
        ));
    }
    Ok(())
}

/// What the reply waits for.
fn condition(acks: Acks, last_offset: i64, flush_due: bool) -> Condition {
    let next = last_offset + 1;
    match (acks, flush_due) {
        (Acks::None | Acks::Leader, false) => Condition::Written,
        (Acks::None | Acks::Leader, true) => Condition::Flushed(next),
        (Acks::All, false) => Condition::HighWatermark(next),
        (Acks::All, true) => Condition::FlushedHighWatermark(next),
    }
}
