//! What is to be compacted of one log, by its configuration and what it holds.

use std::time::Duration;

use millrace_core::compaction::{Cleanable, LogFacts, Policy, SegmentFacts, cleanable};
use millrace_log::partition::SegmentView;

use crate::context::Node;

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
    now_ms: Option<i64>,
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
