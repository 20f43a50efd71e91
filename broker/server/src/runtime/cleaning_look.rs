//! Looking for logs to compact: which are dirty, which is next, and what becomes of a round.
//!
//! What always holds: a look costs what is compacted here, not what there is; one partition's trouble
//! keeps no other one waiting; a compacted partition that nobody asked for since the start is opened by
//! the first look.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use millrace_config::CleanerConfig;
use millrace_core::compaction::{Cleanable, LogFacts, Policy, SegmentFacts, cleanable, dirtiest};
use millrace_host::Pool;
use millrace_log::mark::Incarnation;
use millrace_log::partition::{CleanError, SegmentView};
use millrace_protocol::ids::TopicId;

use super::cleaning::{Job, Left, State};
use super::cleaning_round::{Done, Round};
use super::partition::OpenPartition;
use crate::context::Node;

/// How soon after one look the next one may come, however short `log.cleaner.backoff.ms` is.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// How long the looks rest behind a partition that they had to open.
const OPEN_EVERY: Duration = Duration::from_millis(1);

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
