//! Compaction of this node's logs: which log is next, how many at once, how fast, and what could
//! not be compacted.
//!
//! What always holds: so many rounds run at once as `log.cleaner.threads` says, none of two on one
//! partition; each takes its part of `log.cleaner.dedupe.buffer.size` while it runs and nothing
//! before; a partition with a batch that can't be read is told of once, shown, and tried again
//! after `log.cleaner.retry.ms`, and keeps nobody waiting; a topic that is removed, and a node that
//! stops, end their rounds at the next chunk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use millrace_config::CleanerConfig;
use millrace_core::compaction::{Cleanable, LogFacts, Policy, SegmentFacts, cleanable, dirtiest};
use millrace_host::{Changing, Mono, Pool};
use millrace_log::mark::Incarnation;
use millrace_log::partition::{CleanError, SegmentView};
use millrace_protocol::ids::TopicId;
use tokio_util::sync::CancellationToken;

use super::cleaning_round::{Done, Round};
use super::partition::OpenPartition;
use crate::context::Node;

/// How soon after one look the next one may come, however short `log.cleaner.backoff.ms` is.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// How long a log that changed under a round, or for which there was no room, is left alone.
const REST: Duration = Duration::from_secs(15);
/// How long the looks rest behind a partition that they had to open.
const OPEN_EVERY: Duration = Duration::from_millis(1);

/// A round that runs.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) incarnation: Incarnation,
    pub(super) cancelled: CancellationToken,
}

/// A partition that is left alone for now.
#[derive(Clone, Copy, Debug)]
struct Left {
    /// Since when.
    since: Mono,
    /// A batch of it can't be read: its bytes that are dirty.
    uncleanable_bytes: Option<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// The node ends.
    is_over: bool,
    running: BTreeMap<Incarnation, Arc<Job>>,
    left: BTreeMap<Incarnation, Left>,
    /// Rounds that have ended.
    ended: u64,
    /// Bytes read and written beyond what the limit on all rounds allowed by then.
    debt: f64,
    paid_at: Mono,
}

/// What rounds came to since the start.
#[derive(Debug, Default)]
pub(super) struct Figures {
    rounds: AtomicU64,
    failed: AtomicU64,
    /// Bytes read and written.
    moved: AtomicU64,
    /// Bytes of the segments that were replaced, and of those in their place.
    before: AtomicU64,
    after: AtomicU64,
    /// How full the last map of keys was, in percent.
    map_percent: AtomicI64,
    /// The largest dirty share at the last look, in percent.
    dirty_percent: AtomicI64,
    /// When a look was last taken, in monotonic ns; 0 for never.
    looked_at: AtomicU64,
    /// Bytes that maps of keys take now.
    pub(super) map_bytes: AtomicI64,
}

/// The figures at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) rounds: u64,
    pub(crate) failed: u64,
    pub(crate) moved: u64,
    pub(crate) before: u64,
    pub(crate) after: u64,
    pub(crate) running: u64,
    pub(crate) map_percent: i64,
    pub(crate) map_bytes: i64,
    pub(crate) dirty_percent: i64,
    /// Seconds since a look was last taken; -1 when none was.
    pub(crate) since_look: i64,
    pub(crate) uncleanable: u64,
    pub(crate) uncleanable_bytes: u64,
}

/// All rounds of a node.
#[derive(Debug)]
pub(crate) struct Cleaner {
    state: Changing<State>,
    pub(super) figures: Figures,
}

impl Cleaner {
    /// None runs yet.
    pub(super) fn new() -> Self {
        Self {
            state: Changing::new(State::default()),
            figures: Figures::default(),
        }
    }

    /// Ends the rounds on a topic, or all of them and for good: those that run will end soon.
    pub(super) fn cancel(&self, topic: Option<TopicId>) {
        self.state.modify(|state| {
            state.is_over |= topic.is_none();
            state.left.retain(|at, _| !is_of(at, topic));
            for job in state.running.values() {
                if is_of(&job.incarnation, topic) {
                    job.cancelled.cancel();
                }
            }
        });
    }

    /// Completes once no round runs on the topic, or none at all.
    pub(super) async fn until_none(&self, topic: Option<TopicId>) {
        let none = |state: &State| {
            let mut running = state.running.keys();
            (!running.any(|at| is_of(at, topic))).then_some(())
        };
        self.state.wait_for(none).await;
    }

