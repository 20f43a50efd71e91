//! acks=1: what a record costs, and how many there are in a second.

use super::Compare;
use super::lanes::{Comparison, Lane, Place};
use super::table::Bound::{AtLeast, AtMost};
use super::table::Row;

/// Records of 1 KiB in batches of 1 MB.
const LARGE: &str = "--acks 1 --record-bytes 1024 --batch-bytes 1000000";
/// Records of 100 B in what a default client's `batch.size` of 16 KiB holds of them.
const SMALL: &str = "--acks 1 --record-bytes 100 --batch-bytes 15000";
/// Half of each value repeats: what a codec finds in most payloads.
const COMPRESSED: &str = "--acks 1 --record-bytes 1024 --batch-bytes 1000000 --repeat-share 0.5";
/// Six partitions and three connections.
const SIX: &str = "--partitions 6 --connections 3 --record-bytes 1024 --batch-bytes 100000";

/// Acknowledged from the page cache, as with Kafka: the device is nobody's limit.
pub(super) const PAGE_CACHE: &str = "--topic-config durability=page-cache";
/// Makes Kafka sync each batch before it answers.
pub(super) const FLUSHED: &str = "--topic-config flush.messages=1";

pub(super) const CPU: &str = "broker cpu per million";
pub(super) const RATE: &str = "records per second";

/// A load of so many records in a shape.
pub(super) fn load(shape: &str, records: usize) -> String {
    format!("load {{at}} --topic {{topic}} {shape} --records {records}")
}

/// The same, the clock starting behind its first so many records: a partition's first batch costs what no
/// later one does.
pub(super) fn load_behind(first_records: usize, shape: &str, records: usize) -> String {
    format!("{} --warmup-records {first_records}", load(shape, records))
}

/// What the machine needs for batches of so many bytes on the wire.
pub(super) fn floor(work: &str, batch_bytes: usize, record_bytes: usize, records: usize) -> String {
    let batches = (records * record_bytes).div_ceil(batch_bytes);
    format!(
        "floor --dir {{dir}} --passes 1 --work {work} --batch-bytes {batch_bytes} \
         --batches {batches} --record-bytes {record_bytes}"
    )
}

/// Rows of every load.
pub(super) fn beside_rows() -> Vec<Row> {
    vec![
        Row::new("latency p50", "latency p50, ms"),
        Row::new("latency p99", "latency p99, ms"),
        Row::new(
            "client cpu per million",
            "the client's CPU, s per million records",
        ),
        Row::new("broker peak resident", "the broker's peak memory, MiB"),
    ]
}

