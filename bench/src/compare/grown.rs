//! What a record costs as everything grows, and what else takes its time: groups, compaction.

use super::lanes::{Comparison, Lane, Place};
use super::site::{Kind, Site};
use super::table::Bound::AtMost;
use super::table::{Column, Row};
use super::throughput::{CPU, PAGE_CACHE, RATE, beside_rows, load, load_behind};
use super::{Compare, Size};
use crate::report::line;

pub(super) const SHAPE: &str = "--acks 1 --record-bytes 1024 --batch-bytes 16384";
/// In each of its batches.
pub(super) const BATCH_RECORDS: usize = 16;
/// As soon as there is something to compact, in place of 15 s later.
const SOON: &str = "log.cleaner.backoff.ms=100";

/// A scenario of `groups`: groups, members of each, rows of the table.
type Groups = (
    &'static str,
    usize,
    usize,
    &'static [(&'static str, &'static str)],
);

const GROUPS: [Groups; 3] = [
    (
        "one",
        1,
        1000,
        &[
            ("all members assigned", "all have joined, s"),
            ("joining: broker cpu", "broker CPU for it, s"),
        ],
    ),
    (
        "commits",
        100,
        10,
        &[
            (
                "commits acknowledged",
                "commits acknowledged a second, of 10,000",
            ),
            ("commit p99", "commit p99, ms"),
            (CPU, "broker CPU, s per million commits"),
        ],
    ),
    (
        "many",
        1000,
        10,
        &[
            ("all members assigned", "all have joined, s"),
            ("heartbeat p99", "heartbeat p99, ms"),
            (CPU, "broker CPU, s per million heartbeats"),
        ],
    ),
];

