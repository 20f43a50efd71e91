//! What happens to a partition, and what it wants done.
//!
//! Always: an event says what must be durable *before* it is given to `step`; an effect says what
//! must be durable before it is acted on. What an effect asks for is done after the lock is released,
//! but for [`Effect::EpochStarted`], which the log records under it.

use super::append::PlannedWrite;
use super::fetch_waiters::Bound;
use super::producers::{BatchProducer, ProducerTable};
use super::reject::Reject;
use super::replicas::{AssignedReplica, IsrProposal, IsrRefusal, Leadership, ReplicaFetch};
use super::settings::{Durability, Settings};
use super::waiters::{Condition, Token};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The log took the batch that was planned: it is in the page cache. Nothing is durable yet.
    Written(PlannedWrite),
    /// The log did not take it and ends where it did before. If it could not be cut back,
    /// [`Event::DirectoryFailed`] follows. The producer will send it again: until then nothing of
    /// that producer that comes behind it is taken.
    WriteFailed(PlannedWrite),
    /// A batch of that producer was refused with [`Reject::TooManyProducers`]. As after a write that
    /// failed, nothing of it that comes behind is taken before.
    NoRoom(BatchProducer),
    /// Everything below `upto` is on stable storage here, in the segment or in the journal.
    Flushed {
        /// The end of the contiguous durable prefix.
        upto: i64,
        /// The log's cut count when those bytes were staged; from before a cut it counts for
        /// nothing.
        cut_count: u32,
    },
    /// The image says that this broker leads, or that replicas or ISR changed while it does. The
    /// image that says so is committed.
    BecomeLeader(Leadership),
    /// The image says that another broker leads, or nobody (`leader` -1).
    BecomeFollower {
        /// The leader epoch.
        leader_epoch: i32,
        /// The leader's id.
        leader: i32,
    },
    /// A follower asked for records in a fetch that `check_fetch` let pass.
    ReplicaFetched(ReplicaFetch),
    /// A follower's broker was registered anew, fenced, unfenced or is stopping.
    ReplicaChanged(AssignedReplica),
    /// The controller committed an ISR, ours or its own.
    IsrCommitted {
        /// The ISR.
        isr: Vec<i32>,
        /// The partition epoch it came with.
        partition_epoch: i32,
    },
    /// The controller did not take the proposed ISR.
    IsrRefused(IsrRefusal),
    /// A reply waits. Ends in exactly one [`Effect::AckReady`], unless cancelled.
    AwaitAck {
        /// Names the reply.
        token: Token,
        /// What it waits for.
        condition: Condition,
        /// Monotonic time after which it waits no longer.
        deadline_ns: u64,
    },
    /// Nobody waits for that reply any more.
    CancelAck {
        /// Names the reply.
        token: Token,
    },
    /// A fetch found nothing and waits. Ends in at most one [`Effect::WakeFetch`], or at once in
    /// [`Effect::FetchRefused`] if too many wait already.
    AwaitFetch {
        /// Names the fetch; one that waits here already waits at the new place only.
        token: Token,
        /// The offset it wants to read.
        from_offset: i64,
        /// The bound that has to pass that offset.
        bound: Bound,
    },
    /// That fetch is over.
    CancelFetch {
        /// Names the fetch.
        token: Token,
    },
    /// The log start moved, by retention or by `plan_delete_records`. Its mark is durable: nobody
    /// is shown a log start that could come back.
    LogStartAdvanced {
        /// The new first offset; at most the high watermark.
        log_start: i64,
    },
    /// A follower's log was cut: intent, change and *done* are durable, the producers were rebuilt.
    Truncated(Box<Truncation>),
    /// The configuration changed.
    SettingsChanged(Settings),
    /// The log's bytes are written under another durability from now on, and its mark is durable.
    /// To fsync, so is everything that was written before.
    DurabilityChanged(Durability),
    /// Time has passed; due at `next_deadline_ns`.
    Deadline,
    /// The log directory takes no more writes, or the partition's state can't be trusted. Ends
    /// everything that waits; nothing that isn't durable yet ever will be.
    DirectoryFailed,
    /// The image no longer has the partition.
    Deleted,
}

/// What a cut left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truncation {
    /// The log's new end.
    pub log_end: i64,
    /// What is durable of it.
    pub flushed: i64,
    /// The log's new cut count.
    pub cut_count: u32,
    /// The producers as of the new end.
    pub producers: ProducerTable,
}

/// What a reply may say once its condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckOutcome {
    /// First offset of the log at that time.
    pub log_start: i64,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send the reply. Everything its condition asked for is durable already.
    AckReady {
        /// Names the reply.
        token: Token,
        /// Success, or why not.
        result: Result<AckOutcome, Reject>,
    },
    /// Look again for that fetch: there is something to read, or something has changed for it.
    WakeFetch {
        /// Names the fetch.
        token: Token,
    },
    /// There is no place for that fetch to wait: it must be answered with what there is.
    FetchRefused {
        /// Names the fetch.
        token: Token,
    },
    /// Somebody waits for bytes that nobody has asked to flush yet: commit now, without lag.
    FlushNow,
    /// Send `AlterPartition`. The leader's own records need not be durable for it.
    ProposeIsr(IsrProposal),
    /// A leader epoch begins. The log records it under the lock, before the first append in it, so
    /// that its mark is durable no later than the first such record.
    EpochStarted {
        /// The leader epoch.
        leader_epoch: i32,
        /// Its first offset.
        start_offset: i64,
    },
    /// Records may have been lost in this replica (page cache, power cut): it does not lead in this
    /// epoch, whose records others may have seen. Have the controller begin a new one.
    NeedsNewEpoch {
        /// The epoch that will not do.
        leader_epoch: i32,
    },
}