impl Compare<'_> {
    pub(super) async fn large_batches(&mut self) -> Result<(), String> {
        let records = self.size.of(2_000_000, 300_000, 2000);
        let lanes = vec![
            Lane::machine(
                "receive, crc, write",
                floor("write", 1_000_000, 1024, records),
            ),
            Lane::machine(
                "receive, crc, write, sync",
                floor("write-sync", 1_000_000, 1024, records),
            ),
            Lane::kafka("", load(LARGE, records)),
            Lane::millrace(
                "page-cache",
                load(&format!("{LARGE} {PAGE_CACHE}"), records),
            )
            .over(&[2, 0]),
            Lane::millrace("fsync", load(LARGE, records)).over(&[2, 1]),
        ];
        let mut rows = vec![
            Row::new(CPU, "broker CPU, s per million records of 1 KiB")
                .goal(3, Some(0), AtMost(1.4))
                .goal(3, Some(2), AtMost(0.33))
                .goal(4, Some(1), AtMost(1.4)),
            Row::new(RATE, "records a second"),
        ];
        rows.extend(beside_rows());
        let warm = self.warming(LARGE);
        let comparison = Comparison {
            id: "p1".to_owned(),
            title: "acks=1, batches of 1 MB, one partition, one connection".to_owned(),
            lanes,
            rows,
            place: Place::Kept,
            settings: Vec::new(),
        };
        self.compare(comparison, Some(&warm)).await
    }

    pub(super) async fn small_records(&mut self) -> Result<(), String> {
        let records = self.size.of(10_000_000, 1_500_000, 10_000);
        // On the wire a record of 100 B takes 107.
        let lanes = vec![
            Lane::machine("receive, crc, write", floor("write", 16_050, 107, records)),
            Lane::kafka("", load(SMALL, records)),
            Lane::millrace(
                "page-cache",
                load(&format!("{SMALL} {PAGE_CACHE}"), records),
            )
            .over(&[1, 0]),
            Lane::millrace("fsync", load(SMALL, records)).over(&[1, 0]),
        ];
        let mut rows = vec![
            Row::new(CPU, "broker CPU, s per million records of 100 B").goal(2, None, AtMost(0.12)),
            Row::new(RATE, "records a second"),
        ];
        rows.extend(beside_rows());
        let warm = self.warming(SMALL);
        let comparison = Comparison {
            id: "p1s".to_owned(),
            title: "acks=1, records of 100 B, batches of 16 KB".to_owned(),
            lanes,
            rows,
            place: Place::Kept,
            settings: Vec::new(),
        };
        self.compare(comparison, Some(&warm)).await
    }

    pub(super) async fn compressed(&mut self) -> Result<(), String> {
        let records = self.size.of(1_000_000, 200_000, 2000);
        let (mut lanes, mut cpu) = (
            Vec::new(),
            Row::new(CPU, "broker CPU, s per million records of 1 KiB"),
        );
        for codec in ["lz4", "zstd"] {
            let shape = format!("{COMPRESSED} --codec {codec}");
            let ours = format!("{shape} {PAGE_CACHE}");
            let kafka = lanes.len();
            lanes.push(Lane::kafka(codec, load(&shape, records)));
            let full = format!("{codec}, full validation");
            lanes.push(Lane::millrace(&full, load(&ours, records)).over(&[kafka]));
            let header = format!("{ours} --topic-config record.validation=header");
            let named = format!("{codec}, record.validation=header");
            lanes.push(Lane::millrace(&named, load(&header, records)).over(&[kafka]));
            cpu = cpu.goal(kafka + 1, Some(kafka), AtMost(0.5)).goal(
                kafka + 2,
                Some(kafka),
                AtMost(0.5),
            );
        }
        let mut rows = vec![cpu, Row::new(RATE, "records a second")];
        rows.extend(beside_rows());
        let warm = self.warming(&format!("{COMPRESSED} --codec lz4"));
        let comparison = Comparison {
            id: "p1z".to_owned(),
            title: "acks=1, compressed batches of 1 MB, half of each value repeats".to_owned(),
            lanes,
            rows,
            place: Place::Kept,
            settings: Vec::new(),
        };
        self.compare(comparison, Some(&warm)).await
    }

    pub(super) async fn six_partitions(&mut self) -> Result<(), String> {
        let records = self.size.of(2_000_000, 300_000, 2000);
        let unsynced = format!("--acks 1 {SIX}");
        let synced = format!("--acks all {SIX}");
        let lanes = vec![
            Lane::machine(
                "receive, crc, write",
                floor("write", 100_000, 1024, records),
            ),
            Lane::machine(
                "receive, crc, write, sync",
                floor("write-sync", 100_000, 1024, records),
            ),
            Lane::kafka("acks=1", load(&unsynced, records)),
            Lane::kafka("acks=all, flush.messages=1", {
                load(&format!("{synced} {FLUSHED}"), records / 4)
            }),
            Lane::millrace("acks=1, page-cache", {
                load(&format!("{unsynced} {PAGE_CACHE}"), records)
            })
            .over(&[2, 0]),
            Lane::millrace("acks=all, fsync", load(&synced, records)).over(&[3, 1]),
        ];
        let mut rows = vec![
            Row::new(RATE, "records of 1 KiB a second")
                .goal(4, Some(2), AtLeast(2.0))
                .goal(4, Some(0), AtLeast(0.8))
                .goal(5, Some(3), AtLeast(2.0))
                .goal(5, Some(1), AtLeast(0.8)),
            Row::new(CPU, "broker CPU, s per million records"),
        ];
        rows.extend(beside_rows());
        let warm = self.warming(&unsynced);
        let comparison = Comparison {
            id: "p2".to_owned(),
            title: "six partitions, three connections, batches of 100 KB".to_owned(),
            lanes,
            rows,
            place: Place::Kept,
            settings: Vec::new(),
        };
        self.compare(comparison, Some(&warm)).await
    }
}
