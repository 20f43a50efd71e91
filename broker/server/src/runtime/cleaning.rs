//! Compaction of this node's logs: how many at once, how fast, and what could not be compacted.
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

use millrace_host::{Changing, Mono};
use millrace_log::mark::Incarnation;
use millrace_protocol::ids::TopicId;
use tokio_util::sync::CancellationToken;

use super::debt::Debt;

/// How long a log that changed under a round, or for which there was no room, is left alone.
const REST: Duration = Duration::from_secs(15);

/// A round that runs.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) incarnation: Incarnation,
    pub(super) cancelled: CancellationToken,
}

/// A partition that is left alone for now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    /// Since when.
    pub(super) since: Mono,
    /// A batch of it can't be read: its bytes that are dirty.
    pub(super) uncleanable_bytes: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// The node ends.
    is_over: bool,
    running: BTreeMap<Incarnation, Arc<Job>>,
    left: BTreeMap<Incarnation, Left>,
    /// Rounds that have ended.
    pub(super) ended: u64,
    /// Bytes read and written beyond what the limit on all rounds allowed by then.
    debt: Debt,
}

/// What rounds came to since the start.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) rounds: AtomicU64,
    pub(super) failed: AtomicU64,
    /// Bytes read and written.
    moved: AtomicU64,
    /// Bytes of the segments that were replaced, and of those in their place.
    pub(super) before: AtomicU64,
    pub(super) after: AtomicU64,
    /// How full the last map of keys was, in percent.
    pub(super) map_percent: AtomicI64,
    /// The largest dirty share at the last look, in percent.
    pub(super) dirty_percent: AtomicI64,
    /// When a look was last taken, in monotonic ns; 0 for never.
    pub(super) looked_at: AtomicU64,
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
    pub(super) state: Changing<State>,
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
    pub(super) fn begin(&self, incarnation: Incarnation, at_once: usize) -> Option<Arc<Job>> {
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
    pub(super) fn end(&self, incarnation: Incarnation, left: Option<Left>) {
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
    pub(super) fn may_begin(
        &self,
        incarnation: &Incarnation,
        retry_after: Duration,
        now: Mono,
    ) -> bool {
        self.state.look(|state| {
            let rests = state.left.get(incarnation).is_some_and(|left| {
                let rest = left.uncleanable_bytes.map_or(REST, |_| retry_after);
                now.since(left.since) < rest
            });
            !rests && !state.running.contains_key(incarnation)
        })
    }

    /// Whether `at_once` rounds run, or the node ends.
    pub(super) fn is_full(&self, at_once: usize) -> bool {
        self.state
            .look(|state| state.is_over || state.running.len() >= at_once)
    }

    /// Bytes were read or written: what is owed for them is waited for by [`Self::pause`].
    pub(super) fn moved(&self, bytes: u64) {
        self.figures.moved.fetch_add(bytes, Ordering::Relaxed);
        self.state.modify(|state| state.debt.owe(bytes));
    }

    /// How long to wait before more is read or written: all rounds together may move so many bytes
    /// in a second.
    pub(super) fn pause(&self, now: Mono, per_second: f64) -> Duration {
        // Whole bytes, upwards: a limit above 0 stops nothing.
        let per_second = per_second.ceil() as u64;
        let pause = self.state.modify(|state| state.debt.pause(now, per_second));
        // A millisecond's worth may be ahead, so that no wait is shorter than that.
        if pause < Duration::from_millis(1) {
            return Duration::ZERO;
        }
        pause
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

#[cfg(test)]
#[path = "cleaning_tests.rs"]
mod tests;
