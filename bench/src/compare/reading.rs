//! Readers that catch up, from memory and from the disk, and what producers notice of ten of them.

use super::Compare;
use super::lanes::{Brokers, Comparison, Lane, Place};
use super::table::Bound::{AtLeast, AtMost};
use super::table::Row;

/// The topic that is read; it stays from the first section to the last.
const READ: &str = "read";
/// Ten readers, each of which reads the whole topic at a rate that leaves processors to the rest.
const TEN_READERS: &str = "read {at} --topic read --readers 10 --rate-mb 10 --seconds 600";

impl Compare<'_> {
    pub(super) async fn catching_up(&mut self) -> Result<(), String> {
        let records = self.size.of(1_000_000, 250_000, 2000);
        let fill = format!(
            "load {{at}} --topic {READ} --acks 1 --partitions 4 --record-bytes 1024 \
             --batch-bytes 1000000 --records {records}"
        );
        let warm =
            self.warming("--acks 1 --partitions 4 --record-bytes 1024 --batch-bytes 1000000");
        let brokers = self.start(&[], Some(&warm)).await?;
        for site in brokers.all() {
            self.run(Some(site), &fill, READ)?;
            // What a JVM runs for the first time, and what is in the page cache from here on.
            self.run(Some(site), &format!("read {{at}} --topic {READ}"), READ)?;
        }
        self.reading(&brokers, records, false).await?;
        self.reading(&brokers, records, true).await?;
        self.producers(&brokers).await
    }

    /// One reader, as fast as it can.
    async fn reading(
        &mut self,
        brokers: &Brokers,
        records: usize,
        cold: bool,
    ) -> Result<(), String> {
        let of_machine = format!(
            "floor --dir {{dir}} --passes 1 --work sendfile --batch-bytes 1000000 --batches {}{}",
            (records * 1024).div_ceil(1_000_000),
            if cold { " --cold" } else { "" }
        );
        let read = format!("read {{at}} --topic {READ}");
        let lanes = vec![
            Lane::machine("sendfile", of_machine),
            Lane::kafka("", read.clone()),
            Lane::millrace("", read).over(&[1, 0]),
        ];
        let lanes = lanes.into_iter();
        let comparison = Comparison {
            id: if cold { "p6-cold" } else { "p6-hot" }.to_owned(),
            title: if cold {
                "catch-up of a topic that is on the disk only, one reader, four partitions"
            } else {
                "catch-up of a topic in the page cache, one reader, four partitions"
            }
            .to_owned(),
            lanes: if cold {
                lanes.map(Lane::cold).collect()
            } else {
                lanes.collect()
            },
            rows: vec![
                Row::new("bytes per second", "MB/s").goal(2, Some(0), AtLeast(0.9)),
                Row::new("broker cpu per GB", "broker CPU, s per GB").goal(2, Some(0), AtMost(1.3)),
                Row::new("client cpu per GB", "the client's CPU, s per GB"),
                Row::new("broker peak resident", "the broker's peak memory, MiB"),
            ],
            place: Place::KeptHot,
            settings: Vec::new(),
        };
        self.take_turns(brokers, comparison).await
    }

    /// Producers alone, beside ten hot readers, beside ten cold ones.
    async fn producers(&mut self, brokers: &Brokers) -> Result<(), String> {
        // Ten seconds of it, two, or hardly any.
        let records = self.size.of(300_000, 60_000, 500);
        let produce = format!(
            "load {{at}} --topic {{topic}} --acks all --partitions 10 --connections 2 \
             --record-bytes 1024 --batch-records 10 --rate 20000 --records {records}"
        );
        let mut lanes = Vec::new();
        for (alone, lane) in [
            (0, Lane::kafka as fn(&str, String) -> Lane),
            (3, Lane::millrace as fn(&str, String) -> Lane),
        ] {
            let own = |setting: &str| lane(setting, produce.clone());
            lanes.push(own("no readers"));
            // A cold turn may have been before it.
            let hot = own("ten hot readers").before(format!("read {{at}} --topic {READ}"));
            lanes.push(hot.beside(TEN_READERS).over(&[alone]));
            lanes.push(
                own("ten cold readers")
                    .beside(TEN_READERS)
                    .cold()
                    .over(&[alone]),
            );
        }
        let comparison = Comparison {
            id: "p6-producers".to_owned(),
            title: "producers at 20,000 records a second, acks=all, beside readers at 10 MB/s each"
                .to_owned(),
            lanes,
            rows: vec![
                Row::new("latency p99", "producers' p99, ms")
                    .goal(4, Some(3), AtMost(1.3))
                    .goal(5, Some(3), AtMost(3.0)),
                Row::new("latency p50", "producers' p50, ms"),
                Row::new("latency p99.9", "producers' p99.9, ms"),
                Row::new("sent late p99", "the generator's own lateness, p99, ms"),
            ],
            place: Place::KeptHot,
            settings: Vec::new(),
        };
        self.take_turns(brokers, comparison).await
    }
}
