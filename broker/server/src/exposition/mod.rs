//! What `/metrics` shows beyond counters: what topics, partitions and log directories are like at
//! the moment of the scrape.
//!
//! Written as text by hand: the library's structures for ten thousand topics cost several times what
//! the lines do, every few seconds. What always holds: a scrape waits for nothing but a partition's
//! lock, and there is one series of each family for each topic, in the order of their ids; by
//! partition only where somebody asks for that page. What a page takes is its bytes and a row for
//! each topic, or each partition.

mod cleaner;
mod groups;
mod page;

use std::path::PathBuf;
use std::sync::Arc;

use millrace_host::Rope;

use millrace_log::handles::HandleCounts;

use crate::context::Node;
use crate::runtime::partition::{OpenPartition, Shown, Sums};
use page::{Family, Kind, Labels, Page};

/// A family, and its value in a row.
type Column<R> = (Family, fn(&R) -> i64);

/// Everything of the node, by topic and by directory.
pub(crate) fn page(node: &Arc<Node>) -> Rope {
    let mut page = Page::new(node.metrics.text());
    topics(node, &mut page);
    directories(node, &mut page);
    moves(node, &mut page);
    cleaner::cleaner(node, &mut page);
    groups::groups(node, &mut page);
    page.into_rope()
}

/// The same in one piece.
pub(crate) fn text(node: &Arc<Node>) -> String {
    page::text(&page(node))
}

/// Offsets and sizes of every open partition.
pub(crate) fn partitions_page(node: &Node) -> Rope {
    let mut page = Page::new(String::new());
    let open = node.partitions.open_partitions();
    let rows = open.iter().filter_map(Row::of);
    let rows: Vec<_> = rows
        .map(|row| {
            let partition = row.partition.to_string();
            let labels = [("topic", &*row.topic), ("partition", &partition)];
            (Labels::of(&labels), row)
        })
        .collect();
    let families: [Column<Row>; 4] = [
        (PARTITION_LOG_START, |row| row.shown.log_start),
        (PARTITION_HIGH_WATERMARK, |row| row.shown.high_watermark),
        (PARTITION_LOG_END, |row| row.shown.log_end),
        (PARTITION_LOG_BYTES, |row| row.shown.log_bytes as i64),
    ];
    for (family, value) in families {
        page.begin(family);
        for (labels, row) in &rows {
            page.line(family, labels, value(row));
        }
    }
    page.into_rope()
}

const PARTITION_LOG_START: Family = Family {
    name: "millrace_partition_log_start_offset",
    help: "First offset of the partition.",
    kind: Kind::Gauge,
};
const PARTITION_HIGH_WATERMARK: Family = Family {
    name: "millrace_partition_high_watermark",
    help: "The offset below which consumers may read.",
    kind: Kind::Gauge,
};
const PARTITION_LOG_END: Family = Family {
    name: "millrace_partition_log_end_offset",
    help: "The offset that the next record gets.",
    kind: Kind::Gauge,
};
const PARTITION_LOG_BYTES: Family = Family {
    name: "millrace_partition_log_bytes",
    help: "Bytes of the partition's segments.",
    kind: Kind::Gauge,
};

/// One open partition at the moment of the scrape.
struct Row {
    topic: Arc<str>,
    partition: i32,
    shown: Shown,
    traffic: Sums,
}

impl Row {
    /// `None` of one that serves no more.
    fn of(open: &Arc<OpenPartition>) -> Option<Self> {
        let shown = open.measure().ok()?;
        Some(Self {
            topic: Arc::clone(open.topic()),
            partition: open.incarnation().partition,
            shown,
            traffic: open.traffic().sums(),
        })
    }
}

/// Sums over a topic's open partitions.
#[derive(Default)]
struct TopicSums {
    open: i64,
    records: i64,
    log_bytes: i64,
    traffic: Sums,
}

impl TopicSums {
    fn add(&mut self, row: &Row) {
        self.open += 1;
        self.records += row.shown.high_watermark - row.shown.log_start;
        self.log_bytes += row.shown.log_bytes as i64;
        self.traffic.records_in += row.traffic.records_in;
        self.traffic.bytes_in += row.traffic.bytes_in;
        self.traffic.bytes_out += row.traffic.bytes_out;
    }
}