impl Compare<'_> {
    pub(super) async fn growth(&mut self) -> Result<(), String> {
        self.larger().await?;
        let records = self.size.of(1_000_000, 200_000, 2000);
        let many = self.size.of(10_000, 10_000, 40);
        let of = |partitions: usize| {
            let shape = format!("{SHAPE} --connections 2 --partitions {partitions}");
            load_behind(many * BATCH_RECORDS, &shape, records)
        };
        // What the file system takes for so many files is in both; the journal and syncs only in the first.
        for (id, settings) in [
            ("p12-partitions", ""),
            ("p12-partitions-page-cache", PAGE_CACHE),
        ] {
            let of = |partitions| format!("{} {settings}", of(partitions));
            self.growing(id, "partitions", 1.5, [of(10), of(many)])
                .await?;
        }
        let crowd = self.size.of(1000, 1000, 20);
        let of = |connections: usize| {
            let shape = format!("{SHAPE} --partitions 10 --depth 1 --connections {connections}");
            load(&shape, records)
        };
        self.growing("p12-connections", "connections", 1.3, [of(10), of(crowd)])
            .await
    }

    async fn growing(
        &mut self,
        id: &str,
        what: &str,
        goal: f64,
        [few, many]: [String; 2],
    ) -> Result<(), String> {
        let mut rows = vec![
            Row::new(CPU, "broker CPU, s per million records of 1 KiB").goal(
                1,
                Some(0),
                AtMost(goal),
            ),
            Row::new(RATE, "records a second"),
        ];
        rows.extend(beside_rows());
        let comparison = Comparison {
            id: id.to_owned(),
            title: format!("what a record costs with more {what}: acks=1, batches of 16 KB"),
            lanes: vec![
                Lane::millrace(&format!("few {what}"), few),
                Lane::millrace(&format!("many {what}"), many).over(&[0]),
            ],
            rows,
            place: Place::Kept,
            settings: Vec::new(),
        };
        let warm = self.warming(SHAPE);
        self.compare(comparison, Some(&warm)).await
    }

    /// The same topic when it is small, and when it is large.
    async fn larger(&mut self) -> Result<(), String> {
        let [small, large] = self.size.of([1000, 20_000], [100, 2000], [1, 4]);
        let column = |mb: usize, over: &[usize]| Column {
            label: format!("Millrace, at {mb} MB"),
            over: over.to_vec(),
        };
        let mut rows = vec![
            Row::new(CPU, "broker CPU, s per million records of 1 KiB").goal(
                1,
                Some(0),
                AtMost(1.1),
            ),
            Row::new(RATE, "records a second"),
        ];
        rows.extend(beside_rows());
        let mut section = self.section(
            "p12-bytes",
            "what a record costs in a larger topic: acks=1, batches of 16 KB",
            vec![column(small, &[]), column(large, &[0])],
            rows,
        );
        let records = self.size.of(1_000_000, 200_000, 2000);
        let measured = load(SHAPE, records);
        for turn in 0..self.runs {
            line(&format!("p12-bytes, run {} of {}", turn + 1, self.runs));
            let mut site = Site::new(Kind::Millrace, &self.programs, &[])?;
            site.start(self.host).await?;
            let mut there = 0;
            for (at, mb) in [small, large].into_iter().enumerate() {
                let wanted = mb * 1_000_000 / 1024;
                let large_batches = "--acks 1 --record-bytes 1024 --batch-bytes 1000000";
                self.fill(&site, "grown", large_batches, wanted.saturating_sub(there))?;
                // What is written lies in memory, as far as there is some: making room there is the
                // kernel's work, and on a virtual machine memory that nobody touched is the host's.
                site.drop_caches()?;
                let report = self.run(Some(&site), &measured, "grown")?;
                there = wanted + records;
                section.add(at, |name| report.figures.get(name).copied());
            }
        }
        self.out.section(section, Vec::new())
    }

    pub(super) async fn groups(&mut self) -> Result<(), String> {
        // A group that begins waits for members twice as long: six seconds, in which nothing is tried.
        let settings: &[&str] = if self.size == Size::Smoke {
            &["group.initial.rebalance.delay.ms=0"]
        } else {
            &[]
        };
        let brokers = self.start(settings, None).await?;
        for (name, groups, members, shown) in GROUPS {
            let groups = self.size.of(groups, groups.div_ceil(10), 1);
            let members = self.size.of(members, members.div_ceil(10), 3);
            let seconds = self.size.of("15", "5", "0.5");
            let heartbeat_ms = self.size.of(3000, 3000, 100);
            let command = format!(
                "groups {name} {{at}} --groups {groups} --members {members} --seconds {seconds} \
                 --heartbeat-ms {heartbeat_ms}"
            );
            let row = |(figure, label): &(&'static str, &str)| Row::new(figure, *label);
            let comparison = Comparison {
                id: format!("groups-{name}"),
                title: format!("{groups} groups of {members} members"),
                lanes: vec![
                    Lane::kafka("commits not synced", command.clone()),
                    Lane::millrace("commits synced", command).over(&[0]),
                ],
                rows: shown.iter().map(row).collect(),
                place: Place::Kept,
                settings: Vec::new(),
            };
            self.take_turns(&brokers, comparison).await?;
        }
        drop(brokers);
        let groups = self.size.of(1000, 100, 5);
        let command = format!(
            "groups load --bootstrap {{address}} --data {{data}} --groups {groups} -- {{command}}"
        );
        let comparison = Comparison {
            id: "groups-load".to_owned(),
            title: format!("a start with {groups} groups of 1,000 offsets, cold cache"),
            lanes: vec![
                Lane::kafka("", command.clone()),
                Lane::millrace("", command).over(&[0]),
            ],
            rows: vec![
                Row::new(
                    "clean: until every group",
                    "stopped: until every group is answered, s",
                ),
                Row::new(
                    "kill -9: until every group",
                    "killed: until every group is answered, s",
                ),
            ],
            place: Place::NotStarted,
            settings: Vec::new(),
        };
        self.compare(comparison, None).await
    }

    pub(super) async fn compaction(&mut self) -> Result<(), String> {
        let warm = match self.size.of("384", "64", "") {
            "" => None,
            mib => Some(format!(
                "compaction {{at}} --mib {mib} --record-bytes 100 --seconds 2"
            )),
        };
        let brokers = self.start(&[SOON], warm.as_deref()).await?;
        for (name, bytes, mib) in [("1 KiB", 1024, 1024), ("100 B", 100, 384)] {
            let mib = self.size.of(mib, mib / 8, 4);
            let seconds = self.size.of("10", "5", "1");
            let segments = self.size.of("67108864", "16777216", "1048576");
            let command = format!(
                "compaction {{at}} --mib {mib} --record-bytes {bytes} --seconds {seconds} \
                 --segment-bytes {segments}"
            );
            let comparison = Comparison {
                id: format!("compaction-{bytes}"),
                title: format!("compaction of {mib} MiB with values of {name}"),
                lanes: vec![
                    Lane::kafka("", command.clone()),
                    Lane::millrace("", command).over(&[0]),
                ],
                rows: vec![
                    Row::new("alone: compacted", "MB/s alone"),
                    Row::new("beside: compacted", "MB/s beside producers"),
                    Row::new("alone: cpu per GB", "broker CPU, s per GB"),
                    Row::new("without: p99", "producers' p99 without it, ms"),
                    Row::new("during: p99", "producers' p99 while it runs, ms"),
                    Row::new("p99 during / without", "the second over the first").goal(
                        1,
                        None,
                        AtMost(1.3),
                    ),
                    Row::new(
                        "alone: resident at most",
                        "the broker's memory at most, MiB",
                    ),
                ],
                place: Place::Kept,
                settings: vec![SOON],
            };
            self.take_turns(&brokers, comparison).await?;
        }
        Ok(())
    }
}
