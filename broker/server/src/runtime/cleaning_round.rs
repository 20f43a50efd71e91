//! One round of compaction on one partition: what was appended since the last one is read for its
//! keys, then everything from the log's start is gone over and what nobody needs is left out.
//!
//! What always holds: segments are replaced in the order of their offsets, each group for itself, so
//! that a round that ends half-way has done what it did; memory is a map of keys, what two batches
//! inflate to, and the chunks that are read and written.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use millrace_config::TopicConfig;
use millrace_core::compaction::{
    self, GroupLimits, KeyMap, MapLimits, Mapping, Progress, SegmentFacts, Sieve, groups,
};
use millrace_host::{BoxFuture, Pool};
use millrace_log::partition::{
    CLEANED_AT_ONCE_MAX, CleanError, Cleaning, Filter, Kept, Pace, Uncleanable, Visit,
};
use millrace_protocol::ids::TopicId;
use millrace_protocol::records::Batch;

use super::cleaning::Job;
use super::cleaning_plan;
use super::partition::{Found, OpenPartition};
use crate::context::Node;

/// How often a limit that leaves nothing to read is looked at again.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// A map of this size is given back to the machine behind the round: the allocator would keep it, once
/// for each worker that ever ran a round.
const LARGE_MAP_BYTES: u64 = 8 << 20;

/// What a round came to.
pub(super) enum Done {
    /// There was nothing to do any more.
    Nothing,
    /// Segments were replaced.
    Cleaned(CleanedRange),
}

/// What a round that went through has done.
pub(super) struct CleanedRange {
    /// The first offset that was dirty.
    pub(super) from: i64,
    /// Below this nothing is dirty now.
    pub(super) upto: i64,
    /// Keys in that range.
    pub(super) keys: usize,
    /// How full the map was, 0 to 1.
    pub(super) map_used: f64,
    /// Bytes of the segments that were replaced.
    pub(super) before: u64,
    /// Bytes of those in their place.
    pub(super) after: u64,
}

/// A round on a partition.
pub(super) struct Round<'a> {
    node: &'a Arc<Node>,
    open: &'a Arc<OpenPartition>,
    job: &'a Job,
    /// The time that it was begun at; `None` when the clock was not believed.
    wall_ms: Option<i64>,
}

impl<'a> Round<'a> {
    pub(super) fn new(
        node: &'a Arc<Node>,
        open: &'a Arc<OpenPartition>,
        job: &'a Job,
        wall_ms: Option<i64>,
    ) -> Self {
        Self {
            node,
            open,
            job,
            wall_ms,
        }
    }

    /// Runs it.
    pub(super) async fn run(&self) -> Result<Done, CleanError> {
        let image = self.node.cluster.image();
        let topic = TopicId::from_bytes(self.job.incarnation.topic_id);
        let topic = image.topic(topic).ok_or(CleanError::Stopped)?;
        let partitions = &self.node.partitions;
        let config = partitions.topic_config(&image, topic);
        let config = config.ok_or(CleanError::Stopped)?;
        let Some(policy) = cleaning_plan::policy(self.node, topic) else {
            return Ok(Done::Nothing);
        };
        let found = self.open.look_to_clean()?;
        let planned = cleaning_plan::todo(&found.log, found.stable_end, &policy, self.wall_ms);
        let mut found = self.open.begin_round(planned.last_end).await?;
        found.log.set_chunk_bytes(self.chunk_bytes());
        // What came meanwhile may not be settled yet.
        found.stable_end = found.stable_end.min(planned.upto);
        let todo = cleaning_plan::todo(&found.log, found.stable_end, &policy, self.wall_ms);
        if !todo.is_due(&policy) {
            return Ok(Done::Nothing);
        }
        let mapping = self.mapping((todo.first_dirty, todo.upto));
        let held = Held::of(self.node, mapping.map_bytes());
        let mut keys = Keys(mapping);
        let log = &found.log;
        log.read(todo.first_dirty, todo.upto, self, &mut keys)
            .await?;
        let map = keys.0.finish();
        let mut done = CleanedRange {
            from: todo.first_dirty,
            upto: map.end(),
            keys: map.len(),
            map_used: map.used(),
            before: 0,
            after: 0,
        };
        let map_bytes = map.bytes();
        self.sift(&found, map, &todo, &config, &mut done).await?;
        drop(held);
        if map_bytes >= LARGE_MAP_BYTES {
            self.node.host.memory.give_back();
        }
        Ok(Done::Cleaned(done))
    }

    /// The first pass.
    fn mapping(&self, range: (i64, i64)) -> Mapping {
        let config = self.node.live_config();
        let cleaner = &config.cleaner;
        let limits = MapLimits {
            bytes_max: cleaner.dedupe_bytes / u64::from(cleaner.threads.max(1)),
            load_factor: cleaner.load_factor,
        };
        let rng = &self.node.host.rng;
        let secret = (rng.next_u64(), rng.next_u64());
        // No transaction can be begun yet, so none was aborted.
        Mapping::new(range, limits, secret, Vec::new(), self.inflated_bytes_max())
    }

