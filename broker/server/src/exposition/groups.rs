//! What is shown of consumer groups: their states, members and lag, so that no other program has to
//! ask for them.
//!
//! What always holds: a shard is looked at under its own lock, for as long as its lines take, and at
//! most [`GROUPS_MAX`] groups are shown one by one, none whose id is longer than a topic's name may
//! be: a page stays within some megabytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_core::group::{Groups, STATES, Text};

use super::page::{Family, Kind, Labels, Page};
use crate::context::Node;

/// Groups that have series of their own; the others are counted by state alone.
const GROUPS_MAX: usize = 10_000;

/// Longer ids than that have no series of their own.
const ID_BYTES_MAX: usize = 249;

const GROUPS: Family = Family {
    name: "millrace_groups",
    help: "Consumer groups by what they are doing, as Kafka calls it.",
    kind: Kind::Gauge,
};
const GROUPS_BYTES: Family = Family {
    name: "millrace_groups_bytes",
    help: "Memory that groups take, members and offsets; group.state.bytes.max is the limit.",
    kind: Kind::Gauge,
};
const MEMBERS: Family = Family {
    name: "millrace_group_members",
    help: "Members of the group.",
    kind: Kind::Gauge,
};
const GENERATION: Family = Family {
    name: "millrace_group_generation",
    help: "Generation of the group: one more with each rebalance.",
    kind: Kind::Gauge,
};
const LAG: Family = Family {
    name: "millrace_group_lag_records",
    help: "Offsets between what the group committed and the high watermark, over the topic's \
           partitions.",
    kind: Kind::Gauge,
};

/// One group at the moment of the scrape.
struct Row {
    labels: Labels,
    members: i64,
    generation: i64,
    /// By topic.
    lag: Vec<(Labels, i64)>,
}

/// Writes what there is of groups.
pub(super) fn groups(node: &Arc<Node>, page: &mut Page) {
    let mut states: BTreeMap<&'static str, i64> = STATES.map(|state| (state, 0)).into();
    let mut rows = Vec::new();
    for shard in node.written_group_shards() {
        // One that is being loaded has no groups yet.
        shard
            .look(|groups| look(node, groups, &mut states, &mut rows))
            .ok();
    }
    page.begin(GROUPS);
    for (state, count) in states {
        page.line(GROUPS, &Labels::of(&[("state", state)]), count);
    }
    let held = i64::try_from(node.groups.held_bytes()).unwrap_or(i64::MAX);
    page.single(GROUPS_BYTES, held);
    page.begin(MEMBERS);
    for row in &rows {
        page.line(MEMBERS, &row.labels, row.members);
    }
    page.begin(GENERATION);
    for row in &rows {
        page.line(GENERATION, &row.labels, row.generation);
    }
    page.begin(LAG);
    for (labels, lag) in rows.iter().flat_map(|row| &row.lag) {
        page.line(LAG, labels, *lag);
    }
}

fn look(
    node: &Node,
    groups: &Groups,
    states: &mut BTreeMap<&'static str, i64>,
    rows: &mut Vec<Row>,
) {
    for figures in groups.figures() {
        *states.entry(figures.state).or_default() += 1;
        if rows.len() < GROUPS_MAX && figures.group.len() <= ID_BYTES_MAX {
            let lag = lag(node, groups, figures.group);
            let lag = lag.iter().map(|(topic, lag)| {
                let labels = [("group", &**figures.group), ("topic", topic)];
                (Labels::of(&labels), *lag)
            });
            rows.push(Row {
                lag: lag.collect(),
                labels: Labels::of(&[("group", figures.group)]),
                members: figures.members as i64,
                generation: i64::from(figures.generation),
            });
        }
    }
}

fn lag(node: &Node, groups: &Groups, group: &str) -> BTreeMap<Text, i64> {
    let image = node.cluster.image();
    let mut lag: BTreeMap<Text, i64> = BTreeMap::new();
    for (topic, partition, kept) in groups.offsets(group) {
        let Some(known) = image.topic_named(topic) else {
            continue;
        };
        if let Some(end) = node.partitions.known_high_watermark(known, partition) {
            let behind = end.saturating_sub(kept.offset).max(0);
            *lag.entry(Arc::clone(topic)).or_default() += behind;
        }
    }
    lag
}
