//! One partition: what may be appended, what is committed, who may read it, who waits for what.
//!
//! The caller holds this and the log's writer half under one lock and goes *plan → write → apply*:
//! [`Partition::plan_append`] decides and changes nothing, the log writes, [`Partition::step`] with
//! [`Event::Written`] applies. Everything else that happens comes in as an [`Event`], too; what is
//! to be done comes out as [`Effect`]s. The state is split by what has to hold: `offsets` (the
//! chain), `epochs`, `producers` (with the open transactions), `replicas`, and the two kinds of
//! waiters. [`Partition::assert_invariants`] runs after every step; if it panics, the caller marks
//! the partition failed with [`Event::DirectoryFailed`] and goes on living.

mod append;
mod epochs;
mod event;
mod fetch_waiters;
mod offsets;
mod producers;
mod read;
mod refused;
mod reject;
mod replicas;
mod settings;
mod step;
mod transactions;
mod waiters;

use millrace_protocol::producer::ProducerEntry;

pub use append::{Acks, Append, Duplicate, Origin, Plan, PlannedWrite};
pub use epochs::{EpochEnd, EpochStart};
pub use event::{AckOutcome, Effect, Event, Truncation};
pub use fetch_waiters::Bound;
pub use offsets::Bounds;
pub use producers::{BatchProducer, ProducerTable, RETRY_WINDOW_MS, ReplayedBatch};
pub use read::{FetchDecision, FetchPosition, ListBounds, Reader};
pub use reject::{ReadReject, Reject, Unserved};
pub use replicas::{AssignedReplica, IsrProposal, IsrRefusal, Leadership, Progress, ReplicaFetch};
pub use settings::{
    ACK_WAITERS_PER_PARTITION_MAX, Durability, FETCH_WAITERS_PER_PARTITION_MAX, ISR_RETRY_MS,
    PRODUCERS_PER_PARTITION_MAX, Settings,
};
pub use waiters::{Condition, Token};

use epochs::Epochs;
use fetch_waiters::FetchWaiters;
use offsets::Offsets;
use refused::RefusedFirsts;
use replicas::Replicas;
use waiters::AckWaiters;

use crate::Now;

/// What a log is after it was opened: the state everything begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// This broker's id.
    pub broker_id: i32,
    /// The topic's configuration.
    pub settings: Settings,
    /// The durability the log's bytes are written under.
    pub durability: Durability,
    /// First offset.
    pub log_start: i64,
    /// Offset after the last record.
    pub log_end: i64,
    /// Everything below is durable. Of an fsync topic recovery has made that all of it.
    pub flushed: i64,
    /// The last high watermark that was remembered; put inside its bounds here.
    pub high_watermark: i64,
    /// The log's cut count.
    pub cut_count: u32,
    /// Leader epochs, ascending.
    pub epochs: Vec<EpochStart>,
    /// A page-cache log that may have lost records: it leads in a new epoch only.
    pub may_have_lost: bool,
    /// Part of the log is damaged: what is intact is served, nothing is appended.
    pub read_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Opened, and not told yet who leads.
    Idle,
    Leader {
        epoch: i32,
    },
    Follower {
        leader: i32,
    },
    Failed,
    Deleted,
}

/// What has been asked of the flusher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct FlushState {
    /// A flush of everything below has been asked for.
    asked_upto: i64,
    /// `flush.messages` made everything below wait for a flush.
    messages_upto: i64,
    /// Since when something is unflushed, or the time of the last flush if that is later.
    unflushed_since_ns: Option<u64>,
}

/// The state of one partition on one broker. Pure: changed by [`Partition::step`] only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    role: Role,
    leader_epoch: i32,
    settings: Settings,
    durability: Durability,
    /// The high watermark when the durability changed: shown already, and so not taken back.
    shown_upto: i64,
    may_have_lost: bool,
    read_only: bool,
    cut_count: u32,
    offsets: Offsets,
    epochs: Epochs,
    producers: ProducerTable,
    replicas: Replicas,
    ack_waiters: AckWaiters,
    fetch_waiters: FetchWaiters,
    flush: FlushState,
    refused: RefusedFirsts,
}

