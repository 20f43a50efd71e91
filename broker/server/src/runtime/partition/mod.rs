//! One open partition: core's state and the log's writer half under one lock.
//!
//! What always holds: core decides, the log writes, core applies, all under one hold of the lock;
//! no read and no wait happens under it; what core wants done for others is done after it. A broken
//! invariant ends this partition and nothing else: it is marked failed, whoever waits is told, the
//! process lives.

mod append;
mod cleaning;
mod configure;
mod fetch;
mod log_start;
#[cfg(test)]
mod log_start_tests;
mod moving;
mod plan;
mod shown;
mod sink;
mod traffic;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
// The next token is the process's, not a partition's: no model chooses its schedule.
use std::sync::atomic::{AtomicU64, Ordering};

use millrace_core::Now;
use millrace_core::partition::{Effect, Event, Partition, Reject, Token, Unserved};
use millrace_host::sync::{Arc, ArcSwap, Mutex, MutexGuard, PoisonError, Weak};
use millrace_host::{Changing, Clock};
use millrace_log::dir::LogDir;
use millrace_log::mark::Incarnation;
use millrace_log::partition::{LogReader, PartitionLog};
use millrace_protocol::producer::ProducerEntry;
use tokio::sync::oneshot;

use super::fetch_waiter::FetchWaiter;
use super::producer_count::{ProducerCount, Share};
use super::schedule::{NEVER, Schedule};
pub(crate) use append::{AckResult, AckWait, Appended, Refused};
pub(crate) use cleaning::Found;
pub(crate) use configure::Configuration;
pub(crate) use fetch::FetchPlace;
pub(crate) use log_start::{Deleted, NotDeleted};
pub(crate) use moving::Held;
use shown::LastShown;
pub(crate) use shown::Shown;
pub(crate) use sink::PartitionSink;
pub(crate) use traffic::{Sums, Traffic};

/// Tokens of waiting replies and fetches; unique in the process.
static NEXT_TOKEN: AtomicU64 = AtomicU64::new(1);

/// A token that nobody else has.
pub(crate) fn next_token() -> Token {
    Token(NEXT_TOKEN.fetch_add(1, Ordering::Relaxed))
}

/// One partition, open.
#[derive(Debug)]
pub(crate) struct OpenPartition {
    incarnation: Incarnation,
    topic: Arc<str>,
    clock: Arc<dyn Clock>,
    reader: Arc<LogReader>,
    /// Where it lies; a move changes it.
    dir: ArcSwap<LogDir>,
    state: Mutex<State>,
    /// Appends are held, as the state says: whoever appends waits here.
    held: Changing<bool>,
    traffic: Traffic,
    shown: LastShown,
    schedule: Arc<Schedule>,
    /// Held by whoever moves the log start, across waits.
    moving_start: Arc<tokio::sync::Mutex<()>>,
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each read by itself"
)]
#[derive(Debug)]
struct State {
    core: Partition,
    log: PartitionLog,
    acks: BTreeMap<Token, oneshot::Sender<AckResult>>,
    fetches: BTreeMap<Token, (Weak<FetchWaiter>, u64)>,
    /// How many producers it remembers, as the broker counts them.
    producers: Share,
    /// The configuration that it goes by, by the offset of its newest record.
    config_version: i64,
    /// A change of durability is under way, or may not begin now.
    switching: bool,
    /// Nothing is appended for now: the log's end moves to another directory.
    held: bool,
    /// When the schedule lets core see the time; [`NEVER`] for not at all.
    seen_at_ns: u64,
    /// The next check of retention will look at it.
    to_check: bool,
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
        (count, schedule): (&Arc<ProducerCount>, &Arc<Schedule>),
    ) -> Self {
        let producers = Share::new(Arc::clone(count), core.producers_len());
        Self {
            incarnation: log.incarnation(),
            topic,
            clock,
            reader: log.reader(),
            dir: ArcSwap::new(dir),
            held: Changing::new(false),
            state: Mutex::new(State {
                core,
                log,
                acks: BTreeMap::new(),
                fetches: BTreeMap::new(),
                producers,
                config_version: i64::MIN,
                switching: false,
                held: false,
                seen_at_ns: NEVER,
                to_check: false,
                broken: false,
            }),
            traffic: Traffic::default(),
            shown: LastShown::new(),
            schedule: Arc::clone(schedule),
            moving_start: Arc::default(),
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

    /// The topic's name.
    pub(crate) fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// What went in and out.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Its offsets, and the bytes of its segments, as they were when somebody touched it last.
    pub(crate) fn measure(&self) -> Result<Shown, Unserved> {
        if let Some(shown) = self.shown.get() {
            return Ok(shown);
        }
        let guard = self.lock();
        if guard.broken {
            return Err(Unserved::StorageFailed);
        }
        let bounds = guard.core.bounds();
        let shown = Shown {
            log_start: bounds.log_start,
            high_watermark: bounds.high_watermark,
            log_end: bounds.log_end,
            log_bytes: guard.log.size_bytes(),
        };
        self.shown.keep(shown);
        Ok(shown)
    }

    /// Whether it lies in that directory.
    pub(crate) fn is_in(&self, dir: &Arc<LogDir>) -> bool {
        Arc::ptr_eq(&self.dir.load_full(), dir)
    }

    /// Completes once the directory's unflushed bytes are under their limit
    /// (`log.unflushed.bytes.max`), or it has ended.
    pub(crate) async fn below_unflushed_limit(&self) {
        self.dir.load_full().below_unflushed_limit().await;
    }

    /// Gives core an event.
    pub(crate) fn step(&self, event: Event) -> Result<(), Unserved> {
        self.with(|state, now, effects| state.core.step(now, event, effects))
    }

    /// Looks at core's state.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Partition) -> R) -> Result<R, Unserved> {
        self.with(|state, _, _| look(&state.core))
    }

    /// Bytes of its segments.
    pub(crate) fn size_bytes(&self) -> Result<u64, Unserved> {
        self.with(|state, _, _| state.log.size_bytes())
    }

    /// What it remembers of producers.
    pub(crate) fn producers(&self) -> Result<Vec<ProducerEntry>, Unserved> {
        self.with(|state, now, _| state.core.producers_snapshot(now))
    }

    /// Ends the partition's log: everything is synced and its clean end marked. The partition takes
    /// nothing more.
    pub(crate) fn close(&self) -> Option<millrace_log::flusher::Durable> {
        let closing = self.with(|state, now, effects| {
            if !state.log.is_closed() {
                let entries = state.core.producers_snapshot(now);
                let end = state.log.log_end();
                state.log.write_snapshot(end, &entries);
                state
                    .log
                    .set_high_watermark(state.core.bounds().high_watermark);
            }
            let closing = state.log.close();
            state.core.step(now, Event::DirectoryFailed, effects);
            closing
        });
        closing.ok()
    }

    /// Deletes the partition: it serves nothing any more; its names are gone when the future ends.
    pub(crate) fn remove(&self) -> millrace_log::flusher::Durable {
        let mut guard = self.lock();
        self.shown.touch();
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
        self.shown.touch();
        if guard.broken {
            return Err(Unserved::StorageFailed);
        }
        let worked = catch_unwind(AssertUnwindSafe(|| {
            let result = work(&mut guard, now, &mut effects);
            let remembered = guard.core.producers_len();
            guard.producers.set(remembered);
            self.plan_deadline(&mut guard);
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
