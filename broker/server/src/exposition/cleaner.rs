//! What compaction has done, and what it could not.

use super::page::{Family, Kind, Labels, Page};
use crate::context::Node;

const RUNNING: Family = Family {
    name: "millrace_cleaner_rounds",
    help: "Logs that are being compacted.",
    kind: Kind::Gauge,
};
const ENDED: Family = Family {
    name: "millrace_cleaner_rounds_total",
    help: "Rounds of compaction that ended, by how: cleaned, failed.",
    kind: Kind::Counter,
};
const MOVED: Family = Family {
    name: "millrace_cleaner_io_bytes_total",
    help: "Bytes that compaction read and wrote.",
    kind: Kind::Counter,
};
const BEFORE: Family = Family {
    name: "millrace_cleaner_replaced_bytes_total",
    help: "Bytes of segments that were compacted.",
    kind: Kind::Counter,
};
const AFTER: Family = Family {
    name: "millrace_cleaner_left_bytes_total",
    help: "Bytes that were left of them.",
    kind: Kind::Counter,
};
const DIRTY: Family = Family {
    name: "millrace_cleaner_dirty_percent_max",
    help: "Largest share of a log that waits to be compacted, in percent, at the last look.",
    kind: Kind::Gauge,
};
const SINCE: Family = Family {
    name: "millrace_cleaner_look_age_seconds",
    help: "Seconds since logs were last looked at for compaction; -1 when they never were.",
    kind: Kind::Gauge,
};
const MAP_USED: Family = Family {
    name: "millrace_cleaner_map_used_percent",
    help: "How full the last round's memory for keys was; 100 compacts logs in parts.",
    kind: Kind::Gauge,
};
const MAP_BYTES: Family = Family {
    name: "millrace_cleaner_map_bytes",
    help: "Bytes that compaction takes for keys.",
    kind: Kind::Gauge,
};
const UNCLEANABLE: Family = Family {
    name: "millrace_cleaner_uncleanable_partitions",
    help: "Partitions that can't be compacted: a batch in them can't be read.",
    kind: Kind::Gauge,
};
const UNCLEANABLE_BYTES: Family = Family {
    name: "millrace_cleaner_uncleanable_bytes",
    help: "Bytes that wait in them to be compacted.",
    kind: Kind::Gauge,
};

/// Of the whole node.
pub(super) fn cleaner(node: &Node, page: &mut Page) {
    let now = node.host.clock.now().mono;
    let counted = node.partitions.cleaner().counted(now);
    page.single(RUNNING, counted.running as i64);
    page.begin(ENDED);
    for (how, count) in [("cleaned", counted.rounds), ("failed", counted.failed)] {
        page.line(ENDED, &Labels::of(&[("how", how)]), count as i64);
    }
    page.single(MOVED, counted.moved as i64);
    page.single(BEFORE, counted.before as i64);
    page.single(AFTER, counted.after as i64);
    page.single(DIRTY, counted.dirty_percent);
    page.single(SINCE, counted.since_look);
    page.single(MAP_USED, counted.map_percent);
    page.single(MAP_BYTES, counted.map_bytes);
    page.single(UNCLEANABLE, counted.uncleanable as i64);
    page.single(UNCLEANABLE_BYTES, counted.uncleanable_bytes as i64);
}