impl Partition {
    /// A partition that was just opened; it serves once [`Event::BecomeLeader`] comes. `producers`
    /// is the state at the log's end.
    pub fn recovered(recovered: &Recovered, producers: ProducerTable) -> Self {
        let &Recovered {
            log_start,
            log_end,
            durability,
            settings,
            ..
        } = recovered;
        let flushed = recovered.flushed.min(log_end);
        let mut offsets = Offsets {
            log_start,
            high_watermark: log_start,
            flushed,
            written: log_end,
            log_end,
        };
        let countable = offsets.countable(durability);
        offsets.commit(recovered.high_watermark.min(countable));
        let mut partition = Self {
            role: Role::Idle,
            leader_epoch: -1,
            settings,
            durability,
            shown_upto: log_start,
            may_have_lost: recovered.may_have_lost,
            read_only: recovered.read_only,
            cut_count: recovered.cut_count,
            offsets,
            epochs: Epochs::recovered(&recovered.epochs),
            producers,
            replicas: Replicas::new(recovered.broker_id),
            ack_waiters: AckWaiters::default(),
            fetch_waiters: FetchWaiters::default(),
            flush: FlushState {
                asked_upto: flushed,
                messages_upto: 0,
                unflushed_since_ns: None,
            },
            refused: RefusedFirsts::default(),
        };
        partition.producers.plan_expiry(&partition.settings);
        partition
            .producers
            .committed(partition.offsets.high_watermark);
        partition.assert_invariants();
        partition
    }

    /// The leader epoch in force, -1 before the first.
    pub fn leader_epoch(&self) -> i32 {
        self.leader_epoch
    }

    /// Whether this replica leads and serves.
    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader { .. })
    }

    /// Whether the partition has failed and only says so.
    pub fn is_failed(&self) -> bool {
        self.role == Role::Failed
    }

    /// The leader's id as far as this replica knows.
    pub fn leader(&self) -> Option<i32> {
        match self.role {
            Role::Leader { .. } => Some(self.replicas.own_id()),
            Role::Follower { leader } => (leader >= 0).then_some(leader),
            Role::Idle | Role::Failed | Role::Deleted => None,
        }
    }

    /// The committed ISR, ascending; empty unless this replica leads.
    pub fn isr(&self) -> &[i32] {
        self.replicas.isr()
    }

    /// The leader epochs of the log and where they began, ascending.
    pub fn epochs(&self) -> &[EpochStart] {
        self.epochs.starts()
    }

    /// The durability the log's bytes are written under.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// The configuration in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Every producer, for a snapshot of the state before the record at the log end.
    pub fn producers_snapshot(&self, now: Now) -> Vec<ProducerEntry> {
        self.producers.snapshot(now)
    }

    /// Number of producers remembered.
    pub fn producers_len(&self) -> usize {
        self.producers.len()
    }

    /// Number of replies and of fetches that wait.
    pub fn waiters_len(&self) -> (usize, usize) {
        (self.ack_waiters.len(), self.fetch_waiters.len())
    }

    /// When [`Event::Deadline`] is due, in monotonic time; `None` when nothing is. May come earlier
    /// than there is something to do, never later.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        let acks = self.ack_waiters.due_ns();
        let producers = self.producers.expiry_due_ns();
        let due = [acks, producers, self.flush_due_ns(), self.replicas.due_ns()];
        due.into_iter().flatten().min()
    }

    /// When `flush.ms` wants a flush.
    fn flush_due_ns(&self) -> Option<u64> {
        if self.settings.flush_ms == u64::MAX || self.flush.asked_upto >= self.offsets.log_end {
            return None;
        }
        let flush_ns = self.settings.flush_ms.saturating_mul(crate::NS_PER_MS);
        self.flush
            .unflushed_since_ns
            .map(|since| since.saturating_add(flush_ns))
    }

    /// Panics when the state breaks a rule (design: the chain of offsets, epochs, the ISR, waiters
    /// that wait for what holds). The cheap rules are on in release, those that look at every
    /// producer and epoch in debug only.
    pub fn assert_invariants(&self) {
        let bounds = self.bounds();
        bounds.assert_chain(self.durability, self.shown_upto);
        self.ack_waiters.assert_waiting(&bounds);
        self.fetch_waiters.assert_waiting(&bounds);
        match self.role {
            Role::Leader { epoch } => {
                assert_eq!(
                    epoch, self.leader_epoch,
                    "the leader leads in another epoch"
                );
                let latest = self.epochs.latest().map(|latest| latest.epoch);
                assert_eq!(
                    latest,
                    Some(epoch),
                    "the leader's epoch is not the log's latest"
                );
                self.replicas.assert_leading();
            }
            Role::Idle | Role::Follower { .. } | Role::Failed | Role::Deleted => {
                assert_eq!(
                    self.waiters_len(),
                    (0, 0),
                    "somebody waits where nobody leads"
                );
            }
        }
        if cfg!(debug_assertions) {
            self.epochs.assert_sorted();
            self.producers.assert_invariants(self.offsets.log_end);
        }
    }
}
