//! One open partition: core's state and the log's writer half under one lock.
//!
//! What always holds: core decides, the log writes, core applies, all under one hold of the lock;
//! no read and no wait happens under it; what core wants done for others is done after it. A broken
//! invariant ends this partition and nothing else: it is marked failed, whoever waits is told, the
//! process lives.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use millrace_core::Now;
use millrace_core::partition::{
    AckOutcome, Acks, Append, BatchProducer, Condition, Effect, Event, FetchDecision,
    FetchPosition, Origin, Partition, Plan, ReadReject, Reject, Token, Unserved,
};
use millrace_host::Clock;
use millrace_log::dir::LogDir;
use millrace_log::mark::Incarnation;
use millrace_log::partition::{self as log, AppendError, LogReader, PartitionLog, Removal};
use millrace_log::sink::DurabilitySink;
use millrace_protocol::records::Produced;
use tokio::sync::oneshot;

use super::fetch_waiter::FetchWaiter;

/// Tokens of waiting replies and fetches; unique in the process.
static NEXT_TOKEN: AtomicU64 = AtomicU64::new(1);

/// A token that nobody else has.
pub(crate) fn next_token() -> Token {
    Token(NEXT_TOKEN.fetch_add(1, Ordering::Relaxed))
}

/// How a waiting reply ends.
pub(crate) type AckResult = Result<AckOutcome, Reject>;

