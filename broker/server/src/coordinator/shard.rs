//! One shard: a state machine, the partition that keeps its records, and whoever waits for it.
//!
//! Lock order: shard, then partition. Nothing waits under the shard's lock; a commit is waited for by
//! one task, which releases what waited for it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_core::Now;
use millrace_core::group::{Text, Token};
use millrace_host::{Host, Mono, Pool};
use millrace_probe::{Branch, Bug, planted, reached};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::records::Scratch;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::active::{Active, Uncommitted};
use super::{Coordinate, load};
use crate::runtime::partition::{OpenPartition, next_token};

/// How long after an append that failed what is due is tried again.
const POSTPONED: Duration = Duration::from_secs(1);
/// How often a shard whose rules broke is loaded again; then it stays down until the next start.
const RELOADS_MAX: u32 = 1;

/// Why a shard can't be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// Its records are being read.
    Loading,
    /// Nobody has begun to.
    NotLoaded,
    /// A rule of its state was broken, more than once.
    Failed,
    /// The decision could not be written, with the code that says why.
    NotWritten(ErrorCode),
}

impl Unavailable {
    /// What a client is told.
    pub(crate) fn code(self) -> ErrorCode {
        match self {
            Self::Loading | Self::NotLoaded => ErrorCode::CoordinatorLoadInProgress,
            Self::Failed => ErrorCode::CoordinatorNotAvailable,
            Self::NotWritten(code) => code,
        }
    }
}

/// One shard.
pub(crate) struct Shard<C: Coordinate> {
    host: Host,
    name: String,
    state: Mutex<State<C>>,
    /// The next time that something is due has changed.
    rearmed: Notify,
    /// What all shards of the kind hold, in bytes.
    held: Arc<AtomicU64>,
    /// A load has ended.
    settled: Notify,
    stopping: CancellationToken,
}

impl<C: Coordinate> fmt::Debug for Shard<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

enum Phase<C: Coordinate> {
    NotLoaded,
    Loading,
    Active(Box<Active<C>>),
    Failed,
}

struct State<C: Coordinate> {
    phase: Phase<C>,
    reloads: u32,
    /// Which load is the present one: tasks of an earlier one end.
    life: u64,
}

/// Somebody who waits for an answer. Dropping it says that nobody does any more.
pub(crate) struct Asked<C: Coordinate> {
    shard: Arc<Shard<C>>,
    key: Text,
    token: Token,
    answer: oneshot::Receiver<C::Reply>,
    ended: bool,
}

impl<C: Coordinate> Asked<C> {
    /// The answer; `None` when the shard was dropped before.
    pub(crate) async fn answer(mut self) -> Option<C::Reply> {
        let answer = (&mut self.answer).await;
        self.ended = true;
        answer.ok()
    }
}

impl<C: Coordinate> Drop for Asked<C> {
    fn drop(&mut self) {
        if !self.ended {
            self.shard.forget(&self.key, self.token);
        }
    }
}