    /// A round begins, unless there are `at_once` or one on this partition.
    fn begin(&self, incarnation: Incarnation, at_once: usize) -> Option<Arc<Job>> {
        self.state.modify(|state| {
            let full = state.is_over || state.running.len() >= at_once;
            if full || state.running.contains_key(&incarnation) {
                return None;
            }
            let job = Arc::new(Job {
                incarnation,
                cancelled: CancellationToken::new(),
            });
            state.running.insert(incarnation, Arc::clone(&job));
            Some(job)
        })
    }

    /// A round has ended; `left` when the partition is to be left alone.
    fn end(&self, incarnation: Incarnation, left: Option<Left>) {
        self.state.modify(|state| {
            state.running.remove(&incarnation);
            state.ended += 1;
            match left {
                Some(left) if !state.is_over => state.left.insert(incarnation, left),
                Some(_) | None => state.left.remove(&incarnation),
            };
        });
    }

    /// Whether a round on the partition may begin at `now`.
    fn may_begin(&self, incarnation: &Incarnation, retry_after: Duration, now: Mono) -> bool {
        self.state.look(|state| {
            let rests = state.left.get(incarnation).is_some_and(|left| {
                let rest = left.uncleanable_bytes.map_or(REST, |_| retry_after);
                now.since(left.since) < rest
            });
            !rests && !state.running.contains_key(incarnation)
        })
    }

    /// Whether `at_once` rounds run, or the node ends.
    fn is_full(&self, at_once: usize) -> bool {
        self.state
            .look(|state| state.is_over || state.running.len() >= at_once)
    }

    /// Bytes were read or written: what is owed for them is waited for by [`Self::pause`].
    pub(super) fn moved(&self, bytes: u64) {
        self.figures.moved.fetch_add(bytes, Ordering::Relaxed);
        self.state.modify(|state| state.debt += bytes as f64);
    }

    /// How long to wait before more is read or written: all rounds together may move so many bytes
    /// in a second.
    pub(super) fn pause(&self, now: Mono, per_second: f64) -> Duration {
        self.state.modify(|state| {
            let paid = now.since(state.paid_at).as_secs_f64() * per_second;
            state.debt = (state.debt - paid).max(0.0);
            state.paid_at = now;
            // A millisecond's worth may be ahead, so that no wait is shorter than that.
            let seconds = state.debt / per_second;
            if seconds < 0.001 {
                return Duration::ZERO;
            }
            Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
        })
    }

    /// The figures as they stand.
    pub(crate) fn counted(&self, now: Mono) -> Counted {
        let get = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let figures = &self.figures;
        let looked_at = get(&figures.looked_at);
        let since_look = now.since(Mono(looked_at)).as_secs();
        let (running, uncleanable, uncleanable_bytes) = self.state.look(|state| {
            let bytes = state.left.values();
            let bytes: Vec<u64> = bytes.filter_map(|left| left.uncleanable_bytes).collect();
            (state.running.len(), bytes.len(), bytes.iter().sum())
        });
        Counted {
            rounds: get(&figures.rounds),
            failed: get(&figures.failed),
            moved: get(&figures.moved),
            before: get(&figures.before),
            after: get(&figures.after),
            running: running as u64,
            map_percent: figures.map_percent.load(Ordering::Relaxed),
            map_bytes: figures.map_bytes.load(Ordering::Relaxed),
            dirty_percent: figures.dirty_percent.load(Ordering::Relaxed),
            since_look: if looked_at == 0 {
                -1
            } else {
                i64::try_from(since_look).unwrap_or(i64::MAX)
            },
            uncleanable: uncleanable as u64,
            uncleanable_bytes,
        }
    }
}

fn is_of(incarnation: &Incarnation, topic: Option<TopicId>) -> bool {
    topic.is_none_or(|topic| topic.to_bytes() == incarnation.topic_id)
}

