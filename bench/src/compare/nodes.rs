//! The node as a whole: its memory, its starts, many partitions, groups, compaction.

use super::Compare;
use super::grown::{BATCH_RECORDS, SHAPE};
use super::lanes::{Comparison, Lane, Place};
use super::run::Beside;
use super::site::{Kind, Site};
use super::table::Bound::{AtLeast, AtMost};
use super::table::{Column, Row};
use super::throughput::{CPU, RATE, beside_rows, load, load_behind};
use crate::report::line;

/// What is written while a broker is killed.
const FILL: &str = "--acks 1 --partitions 4 --connections 2 --record-bytes 1024 \
                    --batch-bytes 1000000";
/// At most so many records of 1 KiB at once, so that dirty pages stay below 3 GB.
const PIECE_RECORDS: usize = 2_000_000;
/// How much more there is on the disk when a broker is killed.
const GROWTH_BYTES: u64 = 64 << 20;
/// Looks at the disk until that is given up.
const LOOKS_MAX: usize = 1200;

impl Compare<'_> {
    pub(super) async fn memory(&mut self) -> Result<(), String> {
        let seconds = self.size.of("30", "10", "0.1");
        let idle = format!("hold {{at}} --seconds {seconds}");
        let loaded = {
            let records = self.size.of(2_000_000, 500_000, 2000);
            load(
                "--acks 1 --partitions 6 --connections 3 --record-bytes 1024",
                records,
            )
        };
        let connections = self.size.of(10_000, 10_000, 100);
        let held = format!("hold {{at}} --connections {connections} --seconds {seconds}");
        for (id, title, command, figure, goal) in [
            (
                "p7-idle",
                "nothing asked since the start",
                idle,
                "broker resident",
                15.0,
            ),
            (
                "p7-loaded",
                "under load",
                loaded,
                "broker peak resident",
                64.0,
            ),
            (
                "p7-held",
                "idle connections",
                held,
                "broker resident",
                128.0,
            ),
        ] {
            let comparison = Comparison {
                id: id.to_owned(),
                title: format!("memory: {title}"),
                lanes: vec![
                    Lane::kafka("", command.clone()),
                    Lane::millrace("", command).over(&[0]),
                ],
                rows: vec![
                    Row::new(figure, "resident, MiB").goal(1, None, AtMost(goal)),
                    Row::new("broker cpu, idle", "CPU meanwhile, % of a core"),
                ],
                place: Place::Fresh,
                settings: Vec::new(),
            };
            self.compare(comparison, None).await?;
        }
        Ok(())
    }

    pub(super) async fn first_start(&mut self) -> Result<(), String> {
        let command = "start --bootstrap {address} --topic first -- {command}";
        let comparison = Comparison {
            id: "p8".to_owned(),
            title: "start of the process to its first acknowledged record, empty directory".into(),
            lanes: vec![
                Lane::kafka("", command),
                Lane::millrace("", command).over(&[0]),
            ],
            rows: vec![
                Row::new("start to first ack", "ms").goal(1, None, AtMost(50.0)),
                Row::new("broker peak resident", "peak memory, MiB"),
            ],
            place: Place::NotStarted,
            settings: Vec::new(),
        };
        self.compare(comparison, None).await
    }

    pub(super) async fn killed(&mut self) -> Result<(), String> {
        let sizes = self.size.of([1000, 20_000], [100, 1000], [1, 2]);
        for mb in sizes {
            let mut section = self.section(
                &format!("p9-{mb}"),
                &format!("killed while writing, {mb} MB of log: start to the first ack"),
                vec![
                    Column {
                        label: "Kafka".to_owned(),
                        over: Vec::new(),
                    },
                    Column {
                        label: "Millrace".to_owned(),
                        over: vec![0],
                    },
                ],
                vec![
                    Row::new("start to first ack", "ms").goal(1, None, AtMost(500.0)),
                    Row::new("broker peak resident", "peak memory, MiB"),
                ],
            );
            for turn in 0..self.runs {
                for kind in self.brokers().collect::<Vec<_>>() {
                    line(&format!(
                        "p9, run {} of {}: {kind:?}, {mb} MB",
                        turn + 1,
                        self.runs
                    ));
                    let report = self.killed_once(kind, mb * 1_000_000 / 1024).await?;
                    let column = usize::from(kind == Kind::Millrace);
                    section.add(column, |name| report.get(name).copied());
                }
            }
            self.out.section(section, Vec::new())?;
        }
        Ok(())
    }

    async fn killed_once(
        &mut self,
        kind: Kind,
        records: usize,
    ) -> Result<std::collections::BTreeMap<String, f64>, String> {
        let mut site = Site::new(kind, &self.programs, &[])?;
        site.start(self.host).await?;
        self.fill(&site, "fill", FILL, records)?;
        let more = format!("load {{at}} --topic fill {FILL} --records 100000000");
        let before = site.bytes()?;
        let growth = GROWTH_BYTES / self.size.of(1, 1, 64);
        let writing = Beside::unheard(&self.programs.own, &self.words(Some(&site), &more, "fill"))?;
        let mut looks = 0;
        while site.bytes()? < before + growth {
            looks += 1;
            if looks > LOOKS_MAX {
                return Err("the load writes nothing".to_owned());
            }
            let now = self.host.clock.now().mono;
            let next = now + std::time::Duration::from_millis(50);
            self.host.clock.sleep_until(next).await;
        }
        site.kill()?;
        drop(writing);
        let command = "start --bootstrap {address} --topic fill -- {command}";
        let report = self.run(Some(&site), command, "fill")?;
        Ok(report.figures)
    }

    /// Writes so many records, in pieces that are synced before the next one.
    pub(super) fn fill(
        &mut self,
        site: &Site,
        topic: &str,
        shape: &str,
        records: usize,
    ) -> Result<(), String> {
        let mut left = records;
        while left > 0 {
            let some = left.min(PIECE_RECORDS);
            self.run(Some(site), &load(shape, some), topic)?;
            rustix::fs::sync();
            left -= some;
        }
        Ok(())
    }

    pub(super) async fn many_partitions(&mut self) -> Result<(), String> {
        let (topics, each) = self.size.of((1000, 100), (100, 100), (5, 4));
        let idle_s = self.size.of(20, 5, 0);
        let rows = [
            ("resident, created", "resident, made, MiB"),
            (
                "resident, written and idle",
                "resident, written and idle, MiB",
            ),
            ("processor, idle", "CPU while idle, % of a core"),
            (
                "clean: start to first ack",
                "stopped, cold cache: start to the first ack, s",
            ),
            (
                "after kill -9: start to first ack",
                "killed, cold cache: start to the first ack, s",
            ),
            ("after kill -9: resident", "resident then, MiB"),
        ];
        let goals = [None, Some(512.0), None, Some(3.0), Some(3.0), None];
        let row = |((figure, label), goal): ((&'static str, &str), Option<f64>)| {
            let row = Row::new(figure, label);
            match goal {
                Some(goal) => row.goal(0, None, AtMost(goal)),
                None => row,
            }
        };
        let partitions = topics * each;
        let idle = format!(
            "idle --bootstrap {{address}} --data {{data}} --topics {topics} --partitions {each} \
             --idle-s {idle_s} -- {{command}}"
        );
        let comparison = Comparison {
            id: "p10".to_owned(),
            title: format!("{partitions} partitions of {topics} topics"),
            lanes: vec![Lane::millrace("", idle)],
            rows: rows.into_iter().zip(goals).map(row).collect(),
            place: Place::NotStarted,
            settings: Vec::new(),
        };
        self.compare(comparison, None).await?;
        self.active_partitions(topics, each).await
    }

    /// Throughput to some partitions beside many that nobody asks for.
    async fn active_partitions(&mut self, topics: usize, each: usize) -> Result<(), String> {
        let partitions = topics * each;
        let brokers = self.start(&[], None).await?;
        for site in brokers.all().filter(|site| site.kind == Kind::Millrace) {
            let crowd = format!(
                "topics {{at}} --topics {topics} --partitions {each} --batches 50 --used 1 \
                 --seconds 0 --keep --prefix crowd"
            );
            self.run(Some(site), &crowd, "crowd")?;
        }
        let records = self.size.of(1_000_000, 200_000, 2000);
        let active = self.size.of(1000, 1000, 20);
        let of = |partitions: usize| {
            let shape = format!("{SHAPE} --connections 2 --partitions {partitions}");
            load_behind(active * BATCH_RECORDS, &shape, records)
        };
        let mut rows = vec![
            Row::new(RATE, "records of 1 KiB a second").goal(1, Some(0), AtLeast(0.8)),
            Row::new(CPU, "broker CPU, s per million records"),
        ];
        rows.extend(beside_rows());
        let comparison = Comparison {
            id: "p10-active".to_owned(),
            title: format!("acks=1, batches of 16 KB, beside {partitions} idle partitions"),
            lanes: vec![
                Lane::millrace("10 active", of(10)),
                Lane::millrace(&format!("{active} active"), of(active)).over(&[0]),
            ],
            rows,
            place: Place::Kept,
            settings: Vec::new(),
        };
        self.take_turns(&brokers, comparison).await
    }
}