impl<C: Coordinate> Shard<C> {
    /// A shard that is not loaded yet; `name` is its partition's, for people.
    pub(crate) fn new(
        host: Host,
        name: String,
        held: Arc<AtomicU64>,
        stopping: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            host,
            name,
            held,
            state: Mutex::new(State {
                phase: Phase::NotLoaded,
                reloads: 0,
                life: 0,
            }),
            rearmed: Notify::new(),
            settled: Notify::new(),
            stopping,
        })
    }

    /// Begins to load, unless that is under way or done.
    pub(crate) fn begin_load(&self) -> Option<u64> {
        let mut state = self.lock();
        if !matches!(state.phase, Phase::NotLoaded) {
            return None;
        }
        state.phase = Phase::Loading;
        state.life += 1;
        Some(state.life)
    }

    /// Reads what `partition` holds and goes on from there.
    pub(crate) async fn load(
        self: &Arc<Self>,
        life: u64,
        partition: Arc<OpenPartition>,
        settings: C::Settings,
        (read_bytes, mut scratch): (usize, Scratch),
    ) -> Result<(), String> {
        let mut machine = C::empty();
        let bounds = partition.measure().map_err(|why| why.to_string())?;
        let upto = bounds.log_end;
        if bounds.high_watermark < upto {
            return Err("not all of it is committed yet".to_owned());
        }
        let (mut skipped, mut removals) = (0_u64, 0_u64);
        let take = |offset, key: &[u8], value: Option<&[u8]>| {
            if value.is_none() {
                removals += 1;
                if planted(Bug::GroupReplayDiffers) {
                    return Ok(());
                }
            }
            match C::decode(key, value)? {
                Some(record) => machine.replay(offset, &record),
                None => skipped += 1,
            }
            Ok(())
        };
        load::each_record(partition.reader(), upto, read_bytes, &mut scratch, take).await?;
        if skipped > 0 {
            tracing::warn!(
                partition = self.name,
                records = skipped,
                "records of kinds that this version doesn't know are passed over"
            );
        }
        if removals > 0 {
            reached(Branch::GroupRemovalsLoaded);
        }
        machine.committed(upto);
        machine.loaded(self.now());
        let mut state = self.lock();
        if state.life != life {
            return Ok(());
        }
        let active = Active::new(machine, settings, partition, upto, &self.held);
        state.phase = Phase::Active(Box::new(active));
        drop(state);
        self.settled.notify_waiters();
        let ticking = Arc::clone(self).tick(life);
        drop(
            self.host
                .spawn
                .spawn(Pool::Control, "coordinator timers", Box::pin(ticking)),
        );
        Ok(())
    }

    /// A load came to nothing: the next one who asks begins another.
    pub(crate) fn load_failed(&self, life: u64) {
        let mut state = self.lock();
        if state.life == life && matches!(state.phase, Phase::Loading) {
            state.phase = Phase::NotLoaded;
        }
        drop(state);
        self.settled.notify_waiters();
    }

    /// Waits for a load that is under way.
    pub(crate) async fn until_settled(&self) {
        loop {
            let settled = self.settled.notified();
            if !matches!(self.lock().phase, Phase::Loading) {
                return;
            }
            settled.await;
        }
    }

    /// Asks about `key`.
    pub(crate) fn ask(
        self: &Arc<Self>,
        key: &Text,
        request: C::Request,
    ) -> Result<Asked<C>, Unavailable> {
        let token = next_token();
        let (sender, answer) = oneshot::channel();
        self.happens(key, |active| {
            active.expect(token, sender);
            C::request(token, request)
        })
        .inspect_err(|_| self.unask(token))?;
        Ok(Asked {
            shard: Arc::clone(self),
            key: Arc::clone(key),
            token,
            answer,
            ended: false,
        })
    }

    /// Has something happen to `key` that nobody waits for.
    pub(crate) fn happen(self: &Arc<Self>, key: &Text, event: C::Event) -> Result<(), Unavailable> {
        self.happens(key, |_| event)
    }

    /// Whether it can be asked; an error says why not.
    pub(crate) fn check_loaded(&self) -> Result<(), Unavailable> {
        self.lock().active().map(drop)
    }

    /// Looks at the state machine. What is seen may not be committed yet.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&C) -> R) -> Result<R, Unavailable> {
        let mut state = self.lock();
        let active = state.active()?;
        Ok(look(active.machine()))
    }

    /// Looks at the state machine: what is seen may be told once the record at the offset beside it
    /// is committed, which sends `answer`. Under one lock, so that what is waited for is a commit of
    /// what was seen, of no later load.
    pub(crate) fn look_to_tell<R>(
        &self,
        look: impl FnOnce(&C) -> (R, i64),
        answer: C::Reply,
    ) -> Result<(R, oneshot::Receiver<C::Reply>), Unavailable> {
        let (sender, committed) = oneshot::channel();
        let token = next_token();
        let mut state = self.lock();
        let active = state.active()?;
        let (seen, offset) = look(active.machine());
        active.expect(token, sender);
        active.hold(vec![(token, answer)], offset);
        Ok((seen, committed))
    }

    fn unask(&self, token: Token) {
        if let Ok(active) = self.lock().active() {
            active.unask(token);
        }
    }

    fn forget(self: &Arc<Self>, key: &Text, token: Token) {
        self.unask(token);
        if let Err(why) = self.happen(key, C::gone(token)) {
            tracing::debug!(
                partition = self.name,
                ?why,
                "nobody is told that a client has gone"
            );
        }
    }

    fn happens(
        self: &Arc<Self>,
        key: &Text,
        event: impl FnOnce(&mut Active<C>) -> C::Event,
    ) -> Result<(), Unavailable> {
        let now = self.now();
        let mut state = self.lock();
        let active = state.active()?;
        let event = event(active);
        let due_before = active.machine().next_due_ns();
        let done = catch_unwind(AssertUnwindSafe(|| active.decide(now, key, event)));
        match done {
            Ok(Ok(())) => {
                let rearm = active.machine().next_due_ns() != due_before;
                self.watch_commits(&mut state);
                drop(state);
                if rearm {
                    self.rearmed.notify_one();
                }
                Ok(())
            }
            Ok(Err(why)) => {
                let reason = why.to_string();
                tracing::warn!(partition = self.name, reason, "a change can't be written");
                reached(Branch::GroupAppendRefused);
                if why.ends_the_load() {
                    reached(Branch::GroupsDropped);
                    // Whoever asks again loads it anew.
                    state.phase = Phase::NotLoaded;
                }
                Err(Unavailable::NotWritten(why.code()))
            }
            Err(_) => {
                self.broke(&mut state);
                Err(Unavailable::NotWritten(ErrorCode::NotCoordinator))
            }
        }
    }

    /// A rule was broken: the state can't be trusted, the records can.
    fn broke(&self, state: &mut State<C>) {
        state.reloads += 1;
        let stays_down = state.reloads > RELOADS_MAX;
        state.phase = if stays_down {
            Phase::Failed
        } else {
            Phase::NotLoaded
        };
        tracing::error!(
            partition = self.name,
            stays_down,
            "a rule of a coordinator's state was broken; it is loaded from its records again, or \
             stays down until the next start if that has happened before"
        );
    }

    /// Has a task wait for what is not committed, if none does.
    fn watch_commits(self: &Arc<Self>, state: &mut State<C>) {
        let life = state.life;
        let Phase::Active(active) = &mut state.phase else {
            return;
        };
        if !active.begin_watch() {
            return;
        }
        let watching = Arc::clone(self).follow_commits(life);
        drop(
            self.host
                .spawn
                .spawn(Pool::Data, "coordinator commits", Box::pin(watching)),
        );
    }

    async fn follow_commits(self: Arc<Self>, life: u64) {
        while let Some((upto, mut wait)) = self.newest_append(life) {
            let ended = wait.end().await;
            let mut state = self.lock();
            if state.life != life {
                return;
            }
            let Phase::Active(active) = &mut state.phase else {
                return;
            };
            if let Err(reject) = ended {
                reached(Branch::GroupCommitFailed);
                tracing::warn!(partition = self.name, %reject, "a commit failed; loading anew");
                state.phase = Phase::NotLoaded;
                return;
            }
            active.commit(upto);
        }
    }

    /// The append whose commit is waited for next; `None` when there is none, or nothing to wait.
    fn newest_append(&self, life: u64) -> Option<Uncommitted> {
        let mut state = self.lock();
        if state.life != life {
            return None;
        }
        let Phase::Active(active) = &mut state.phase else {
            return None;
        };
        active.next_uncommitted()
    }

    /// Does what is due, as long as this life lasts.
    async fn tick(self: Arc<Self>, life: u64) {
        let clock = Arc::clone(&self.host.clock);
        loop {
            let next = {
                let mut state = self.lock();
                if state.life != life {
                    // What woke it was meant for the present life's.
                    self.rearmed.notify_one();
                    return;
                }
                match state.active() {
                    Ok(active) => active.machine().next_due_ns(),
                    Err(_) => return,
                }
            };
            let due = async {
                match next {
                    Some(at_ns) => clock.sleep_until(Mono(at_ns)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                () = self.rearmed.notified() => {}
                () = due => self.do_due(),
            }
        }
    }

    fn do_due(self: &Arc<Self>) {
        let now = self.now();
        while let Some(key) = self.key_due(now) {
            if self.happen(&key, C::timer()).is_err() {
                let until_ns = now.after_ms(POSTPONED.as_millis() as u64);
                if let Ok(active) = self.lock().active() {
                    active.postpone(&key, until_ns);
                }
            }
        }
    }

    fn key_due(&self, now: Now) -> Option<Text> {
        let mut state = self.lock();
        state.active().ok()?.machine().due(now)
    }

    fn now(&self) -> Now {
        let now = self.host.clock.now();
        Now {
            mono_ns: now.mono.0,
            wall_ms: now.wall_ms,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        // A panic under the lock is caught before the guard goes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Coordinate> State<C> {
    fn active(&mut self) -> Result<&mut Active<C>, Unavailable> {
        match &mut self.phase {
            Phase::Active(active) => Ok(active),
            Phase::NotLoaded => Err(Unavailable::NotLoaded),
            Phase::Loading => Err(Unavailable::Loading),
            Phase::Failed => Err(Unavailable::Failed),
        }
    }
}