/// Looks for logs to compact until the node stops.
pub(super) async fn run(node: &Arc<Node>) {
    let cleaner = node.partitions.cleaner();
    let mut compacted = Compacted::default();
    loop {
        let config = node.live_config();
        let threads = config.cleaner.threads as usize;
        let ended = cleaner.state.look(|state| state.ended);
        if config.cleaner.enabled && !cleaner.is_full(threads) {
            compacted.follow(node);
            look(node, &compacted, &config.cleaner).await;
        }
        let next = node.host.clock.now().mono + config.cleaner.backoff.max(LOOK_EVERY);
        let one_ended = |state: &State| (state.ended != ended).then_some(());
        tokio::select! {
            biased;
            () = node.stopping.cancelled() => return,
            () = cleaner.state.wait_for(one_ended) => {}
            () = node.host.clock.sleep_until(next) => {}
        }
    }
}

/// The topics that are compacted, as the image says that they were found in.
#[derive(Debug, Default)]
struct Compacted {
    at: Option<i64>,
    partitions: Vec<(TopicId, i32)>,
}

impl Compacted {
    /// Costs nothing while the metadata stay as they are.
    fn follow(&mut self, node: &Node) {
        let image = node.cluster.image();
        if self.at == Some(image.offset()) {
            return;
        }
        self.at = Some(image.offset());
        self.partitions.clear();
        for topic in image.topics_by_name() {
            let config = node.partitions.topic_config(&image, topic);
            if config.is_some_and(|config| config.cleanup.compact) {
                let partitions = topic.partitions.keys();
                self.partitions
                    .extend(partitions.map(|partition| (topic.id, *partition)));
            }
        }
    }
}

/// A partition that may be compacted.
struct Candidate {
    open: Arc<OpenPartition>,
    cleanable: Cleanable,
    policy: Policy,
}

/// Looks at every compacted partition, and begins rounds on the dirtiest of those that are due.
async fn look(node: &Arc<Node>, compacted: &Compacted, config: &CleanerConfig) {
    let cleaner = node.partitions.cleaner();
    let mut candidates = Vec::new();
    let mut dirtiest_percent = 0.0_f64;
    for (topic, partition) in &compacted.partitions {
        if node.stopping.is_cancelled() {
            return;
        }
        if let Some(candidate) = candidate(node, *topic, *partition, config).await {
            dirtiest_percent = dirtiest_percent.max(candidate.cleanable.ratio() * 100.0);
            candidates.push(candidate);
        }
    }
    let figures = &cleaner.figures;
    figures
        .dirty_percent
        .store(dirtiest_percent as i64, Ordering::Relaxed);
    let now = node.host.clock.now().mono;
    figures.looked_at.store(now.0.max(1), Ordering::Relaxed);
    loop {
        let all = candidates.iter().map(|one| (&one.cleanable, &one.policy));
        let Some(at) = dirtiest(all) else { return };
        let next = candidates.swap_remove(at);
        let incarnation = next.open.incarnation();
        let Some(job) = cleaner.begin(incarnation, config.threads as usize) else {
            return;
        };
        let (node, dirty) = (Arc::clone(node), next.cleanable.dirty_bytes);
        let spawn = Arc::clone(&node.host.spawn);
        let round = async move { run_round(&node, next.open, &job, dirty).await };
        drop(spawn.spawn(Pool::Data, "log compaction", Box::pin(round)));
    }
}

/// What there is to do in one partition; `None` where nothing can be begun.
async fn candidate(
    node: &Arc<Node>,
    topic: TopicId,
    partition: i32,
    config: &CleanerConfig,
) -> Option<Candidate> {
    let incarnation = Incarnation {
        topic_id: topic.to_bytes(),
        partition,
    };
    let now = node.host.clock.now();
    let cleaner = node.partitions.cleaner();
    if !cleaner.may_begin(&incarnation, config.retry_after, now.mono) {
        return None;
    }
    let image = node.cluster.image();
    let topic = image.topic(topic)?;
    let policy = policy(node, topic)?;
    let open = match node.partitions.opened(&incarnation) {
        Some(open) => open,
        // Nobody asked for it since the start; what lies there is compacted nevertheless.
        None if node.partitions.was_written(topic, partition) => {
            let open = node.partitions.get(topic, partition).await.ok()?;
            let clock = &node.host.clock;
            clock.sleep_until(clock.now().mono + OPEN_EVERY).await;
            open
        }
        None => return None,
    };
    let reader = open.reader();
    let measured = async {
        if policy.min_lag_ms > 0 {
            reader.measure().await?;
        }
        if policy.max_lag_ms < i64::MAX as u64 {
            reader.measure_first(0).await?;
        }
        Ok::<_, millrace_log::error::Error>(())
    };
    measured.await.ok()?;
    let found = open.look_to_clean().ok()?;
    let cleanable = todo(&found.log, found.stable_end, &policy, now.wall_ms);
    Some(Candidate {
        open,
        cleanable,
        policy,
    })
}

