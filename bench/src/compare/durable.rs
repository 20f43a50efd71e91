//! acks=all, on stable storage: with many small batches, with large ones, with one record at a time.

use super::Compare;
use super::lanes::{Comparison, Lane, Place};
use super::table::Bound::{AtLeast, AtMost};
use super::table::Row;
use super::throughput::{CPU, FLUSHED, PAGE_CACHE, RATE, beside_rows, floor, load};

/// A hundred partitions, ten records in a batch.
const HUNDRED: &str = "--acks all --partitions 100 --connections 4 --record-bytes 1024 \
                       --batch-records 10";
const LARGE: &str = "--acks all --record-bytes 1024 --batch-bytes 1000000";
const ONE: &str = "--acks all --record-bytes 1024 --batch-records 1 --depth 1 --blocking";

impl Compare<'_> {
    pub(super) async fn hundred_partitions(&mut self) -> Result<(), String> {
        let records = self.size.of(1_000_000, 150_000, 2000);
        let few = self.size.of(10, 5, 2);
        let lanes = vec![
            Lane::machine("receive, crc, write, sync", {
                floor("write-sync", 10_340, 1034, records / few)
            }),
            Lane::kafka("not synced", load(HUNDRED, records)),
            Lane::kafka("flush.messages=1", {
                load(&format!("{HUNDRED} {FLUSHED}"), records / few)
            }),
            Lane::millrace("fsync", load(HUNDRED, records)).over(&[1, 2, 0]),
            Lane::millrace(
                "page-cache",
                load(&format!("{HUNDRED} {PAGE_CACHE}"), records),
            )
            .over(&[1]),
        ];
        let mut rows = vec![
            Row::new(RATE, "records of 1 KiB a second")
                .goal(3, Some(2), AtLeast(10.0))
                .goal(3, Some(1), AtLeast(2.0)),
            Row::new(CPU, "broker CPU, s per million records").goal(3, Some(2), AtMost(0.2)),
        ];
        rows.extend(beside_rows());
        let warm = self.warming(HUNDRED);
        let comparison = Comparison {
            id: "p3".to_owned(),
            title: "acks=all, 100 partitions, batches of ten records, four connections".to_owned(),
            lanes,
            rows,
            place: Place::Kept,
            settings: Vec::new(),
        };
        self.compare(comparison, Some(&warm)).await
    }

    pub(super) async fn durable_large_batches(&mut self) -> Result<(), String> {
        let records = self.size.of(2_000_000, 300_000, 2000);
        let lanes = vec![
            Lane::machine("receive, crc, write, sync", {
                floor("write-sync", 1_000_000, 1024, records)
            }),
            Lane::kafka(
                "flush.messages=1",
                load(&format!("{LARGE} {FLUSHED}"), records),
            ),
            Lane::millrace("fsync", load(LARGE, records)).over(&[1, 0]),
        ];
        let mut rows = vec![
            Row::new("values per second", "MB/s of values").goal(2, Some(0), AtLeast(0.9)),
            Row::new(CPU, "broker CPU, s per million records of 1 KiB"),
        ];
        rows.extend(beside_rows());
        let warm = self.warming(LARGE);
        let comparison = Comparison {
            id: "p3b".to_owned(),
            title: "acks=all, synced, batches of 1 MB, one partition".to_owned(),
            lanes,
            rows,
            place: Place::Kept,
            settings: Vec::new(),
        };
        self.compare(comparison, Some(&warm)).await
    }

    pub(super) async fn one_in_flight(&mut self) -> Result<(), String> {
        let records = self.size.of(20_000, 3000, 20);
        let lanes = vec![
            Lane::machine("echo with write and sync", {
                floor("echo-sync", 1100, 1100, records)
            }),
            Lane::kafka(
                "flush.messages=1",
                load(&format!("{ONE} {FLUSHED}"), records),
            ),
            Lane::millrace("fsync", load(ONE, records)).over(&[1, 0]),
        ];
        let mut rows = vec![
            Row::new(RATE, "records a second").goal(2, Some(0), AtLeast(0.8)),
            Row::new(CPU, "broker CPU, s per million records"),
        ];
        rows.extend(beside_rows());
        // As many requests as three million records of p1 are, and more.
        let warm = format!(
            "load {{at}} --topic {{topic}} {ONE} --records {}",
            self.size.of(20_000, 5000, 10)
        );
        let comparison = Comparison {
            id: "p3c".to_owned(),
            title: "acks=all, synced, one record of 1 KiB in flight".to_owned(),
            lanes,
            rows,
            place: Place::Kept,
            settings: Vec::new(),
        };
        self.compare(comparison, Some(&warm)).await
    }
}
