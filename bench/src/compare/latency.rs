//! From end to end at a fixed rate, and the set of the `OpenMessaging` benchmark.

use super::Compare;
use super::lanes::{Comparison, Lane, Place};
use super::table::Bound::AtMost;
use super::table::Row;
use super::throughput::{CPU, PAGE_CACHE, RATE, beside_rows, load};

/// Rows of a run at a fixed rate; one synced batch on the bare machine stands for both latencies.
fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (figure, of_machine, label) in [
        ("end to end p50", "latency p50", "end to end p50, ms"),
        ("end to end p99", "latency p99", "end to end p99, ms"),
        ("end to end p99.9", "latency p99.9", "end to end p99.9, ms"),
        ("acknowledged p50", "latency p50", "acknowledged p50, ms"),
        ("acknowledged p99", "latency p99", "acknowledged p99, ms"),
    ] {
        rows.push(Row::new(figure, label).or(of_machine));
    }
    rows.push(Row::new(
        "sent late p99",
        "the generator's own lateness, p99, ms",
    ));
    rows.push(Row::new(CPU, "broker CPU, s per million records"));
    rows
}

impl Compare<'_> {
    pub(super) async fn end_to_end(&mut self) -> Result<(), String> {
        let rate = self.size.of(50_000, 50_000, 1000);
        let (seconds, warmup) = self.size.of(("30", "10"), ("8", "4"), ("0.5", "0.1"));
        let shape = format!(
            "tail {{at}} --topic {{topic}} --rate {rate} --record-bytes 1024 --batch-records 10 \
             --partitions 10 --connections 2 --seconds {seconds} --warmup-seconds {warmup}"
        );
        let echoes = self.size.of(5000, 1000, 10);
        let lanes = vec![
            Lane::machine("echo with write and sync of a batch", {
                format!(
                    "floor --dir {{dir}} --passes 1 --work echo-sync --batch-bytes 10340 \
                     --batches {echoes}"
                )
            }),
            Lane::kafka("not synced", shape.clone()),
            Lane::millrace("fsync", shape.clone()).over(&[1, 0]),
            Lane::millrace("page-cache", format!("{shape} {PAGE_CACHE}")).over(&[1]),
        ];
        let mut all = rows().into_iter();
        let mut rows = vec![
            all.next().map(|row| {
                row.goal_plus(2, Some(0), AtMost(1.5), 0.3)
                    .goal(3, None, AtMost(0.5))
            }),
            all.next().map(|row| {
                row.goal_plus(2, Some(0), AtMost(2.0), 1.0)
                    .goal(3, None, AtMost(2.0))
            }),
            all.next().map(|row| row.goal(3, None, AtMost(8.0))),
        ];
        rows.extend(all.map(Some));
        let comparison = Comparison {
            id: "p4".to_owned(),
            title: format!(
                "end to end at {rate} records of 1 KiB a second, acks=all, batches of ten"
            ),
            lanes,
            rows: rows.into_iter().flatten().collect(),
            place: Place::Kept,
            settings: Vec::new(),
        };
        let warm = self.warming("--acks all --partitions 10 --connections 2 --batch-records 10");
        self.compare(comparison, Some(&warm)).await
    }

    pub(super) async fn open_messaging(&mut self) -> Result<(), String> {
        let warm = self.warming("--acks all --partitions 16 --connections 2 --batch-records 10");
        let brokers = self.start(&[], Some(&warm)).await?;
        for partitions in [1, 16, 100] {
            for (name, bytes) in [("100 B", 100), ("1 KiB", 1024)] {
                let rate = self.size.of(20_000, 20_000, 1000);
                let (seconds, warmup) = self.size.of(("30", "10"), ("5", "2"), ("0.3", "0.1"));
                // One connection to one partition, else two.
                let connections = 2.min(partitions);
                let of = format!(
                    "--partitions {partitions} --connections {connections} --record-bytes {bytes} \
                     --batch-records 10 --acks all"
                );
                let fixed = format!(
                    "tail {{at}} --topic {{topic}} --rate {rate} {of} --seconds {seconds} \
                     --warmup-seconds {warmup}"
                );
                let title = format!("{partitions} partitions, records of {name}");
                let comparison = Comparison {
                    id: format!("omb-{partitions}x{bytes}-fixed"),
                    title: format!("{title}: {rate} a second"),
                    lanes: lanes(&fixed),
                    rows: rows(),
                    place: Place::Kept,
                    settings: Vec::new(),
                };
                self.take_turns(&brokers, comparison).await?;
                let records = self.size.of(1_000_000, 200_000, 1000);
                let mut rows = vec![
                    Row::new(RATE, "records a second"),
                    Row::new(CPU, "broker CPU, s per million records"),
                ];
                rows.extend(beside_rows());
                let comparison = Comparison {
                    id: format!("omb-{partitions}x{bytes}-most"),
                    title: format!("{title}: as many as go"),
                    lanes: lanes(&load(&of, records)),
                    rows,
                    place: Place::Kept,
                    settings: Vec::new(),
                };
                self.take_turns(&brokers, comparison).await?;
            }
        }
        Ok(())
    }
}

fn lanes(command: &str) -> Vec<Lane> {
    vec![
        Lane::kafka("not synced", command),
        Lane::millrace("fsync", command).over(&[0]),
        Lane::millrace("page-cache", format!("{command} {PAGE_CACHE}")).over(&[0]),
    ]
}