/// A topic's policy; `None` when it is not compacted any more.
pub(super) fn policy(node: &Node, topic: &millrace_core::cluster::Topic) -> Option<Policy> {
    let config = node
        .partitions
        .topic_config(&node.cluster.image(), topic)
        .filter(|config| config.cleanup.compact)?;
    let ms = |lag: Duration| u64::try_from(lag.as_millis()).unwrap_or(u64::MAX);
    Some(Policy {
        min_dirty_ratio: config.compaction.min_dirty_ratio,
        min_lag_ms: ms(config.compaction.min_lag),
        max_lag_ms: ms(config.compaction.max_lag),
    })
}

/// What core says of a log.
pub(super) fn todo(
    log: &millrace_log::partition::Cleaning,
    stable_end: i64,
    policy: &Policy,
    now_ms: i64,
) -> Cleanable {
    let segments: Vec<SegmentFacts> = log.segments().iter().map(facts).collect();
    let facts = LogFacts {
        first_dirty: log.first_dirty(),
        stable_end,
        segments: &segments,
    };
    cleanable(&facts, policy, now_ms)
}

/// A segment as core sees it.
pub(super) fn facts(view: &SegmentView) -> SegmentFacts {
    SegmentFacts {
        base_offset: view.base_offset,
        end_offset: view.end_offset,
        bytes: view.bytes,
        index_bytes: view.index_bytes,
        first_timestamp_ms: view.first_timestamp_ms,
        largest_timestamp_ms: view.largest_timestamp_ms,
    }
}

/// Runs one round, and says what became of it.
async fn run_round(node: &Arc<Node>, open: Arc<OpenPartition>, job: &Job, dirty_bytes: u64) {
    let cleaner = node.partitions.cleaner();
    let figures = &cleaner.figures;
    let incarnation = job.incarnation;
    let partition = format!("{}-{}", open.topic(), incarnation.partition);
    let outcome = Round::new(node, &open, job).run().await;
    let now = node.host.clock.now().mono;
    let rest = |uncleanable_bytes| {
        Some(Left {
            since: now,
            uncleanable_bytes,
        })
    };
    let left = match outcome {
        Ok(Done::Nothing) | Err(CleanError::Stopped) => rest(None),
        Ok(Done::Cleaned(cleaned)) => {
            figures.rounds.fetch_add(1, Ordering::Relaxed);
            figures.before.fetch_add(cleaned.before, Ordering::Relaxed);
            figures.after.fetch_add(cleaned.after, Ordering::Relaxed);
            figures
                .map_percent
                .store((cleaned.map_used * 100.0) as i64, Ordering::Relaxed);
            tracing::info!(
                partition,
                from = cleaned.from,
                upto = cleaned.upto,
                bytes_before = cleaned.before,
                bytes_after = cleaned.after,
                keys = cleaned.keys,
                "compacted"
            );
            None
        }
        Err(error @ CleanError::Uncleanable { .. }) => {
            figures.failed.fetch_add(1, Ordering::Relaxed);
            let retry_s = node.live_config().cleaner.retry_after.as_secs();
            tracing::error!(partition, %error, retry_s,
                "a log can't be compacted and grows until that is mended; it serves as before");
            rest(Some(dirty_bytes))
        }
        Err(error @ (CleanError::NoRoom | CleanError::Log(_))) => {
            figures.failed.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(partition, %error, "a log is not compacted for now");
            rest(None)
        }
        Err(error @ CleanError::Changed(_)) => {
            tracing::debug!(partition, %error, "a round was given up");
            rest(None)
        }
    };
    cleaner.end(incarnation, left);
}

#[cfg(test)]
#[path = "cleaning_tests.rs"]
mod tests;