const TOPIC_RECORDS_IN: Family = Family {
    name: "millrace_topic_in_records_total",
    help: "Records appended to the topic since its partitions were opened.",
    kind: Kind::Counter,
};
const TOPIC_BYTES_IN: Family = Family {
    name: "millrace_topic_in_bytes_total",
    help: "Bytes of batches appended to the topic since its partitions were opened.",
    kind: Kind::Counter,
};
const TOPIC_BYTES_OUT: Family = Family {
    name: "millrace_topic_out_bytes_total",
    help: "Bytes of the topic's batches in replies since its partitions were opened.",
    kind: Kind::Counter,
};
const TOPIC_LOG_BYTES: Family = Family {
    name: "millrace_topic_log_bytes",
    help: "Bytes of the segments of the topic's open partitions.",
    kind: Kind::Gauge,
};
const TOPIC_OFFSETS: Family = Family {
    name: "millrace_topic_offsets",
    help: "Offsets between log start and high watermark, over the topic's open partitions.",
    kind: Kind::Gauge,
};
const PARTITIONS: Family = Family {
    name: "millrace_partitions",
    help: "Partitions in the metadata.",
    kind: Kind::Gauge,
};
const PARTITIONS_OPEN: Family = Family {
    name: "millrace_partitions_open",
    help: "Partitions that were used since the start and serve.",
    kind: Kind::Gauge,
};
const PARTITIONS_OFFLINE: Family = Family {
    name: "millrace_partitions_offline",
    help: "Partitions without a leader: their log directory is offline.",
    kind: Kind::Gauge,
};
const TOPICS: Family = Family {
    name: "millrace_topics",
    help: "Topics in the metadata.",
    kind: Kind::Gauge,
};

fn topics(node: &Node, page: &mut Page) {
    let mut topics: Vec<(Labels, TopicSums)> = Vec::new();
    let mut last = None;
    // By topic id: partitions of one topic follow each other.
    for open in node.partitions.open_partitions() {
        let Some(row) = Row::of(&open) else {
            continue;
        };
        let id = Some(open.incarnation().topic_id);
        if last != id {
            last = id;
            let labels = Labels::of(&[("topic", &row.topic)]);
            topics.push((labels, TopicSums::default()));
        }
        if let Some((_, sums)) = topics.last_mut() {
            sums.add(&row);
        }
    }
    let families: [Column<TopicSums>; 5] = [
        (TOPIC_RECORDS_IN, |sums| sums.traffic.records_in as i64),
        (TOPIC_BYTES_IN, |sums| sums.traffic.bytes_in as i64),
        (TOPIC_BYTES_OUT, |sums| sums.traffic.bytes_out as i64),
        (TOPIC_LOG_BYTES, |sums| sums.log_bytes),
        (TOPIC_OFFSETS, |sums| sums.records),
    ];
    for (family, value) in families {
        page.begin(family);
        for (labels, sums) in &topics {
            page.line(family, labels, value(sums));
        }
    }
    let there = node.cluster.image().extent();
    let open = topics.iter().map(|(_, sums)| sums.open).sum();
    page.single(TOPICS, there.topics as i64);
    page.single(PARTITIONS, there.partitions as i64);
    page.single(PARTITIONS_OPEN, open);
    page.single(PARTITIONS_OFFLINE, there.leaderless as i64);
}

const DIRECTORY_OFFLINE: Family = Family {
    name: "millrace_log_directory_offline",
    help: "1 of a log directory that can't be used, or took a failed write or sync.",
    kind: Kind::Gauge,
};
const DIRECTORY_FULL: Family = Family {
    name: "millrace_log_directory_full",
    help: "1 of a log directory that refuses produces for want of room.",
    kind: Kind::Gauge,
};
const SEGMENT_HITS: Family = Family {
    name: "millrace_segment_cache_hits_total",
    help: "Times the file of a segment was wanted and open.",
    kind: Kind::Counter,
};
const SEGMENT_MISSES: Family = Family {
    name: "millrace_segment_cache_misses_total",
    help: "Times the file of a segment had to be opened.",
    kind: Kind::Counter,
};
const SEGMENTS_OPEN: Family = Family {
    name: "millrace_segments_open",
    help: "Segments whose files are open, log.open.files.max of them where all are settled.",
    kind: Kind::Gauge,
};
const DIRECTORY_TOTAL: Family = Family {
    name: "millrace_log_directory_total_bytes",
    help: "Bytes of the file system that the log directory is on.",
    kind: Kind::Gauge,
};
const DIRECTORY_FREE: Family = Family {
    name: "millrace_log_directory_free_bytes",
    help: "Bytes of that file system that may still be taken.",
    kind: Kind::Gauge,
};
const DIRECTORY_UNFLUSHED: Family = Family {
    name: "millrace_log_directory_unflushed_bytes",
    help: "Bytes written and not durable yet.",
    kind: Kind::Gauge,
};
const DIRECTORY_COMMITS: Family = Family {
    name: "millrace_log_directory_commits_total",
    help: "Commits written to the journal; each is one sync.",
    kind: Kind::Counter,
};
const DIRECTORY_JOURNAL: Family = Family {
    name: "millrace_log_directory_journal_bytes_total",
    help: "Bytes of these commits.",
    kind: Kind::Counter,
};
const DIRECTORY_DIRECT: Family = Family {
    name: "millrace_log_directory_direct_syncs_total",
    help: "Syncs of segments beside the journal: large appends, and settling.",
    kind: Kind::Counter,
};
const DIRECTORY_CLOCK: Family = Family {
    name: "millrace_log_directory_clock_doubted",
    help: "1 while the wall clock is doubted since it stepped: retention by time waits.",
    kind: Kind::Gauge,
};

