//! Looking for logs to compact: which are dirty, which is next, and what becomes of a round.
//!
//! What always holds: a look costs what changed since the last one (a segment that came or went, a
//! configuration) and what waits for a time, not what there is; one partition's trouble keeps no other
//! one waiting; a compacted partition that nobody asked for since the start is opened by the first look;
//! a wall clock that jumped lets no tombstone go and makes no record old enough.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use millrace_config::CleanerConfig;
use millrace_core::compaction::{Cleanable, Policy, dirtiest};
use millrace_host::Pool;
use millrace_log::mark::Incarnation;
use millrace_log::partition::{CleanError, Shape, WallGuard};
use millrace_protocol::ids::TopicId;

use super::cleaning::{Job, Left, State};
use super::cleaning_plan::{policy, todo};
use super::cleaning_round::{Done, Round};
use super::partition::OpenPartition;
use super::topic_configs::version;
use crate::context::Node;

/// How soon after one look the next one may come, however short `log.cleaner.backoff.ms` is.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// How long the looks rest behind a partition that they had to open.
const OPEN_EVERY: Duration = Duration::from_millis(1);

/// Looks for logs to compact until the node stops.
pub(super) async fn run(node: &Arc<Node>) {
    let cleaner = node.partitions.cleaner();
    let mut compacted = Compacted::default();
    let what = "what compaction does by time (tombstones, lags)";
    let start = node.host.clock.now();
    let mut guard = WallGuard::new(what, start, node.partitions.last_wall_ms());
    loop {
        let config = node.live_config();
        let threads = config.cleaner.threads as usize;
        let ended = cleaner.state.look(|state| state.ended);
        if config.cleaner.enabled && !cleaner.is_full(threads) {
            compacted.follow(node);
            let now = node.host.clock.now();
            let wall_ms = guard.allows(now).then_some(now.wall_ms);
            look(node, &mut compacted, (&config.cleaner, wall_ms)).await;
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

/// The partitions that are compacted, as the image says that they were found in.
#[derive(Debug, Default)]
struct Compacted {
    at: Option<i64>,
    partitions: BTreeMap<Incarnation, Known>,
}

/// What is known of one.
#[derive(Debug)]
struct Known {
    /// Where its configuration stands.
    version: i64,
    quiet: Option<Quiet>,
}

/// There is nothing to do in a log as long as its segments are these.
#[derive(Debug)]
struct Quiet {
    shape: Shape,
    /// The share of it that is dirty.
    ratio: f64,
}

impl Compacted {
    /// Costs nothing while the metadata stay as they are.
    fn follow(&mut self, node: &Node) {
        let image = node.cluster.image();
        if self.at == Some(image.offset()) {
            return;
        }
        self.at = Some(image.offset());
        let mut before = std::mem::take(&mut self.partitions);
        for topic in image.topics_by_name() {
            let config = node.partitions.topic_config(&image, topic);
            if !config.is_some_and(|config| config.cleanup.compact) {
                continue;
            }
            let version = version(&image, topic);
            for partition in topic.partitions.keys() {
                let incarnation = Incarnation {
                    topic_id: topic.id.to_bytes(),
                    partition: *partition,
                };
                let known = before.remove(&incarnation);
                let quiet = known.filter(|known| known.version == version);
                let quiet = quiet.and_then(|known| known.quiet);
                self.partitions
                    .insert(incarnation, Known { version, quiet });
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

/// Looks at every compacted partition in which something changed, or that waits for a time, and begins
/// rounds on the dirtiest of those that are due. `wall_ms` is the time, `None` while it is not believed.
async fn look(
    node: &Arc<Node>,
    compacted: &mut Compacted,
    (config, wall_ms): (&CleanerConfig, Option<i64>),
) {
    let cleaner = node.partitions.cleaner();
    let mut candidates = Vec::new();
    let mut dirtiest_ratio = 0.0_f64;
    for (incarnation, known) in &mut compacted.partitions {
        if node.stopping.is_cancelled() {
            return;
        }
        let opened = node.partitions.opened(incarnation);
        let is_still = |quiet: &&Quiet| {
            let open = opened.as_ref();
            open.is_some_and(|open| open.reader().is_still(&quiet.shape))
        };
        if let Some(quiet) = known.quiet.as_ref().filter(is_still) {
            dirtiest_ratio = dirtiest_ratio.max(quiet.ratio);
            continue;
        }
        known.quiet = None;
        if !cleaner.may_begin(incarnation, config.retry_after, node.host.clock.now().mono) {
            continue;
        }
        let Some(open) = opened_or_written(node, incarnation, opened).await else {
            continue;
        };
        let shape = open.reader().shape();
        let Some((candidate, is_settled)) = candidate(node, open, wall_ms).await else {
            continue;
        };
        let ratio = candidate.cleanable.ratio();
        dirtiest_ratio = dirtiest_ratio.max(ratio);
        if is_settled {
            known.quiet = Some(Quiet { shape, ratio });
        } else {
            candidates.push(candidate);
        }
    }
    let figures = &cleaner.figures;
    figures
        .dirty_percent
        .store((dirtiest_ratio * 100.0) as i64, Ordering::Relaxed);
    let now = node.host.clock.now().mono;
    figures.looked_at.store(now.0.max(1), Ordering::Relaxed);
    begin(node, candidates, (config.threads as usize, wall_ms));
}

/// Begins as many rounds as there may be, on the dirtiest first.
fn begin(
    node: &Arc<Node>,
    mut candidates: Vec<Candidate>,
    (threads, wall_ms): (usize, Option<i64>),
) {
    loop {
        let all = candidates.iter().map(|one| (&one.cleanable, &one.policy));
        let Some(at) = dirtiest(all) else { return };
        let next = candidates.swap_remove(at);
        let incarnation = next.open.incarnation();
        let Some(job) = node.partitions.cleaner().begin(incarnation, threads) else {
            return;
        };
        let (node, dirty) = (Arc::clone(node), next.cleanable.dirty_bytes);
        let spawn = Arc::clone(&node.host.spawn);
        let round = async move { run_round(&node, next.open, &job, (dirty, wall_ms)).await };
        drop(spawn.spawn(Pool::Background, "log compaction", Box::pin(round)));
    }
}

/// The partition, opened now if nobody asked for it since the start: what lies there is compacted
/// nevertheless.
async fn opened_or_written(
    node: &Arc<Node>,
    incarnation: &Incarnation,
    opened: Option<Arc<OpenPartition>>,
) -> Option<Arc<OpenPartition>> {
    if opened.is_some() {
        return opened;
    }
    let image = node.cluster.image();
    let topic = image.topic(TopicId::from_bytes(incarnation.topic_id))?;
    if !node.partitions.was_written(topic, incarnation.partition) {
        return None;
    }
    let open = node.partitions.get(topic, incarnation.partition).await.ok();
    let clock = &node.host.clock;
    clock.sleep_until(clock.now().mono + OPEN_EVERY).await;
    open
}

/// What there is to do in one partition, and whether nothing is until its segments change; `None`
/// where nothing can be begun.
async fn candidate(
    node: &Arc<Node>,
    open: Arc<OpenPartition>,
    wall_ms: Option<i64>,
) -> Option<(Candidate, bool)> {
    let image = node.cluster.image();
    let topic = image.topic(TopicId::from_bytes(open.incarnation().topic_id))?;
    let policy = policy(node, topic)?;
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
    let cleanable = todo(&found.log, found.stable_end, &policy, wall_ms);
    let active = found.log.segments().last()?;
    let is_settled = cleanable.is_settled(&policy, active.base_offset);
    let candidate = Candidate {
        open,
        cleanable,
        policy,
    };
    Some((candidate, is_settled))
}

/// Runs one round, and says what became of it.
async fn run_round(
    node: &Arc<Node>,
    open: Arc<OpenPartition>,
    job: &Job,
    (dirty_bytes, wall_ms): (u64, Option<i64>),
) {
    let cleaner = node.partitions.cleaner();
    let figures = &cleaner.figures;
    let incarnation = job.incarnation;
    let partition = format!("{}-{}", open.topic(), incarnation.partition);
    let outcome = Round::new(node, &open, job, wall_ms).run().await;
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
