//! Client libraries: what a record takes of each, against either broker.

use std::path::PathBuf;
use std::process::Stdio;

use super::lanes::{Comparison, Lane, Place};
use super::table::Bound::{AtLeast, AtMost};
use super::table::Row;
use super::throughput::PAGE_CACHE;
use super::{Compare, Size, cargo};

/// Who consumes is one member of a group of its own: it is not to wait for others.
const AT_ONCE: &str = "group.initial.rebalance.delay.ms=0";

impl Compare<'_> {
    pub(super) async fn clients(&mut self) -> Result<(), String> {
        // A smoke has no program of others.
        let others = self.size != Size::Smoke;
        if others && self.programs.librdkafka.is_none() {
            self.programs.librdkafka = Some(librdkafka()?);
        }
        let warm = self.warming("--acks all --batch-records 100 --record-bytes 1024");
        let brokers = self.start(&[AT_ONCE], Some(&warm)).await?;
        for (bytes, partitions) in [(100, 1), (100, 6), (1024, 1), (1024, 6)] {
            for work in ["produce", "consume"] {
                let records = self.size.of(3_000_000, 1_000_000, 1000);
                let records = if bytes > 100 { records / 3 } else { records };
                let of = format!(
                    "--topic {{topic}} --partitions {partitions} --record-bytes {bytes} \
                     --records {records}"
                );
                let comparison = Comparison {
                    id: format!("clients-{work}-{partitions}x{bytes}"),
                    title: format!("clients {work} records of {bytes} B, partitions: {partitions}"),
                    lanes: lanes(work, &of, others),
                    rows: vec![
                        Row::new("client cpu per million", "the client's CPU, s per million").goal(
                            2,
                            Some(0),
                            AtMost(0.7),
                        ),
                        Row::new("records per second", "records a second").goal(
                            2,
                            Some(0),
                            AtLeast(1.5),
                        ),
                        Row::new("broker cpu per million", "broker CPU, s per million"),
                    ],
                    place: Place::Kept,
                    settings: vec![AT_ONCE],
                };
                self.take_turns(&brokers, comparison).await?;
            }
        }
        let rate = self.size.of(50_000, 50_000, 1000);
        let seconds = self.size.of(20, 8, 1);
        let of = format!(
            "--topic {{topic}} --partitions 6 --record-bytes 100 --rate {rate} --records {}",
            rate * seconds
        );
        let comparison = Comparison {
            id: "clients-latency".to_owned(),
            title: format!("clients produce {rate} records of 100 B a second, linger of 5 ms"),
            lanes: lanes("produce", &of, others),
            rows: vec![
                Row::new("latency p99", "from sending to delivery, p99, ms").goal(
                    2,
                    Some(0),
                    AtMost(1.0),
                ),
                Row::new("latency p50", "from sending to delivery, p50, ms"),
                Row::new("records per second", "records a second"),
            ],
            place: Place::Kept,
            settings: vec![AT_ONCE],
        };
        self.take_turns(&brokers, comparison).await
    }
}

/// Every client against Millrace, and those that are quick to start against Kafka.
fn lanes(work: &str, of: &str, others: bool) -> Vec<Lane> {
    let own = format!("client {work} {{at}} {of}");
    let rdkafka = format!("{own} --library librdkafka --program {{librdkafka}}");
    let java = format!("{own} --library java --program {{peer}}");
    // A consumer finds what a load has written; batches as the producers here make them.
    let fill = format!("load {{at}} {of} --acks all --batch-bytes 100000");
    let lane = |lane: Lane| {
        if work == "consume" {
            lane.before(fill.clone())
        } else {
            lane
        }
    };
    let millrace = |client: &str, command: &str| {
        let command = format!("{command} {PAGE_CACHE}");
        lane(Lane::millrace(client, command))
    };
    let ours = millrace("millrace-client", &own);
    if !others {
        return vec![ours];
    }
    vec![
        millrace("librdkafka", &rdkafka),
        millrace("Java", &java).over(&[0]),
        ours.over(&[0]),
        lane(Lane::kafka("librdkafka", rdkafka)),
        lane(Lane::kafka("millrace-client", own)).over(&[3]),
    ]
}

/// librdkafka's perf tool, built where it isn't.
fn librdkafka() -> Result<PathBuf, String> {
    let mut build = cargo();
    build
        .args(["xtask", "librdkafka"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let built = build.output();
    let built = built.map_err(|error| format!("{build:?}: {error}"))?;
    if !built.status.success() {
        return Err(format!("{build:?}: {}", built.status));
    }
    let printed = String::from_utf8_lossy(&built.stdout).into_owned();
    let program = printed.lines().next_back().map(PathBuf::from);
    program.ok_or_else(|| format!("{build:?} printed no program"))
}