/// One log directory of the configuration at the moment of the scrape.
#[derive(Default)]
struct DirectoryRow {
    labels: Labels,
    offline: i64,
    full: i64,
    segments: HandleCounts,
    total: i64,
    free: i64,
    unflushed: i64,
    commits: i64,
    journal_bytes: i64,
    direct_syncs: i64,
    clock_doubted: i64,
}

fn directories(node: &Node, page: &mut Page) {
    let opened = node.partitions.opened_directories();
    let row = |path: &PathBuf| {
        let mut row = DirectoryRow {
            labels: Labels::of(&[("dir", &path.display().to_string())]),
            offline: 1,
            ..DirectoryRow::default()
        };
        // One that doesn't say has none.
        if let Ok(space) = node.host.disk.space(path) {
            row.total = i64::try_from(space.total).unwrap_or(i64::MAX);
            row.free = i64::try_from(space.available).unwrap_or(i64::MAX);
        }
        if let Some((directory, dir)) = opened.iter().find(|(_, dir)| dir.path() == path) {
            let handles = node.partitions.handles(*directory);
            row.segments = handles.map_or_else(HandleCounts::default, |handles| handles.counts());
            let counts = dir.flusher_counts();
            row.offline = i64::from(dir.offline().is_some());
            row.full = i64::from(dir.is_full());
            row.unflushed = dir.unflushed_bytes() as i64;
            row.commits = counts.commits as i64;
            row.journal_bytes = counts.journal_bytes as i64;
            row.direct_syncs = counts.direct_syncs as i64;
            row.clock_doubted = i64::from(counts.clock_doubted);
        }
        row
    };
    let rows: Vec<DirectoryRow> = node.config.log.dirs.iter().map(row).collect();
    let families: [Column<DirectoryRow>; 12] = [
        (DIRECTORY_OFFLINE, |row| row.offline),
        (DIRECTORY_FULL, |row| row.full),
        (DIRECTORY_TOTAL, |row| row.total),
        (DIRECTORY_FREE, |row| row.free),
        (DIRECTORY_UNFLUSHED, |row| row.unflushed),
        (DIRECTORY_COMMITS, |row| row.commits),
        (DIRECTORY_JOURNAL, |row| row.journal_bytes),
        (DIRECTORY_DIRECT, |row| row.direct_syncs),
        (SEGMENT_HITS, |row| row.segments.hits as i64),
        (SEGMENT_MISSES, |row| row.segments.misses as i64),
        (SEGMENTS_OPEN, |row| row.segments.open as i64),
        (DIRECTORY_CLOCK, |row| row.clock_doubted),
    ];
    for (family, value) in families {
        page.begin(family);
        for row in &rows {
            page.line(family, &row.labels, value(row));
        }
    }
}

const MOVES: Family = Family {
    name: "millrace_replica_moves",
    help: "Moves between log directories that are under way or wait for their turn.",
    kind: Kind::Gauge,
};
const MOVES_ENDED: Family = Family {
    name: "millrace_replica_moves_total",
    help: "Moves between log directories that ended, by how: moved, failed, cancelled.",
    kind: Kind::Counter,
};
const MOVED_BYTES: Family = Family {
    name: "millrace_replica_moves_bytes_total",
    help: "Bytes copied by moves between log directories.",
    kind: Kind::Counter,
};

fn moves(node: &Node, page: &mut Page) {
    let counted = node.partitions.moves().counted();
    page.single(MOVES, counted.wished as i64);
    page.begin(MOVES_ENDED);
    for (how, count) in [
        ("moved", counted.moved),
        ("failed", counted.failed),
        ("cancelled", counted.cancelled),
    ] {
        page.line(MOVES_ENDED, &Labels::of(&[("how", how)]), count as i64);
    }
    page.single(MOVED_BYTES, counted.bytes as i64);
}