/// Why a batch was not appended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// Core says no.
    #[error(transparent)]
    Reject(#[from] Reject),
    /// The log says no.
    #[error(transparent)]
    Log(#[from] AppendError),
}

impl From<Unserved> for Refused {
    fn from(unserved: Unserved) -> Self {
        Self::Reject(unserved.into())
    }
}

/// What became of an append.
#[derive(Debug)]
pub(crate) struct Appended {
    /// Offset of the first record.
    pub(crate) base_offset: i64,
    /// First offset of the log.
    pub(crate) log_start: i64,
    /// It had been appended before; this is the original's timestamp.
    pub(crate) duplicate_of_ms: Option<i64>,
    /// What the reply still waits for; `None` when its condition holds already.
    pub(crate) wait: Option<AckWait>,
}

/// A reply that waits. Dropping it ends the wait.
#[derive(Debug)]
pub(crate) struct AckWait {
    partition: Arc<OpenPartition>,
    token: Token,
    result: oneshot::Receiver<AckResult>,
    ended: bool,
}

impl AckWait {
    /// Waits for the condition. Cancel-safe.
    pub(crate) async fn end(&mut self) -> AckResult {
        let result = (&mut self.result).await;
        self.ended = true;
        // Nobody answers any more when the partition is gone.
        result.unwrap_or(Err(Reject::Unserved(Unserved::StorageFailed)))
    }
}

impl Drop for AckWait {
    fn drop(&mut self) {
        if !self.ended {
            self.partition.cancel_ack(self.token);
        }
    }
}

/// A fetch's place at one partition. Dropping it takes the place back.
#[derive(Debug)]
pub(crate) struct FetchPlace {
    partition: Arc<OpenPartition>,
    token: Token,
}

impl Drop for FetchPlace {
    fn drop(&mut self) {
        self.partition.cancel_fetch(self.token);
    }
}

/// One partition, open.
#[derive(Debug)]
pub(crate) struct OpenPartition {
    incarnation: Incarnation,
    topic: Arc<str>,
    clock: Arc<dyn Clock>,
    reader: Arc<LogReader>,
    dir: Arc<LogDir>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    core: Partition,
    log: PartitionLog,
    acks: BTreeMap<Token, oneshot::Sender<AckResult>>,
    fetches: BTreeMap<Token, (Weak<FetchWaiter>, u64)>,
    /// The state can't be trusted any more.
    broken: bool,
}

/// What is to be done for others once the lock is released.
#[derive(Default)]
struct Outgoing {
    acks: Vec<(oneshot::Sender<AckResult>, AckResult)>,
    fetches: Vec<(Weak<FetchWaiter>, u64)>,
    refused: Vec<(Weak<FetchWaiter>, u64)>,
}

impl OpenPartition {
    /// Joins core's state and the log that it was recovered from, in directory `dir`.
    pub(crate) fn new(
        topic: Arc<str>,
        clock: Arc<dyn Clock>,
        core: Partition,
        (dir, log): (Arc<LogDir>, PartitionLog),
    ) -> Self {
        Self {
            incarnation: log.incarnation(),
            topic,
            clock,
            reader: log.reader(),
            dir,
            state: Mutex::new(State {
                core,
                log,
                acks: BTreeMap::new(),
                fetches: BTreeMap::new(),
                broken: false,
            }),
        }
    }

    /// The reader half.
    pub(crate) fn reader(&self) -> &Arc<LogReader> {
        &self.reader
    }

    /// Which partition of which life of its topic.
    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Whether it lies in that directory.
    pub(crate) fn is_in(&self, dir: &Arc<LogDir>) -> bool {
        Arc::ptr_eq(&self.dir, dir)
    }

    /// Completes once the directory's unflushed bytes are under their limit
    /// (`log.unflushed.bytes.max`), or it has ended.
    pub(crate) async fn below_unflushed_limit(&self) {
        self.dir.below_unflushed_limit().await;
    }

    /// Plans, writes and applies one batch; see the module's words. `bytes` is the batch as it is
    /// to be stored, but for its first sixteen bytes.
    pub(crate) fn append(
        self: &Arc<Self>,
        bytes: &Bytes,
        produced: &Produced,
        acks: Acks,
    ) -> Result<Appended, Refused> {
        let header = &produced.header;
        let append = Append {
            leader_epoch: None,
            acks,
            producer: header.has_producer_id().then_some(BatchProducer {
                producer_id: header.producer_id,
                producer_epoch: header.producer_epoch,
                base_sequence: header.base_sequence,
            }),
            last_offset_delta: header.last_offset_delta,
            max_timestamp: produced.max_timestamp,
            transactional: header.is_transactional(),
            control: header.is_control(),
            origin: Origin::Client,
        };
        self.with(|state, now, effects| {
            let plan = state.core.plan_append(&append)?;
            if let Plan::Write(planned) = plan {
                let written = state.log.append(log::Append {
                    bytes,
                    header,
                    base_offset: planned.base_offset,
                    leader_epoch: planned.leader_epoch,
                    urgent: planned.urgent,
                    now_wall_ms: now.wall_ms,
                });
                match written {
                    Ok(written) => {
                        if written.snapshot_due {
                            let entries = state.core.producers_snapshot();
                            state.log.write_snapshot(planned.base_offset, &entries);
                        }
                        state.core.step(now, Event::Written(planned), effects);
                    }
                    Err(error) => {
                        state.core.step(now, Event::WriteFailed(planned), effects);
                        if matches!(error, AppendError::Failed(_)) {
                            state.core.step(now, Event::DirectoryFailed, effects);
                        }
                        return Err(error.into());
                    }
                }
            }
            let duplicate_of_ms = match plan {
                Plan::Duplicate(duplicate) => Some(duplicate.timestamp_ms),
                Plan::Write(_) => None,
            };
            Ok(Appended {
                base_offset: plan.base_offset(),
                log_start: state.core.bounds().log_start,
                duplicate_of_ms,
                wait: self.await_ack(state, now, plan.condition(), effects),
            })
        })?
    }

    fn await_ack(
        self: &Arc<Self>,
        state: &mut State,
        now: Now,
        condition: Condition,
        effects: &mut Vec<Effect>,
    ) -> Option<AckWait> {
        if condition == Condition::Written {
            return None;
        }
        let token = next_token();
        let (sender, result) = oneshot::channel();
        state.acks.insert(token, sender);
        // The reply has its own deadline, and cancels.
        let wait = Event::AwaitAck {
            token,
            condition,
            deadline_ns: u64::MAX,
        };
        state.core.step(now, wait, effects);
        Some(AckWait {
            partition: Arc::clone(self),
            token,
            result,
            ended: false,
        })
    }

    fn cancel_ack(&self, token: Token) {
        // A partition that is broken has no waiters to forget.
        self.with(|state, now, effects| {
            if state.acks.remove(&token).is_some() {
                state.core.step(now, Event::CancelAck { token }, effects);
            }
        })
        .ok();
    }

    fn cancel_fetch(&self, token: Token) {
        self.with(|state, now, effects| {
            if state.fetches.remove(&token).is_some() {
                state.core.step(now, Event::CancelFetch { token }, effects);
            }
        })
        .ok();
    }

    /// Decides a fetch. When there is nothing to read the fetch takes a place (again): it is pushed
    /// once there is.
    pub(crate) fn check_fetch(
        self: &Arc<Self>,
        position: &FetchPosition,
        waiter: &Arc<FetchWaiter>,
        slot: u64,
        place: &mut Option<FetchPlace>,
    ) -> Result<FetchDecision, ReadReject> {
        self.give_up_elsewhere(place);
        self.with(|state, now, effects| {
            let decision = state.core.check_fetch(position)?;
            if let FetchDecision::Read { upto, .. } = decision
                && upto <= position.fetch_offset
            {
                let from = position.fetch_offset;
                let ask = (position, from, slot);
                let event = self.take_place(state, ask, waiter, place);
                state.core.step(now, event, effects);
            }
            Ok(decision)
        })?
    }

    /// Takes a place for a fetch that has something but wants more: it is pushed once there is
    /// anything at or past `from`.
    pub(crate) fn watch(
        self: &Arc<Self>,
        position: &FetchPosition,
        from: i64,
        waiter: &Arc<FetchWaiter>,
        slot: u64,
        place: &mut Option<FetchPlace>,
    ) {
        self.give_up_elsewhere(place);
        self.with(|state, now, effects| {
            if state.core.is_leader() {
                let ask = (position, from, slot);
                let event = self.take_place(state, ask, waiter, place);
                state.core.step(now, event, effects);
            }
        })
        .ok();
    }

    /// Gives up a place at an earlier life of the partition: before this one's lock is taken, so
    /// that no two are held.
    fn give_up_elsewhere(self: &Arc<Self>, place: &mut Option<FetchPlace>) {
        if place
            .as_ref()
            .is_some_and(|place| !Arc::ptr_eq(&place.partition, self))
        {
            *place = None;
        }
    }

    /// Takes a place for `waiter` at `from_offset`; gives the event that tells core.
    fn take_place(
        self: &Arc<Self>,
        state: &mut State,
        (position, from_offset, slot): (&FetchPosition, i64, u64),
        waiter: &Arc<FetchWaiter>,
        place: &mut Option<FetchPlace>,
    ) -> Event {
        let token = place
            .get_or_insert_with(|| FetchPlace {
                partition: Arc::clone(self),
                token: next_token(),
            })
            .token;
        state.fetches.insert(token, (Arc::downgrade(waiter), slot));
        Event::AwaitFetch {
            token,
            from_offset,
            bound: position.reader.bound(),
        }
    }

    /// Moves the log start as the topic's retention says: announced, durable, then shown. Gives the
    /// files that go.
    pub(crate) async fn retain(
        &self,
        now: millrace_host::Now,
        by_time: bool,
    ) -> Result<Option<Removal>, millrace_log::error::Error> {
        let announced = self.with(|state, _, _| {
            let high_watermark = state.core.bounds().high_watermark;
            let to = state.log.retention_due(now, high_watermark, by_time)?;
            Some((to, state.log.advance_log_start(to)))
        });
        // A partition that is broken keeps what it has.
        let Ok(Some((to, durable))) = announced else {
            return Ok(None);
        };
        durable?.await?;
        let removal = self.with(|state, now, effects| {
            state
                .core
                .step(now, Event::LogStartAdvanced { log_start: to }, effects);
            state.log.finish_log_start(to)
        });
        Ok(removal.ok())
    }

    /// Gives core an event.
    pub(crate) fn step(&self, event: Event) -> Result<(), Unserved> {
        self.with(|state, now, effects| state.core.step(now, event, effects))
    }

    /// Looks at core's state.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Partition) -> R) -> Result<R, Unserved> {
        self.with(|state, _, _| look(&state.core))
    }

    /// Ends the partition's log: everything is synced and its clean end marked. The partition takes
    /// nothing more.
    pub(crate) fn close(&self) -> Option<millrace_log::flusher::Durable> {
        let closing = self.with(|state, now, effects| {
            let entries = state.core.producers_snapshot();
            let end = state.log.log_end();
            state.log.write_snapshot(end, &entries);
            state
                .log
                .set_high_watermark(state.core.bounds().high_watermark);
            let closing = state.log.close();
            state.core.step(now, Event::DirectoryFailed, effects);
            closing
        });
        closing.ok()
    }

    /// Deletes the partition: it serves nothing any more; its names are gone when the future ends.
    pub(crate) fn remove(&self) -> millrace_log::flusher::Durable {
        let mut guard = self.lock();
        let (now, state) = (self.now(), &mut *guard);
        let mut effects = Vec::new();
        if !state.broken {
            state.core.step(now, Event::Deleted, &mut effects);
        }
        let removal = state.log.remove();
        let outgoing = self.under_lock(state, effects);
        drop(guard);
        outgoing.send();
        removal
    }

    /// The one way to the state. A panic inside, which is a broken invariant, ends the partition.
    fn with<R>(
        &self,
        work: impl FnOnce(&mut State, Now, &mut Vec<Effect>) -> R,
    ) -> Result<R, Unserved> {
        let now = self.now();
        let mut effects = Vec::new();
        let mut guard = self.lock();
        if guard.broken {
            return Err(Unserved::StorageFailed);
        }
        let worked = catch_unwind(AssertUnwindSafe(|| {
            let result = work(&mut guard, now, &mut effects);
            let outgoing = self.under_lock(&mut guard, std::mem::take(&mut effects));
            (result, outgoing)
        }));
        if let Ok((result, outgoing)) = worked {
            drop(guard);
            outgoing.send();
            return Ok(result);
        }
        let outgoing = guard.give_up();
        drop(guard);
        outgoing.send();
        tracing::error!(
            partition = %format_args!("{}-{}", self.topic, self.incarnation.partition),
            "a rule of the partition's state was broken; it is offline until the next start"
        );
        Err(Unserved::StorageFailed)
    }

    /// What has to happen under the lock happens; the rest is taken out.
    fn under_lock(&self, state: &mut State, effects: Vec<Effect>) -> Outgoing {
        let mut outgoing = Outgoing::default();
        for effect in effects {
            match effect {
                Effect::AckReady { token, result } => {
                    if let Some(sender) = state.acks.remove(&token) {
                        outgoing.acks.push((sender, result));
                    }
                }
                Effect::WakeFetch { token } => {
                    if let Some(fetch) = state.fetches.remove(&token) {
                        outgoing.fetches.push(fetch);
                    }
                }
                Effect::FetchRefused { token } => {
                    if let Some(fetch) = state.fetches.remove(&token) {
                        outgoing.refused.push(fetch);
                    }
                }
                Effect::FlushNow => state.log.flush_now(),
                Effect::EpochStarted {
                    leader_epoch,
                    start_offset,
                } => {
                    state.log.begin_epoch(leader_epoch, start_offset);
                }
                Effect::ProposeIsr(_) | Effect::NeedsNewEpoch { .. } => {
                    // One node: the ISR is this replica, and the registry asks for the new epoch.
                    tracing::debug!(topic = %self.topic, ?effect, "left to the controller");
                }
            }
        }
        outgoing
    }

    fn now(&self) -> Now {
        let now = self.clock.now();
        Now {
            mono_ns: now.mono.0,
            wall_ms: now.wall_ms,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is caught before the guard goes: `broken` says what to think.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn give_up(&mut self) -> Outgoing {
        self.broken = true;
        let failed = || Err(Reject::Unserved(Unserved::StorageFailed));
        Outgoing {
            acks: std::mem::take(&mut self.acks)
                .into_values()
                .map(|s| (s, failed()))
                .collect(),
            fetches: std::mem::take(&mut self.fetches).into_values().collect(),
            refused: Vec::new(),
        }
    }
}

impl Outgoing {
    fn send(self) {
        for (sender, result) in self.acks {
            // Whoever no longer waits needs no answer.
            sender.send(result).ok();
        }
        for (waiter, slot) in self.fetches {
            if let Some(waiter) = waiter.upgrade() {
                waiter.push(slot);
            }
        }
        for (waiter, slot) in self.refused {
            if let Some(waiter) = waiter.upgrade() {
                waiter.refuse(slot);
            }
        }
    }
}

/// Completions of the flusher, passed on to a partition that is still there.
#[derive(Debug, Default)]
pub(crate) struct PartitionSink {
    partition: std::sync::OnceLock<Weak<OpenPartition>>,
}

impl PartitionSink {
    /// From now on completions go to `partition`. What came before is in its recovered state.
    pub(crate) fn attach(&self, partition: &Arc<OpenPartition>) {
        // Attached once, by whoever opened it.
        self.partition.set(Arc::downgrade(partition)).ok();
    }

    fn step(&self, event: Event) {
        if let Some(partition) = self.partition.get().and_then(Weak::upgrade) {
            // A partition that is broken has told everyone already.
            partition.step(event).ok();
        }
    }
}

impl DurabilitySink for PartitionSink {
    fn flushed(&self, upto: i64, cut_count: u32) {
        self.step(Event::Flushed { upto, cut_count });
    }

    fn directory_failed(&self, _reason: &str) {
        self.step(Event::DirectoryFailed);
    }
}