    /// The second pass, group by group.
    async fn sift(
        &self,
        found: &Found,
        map: KeyMap,
        todo: &compaction::Cleanable,
        config: &TopicConfig,
        done: &mut CleanedRange,
    ) -> Result<(), CleanError> {
        let clean_end = map.end();
        let retention = config.compaction.delete_retention.as_millis();
        let round = compaction::Round {
            now_ms: self.wall_ms,
            delete_retention_ms: u64::try_from(retention).unwrap_or(u64::MAX),
            last_end: todo.last_end,
            producers: self.open.producers_to_keep()?,
            aborted: Vec::new(),
        };
        let mut filter = Records(Sieve::new(map, round, self.inflated_bytes_max()));
        let views = found.log.segments().iter();
        let segments: Vec<SegmentFacts> = views
            .map(cleaning_plan::facts)
            .take_while(|segment| segment.base_offset < clean_end)
            .collect();
        let limits = GroupLimits {
            segment_bytes: u64::from(config.segment_bytes),
            index_bytes: u64::from(config.segment_index_bytes),
        };
        for group in groups(&segments, todo.upto, limits) {
            for part in parts(group) {
                self.replace(&found.log, part, clean_end, &mut filter, done)
                    .await?;
            }
        }
        Ok(())
    }

    /// Cleans some segments, and has the result take their place.
    async fn replace(
        &self,
        log: &Cleaning,
        part: Range<usize>,
        clean_end: i64,
        filter: &mut Records,
        done: &mut CleanedRange,
    ) -> Result<(), CleanError> {
        let cleaned = log.clean(part, clean_end, self, filter).await?;
        let (before, after) = (cleaned.bytes_before(), cleaned.bytes());
        let replacement = self.open.begin_replacement(cleaned)?;
        let replaced = replacement.run().await;
        let removal = self.open.finish_replacement(replaced)?;
        let incarnation = self.job.incarnation;
        let removing = async move {
            if let Err(error) = removal.run().await {
                tracing::warn!(%incarnation, %error, "files of compacted segments stay for now");
            }
        };
        let spawn = &self.node.host.spawn;
        drop(spawn.spawn(Pool::Data, "segment removal", Box::pin(removing)));
        done.before += before;
        done.after += after;
        Ok(())
    }

    /// One part of a round's memory is for what it reads, one for what it writes.
    fn chunk_bytes(&self) -> usize {
        let config = self.node.live_config();
        (config.cleaner.io_buffer_bytes / config.cleaner.threads.max(1) / 2) as usize
    }

    fn inflated_bytes_max(&self) -> usize {
        let config = self.node.live_config();
        usize::try_from(config.produce.decompressed_bytes_max).unwrap_or(usize::MAX)
    }

    /// Whether to go on, after a wait for the limit on all rounds.
    async fn paced(&self, bytes: u64) -> bool {
        let cleaner = self.node.partitions.cleaner();
        cleaner.moved(bytes);
        loop {
            if self.job.cancelled.is_cancelled() || self.node.stopping.is_cancelled() {
                return false;
            }
            let config = self.node.live_config();
            let clock = &self.node.host.clock;
            let now = clock.now().mono;
            let pause = cleaner.pause(now, config.cleaner.io_bytes_per_second_max);
            if pause.is_zero() {
                break;
            }
            tokio::select! {
                biased;
                () = self.job.cancelled.cancelled() => return false,
                () = self.node.stopping.cancelled() => return false,
                () = clock.sleep_until(now + pause.min(PAUSE_MAX)) => {}
            }
        }
        // Whoever produces or fetches on this worker comes first.
        tokio::task::yield_now().await;
        true
    }
}

impl Pace for Round<'_> {
    fn take(&self, bytes: u64) -> BoxFuture<'_, bool> {
        Box::pin(self.paced(bytes))
    }
}

/// At most so many segments at once as the log takes.
fn parts(group: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = group.end;
    group
        .step_by(CLEANED_AT_ONCE_MAX)
        .map(move |start| start..end.min(start + CLEANED_AT_ONCE_MAX))
}

/// A map's memory, counted while it is held.
struct Held<'a> {
    node: &'a Node,
    bytes: i64,
}

impl<'a> Held<'a> {
    fn of(node: &'a Node, bytes: u64) -> Self {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let held = &node.partitions.cleaner().figures.map_bytes;
        held.fetch_add(bytes, Ordering::Relaxed);
        Self { node, bytes }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let held = &self.node.partitions.cleaner().figures.map_bytes;
        held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The first pass's reader.
struct Keys(Mapping);

impl Visit for Keys {
    fn batch(&mut self, batch: &Batch) -> Result<ControlFlow<()>, Uncleanable> {
        match self.0.batch(batch) {
            Ok(Progress::More) => Ok(ControlFlow::Continue(())),
            Ok(Progress::Full) => Ok(ControlFlow::Break(())),
            Err(error) => Err(Uncleanable(error.to_string())),
        }
    }
}

/// The second pass's judge.
struct Records(Sieve);

impl Filter for Records {
    fn batch(&mut self, batch: &Batch, out: &mut Vec<u8>) -> Result<Kept, Uncleanable> {
        match self.0.batch(batch, out) {
            Ok(compaction::Kept::Whole) => Ok(Kept::Whole),
            Ok(compaction::Kept::Rewritten) => Ok(Kept::Rewritten),
            Ok(compaction::Kept::Dropped) => Ok(Kept::Dropped),
            Err(error) => Err(Uncleanable(error.to_string())),
        }
    }
}
