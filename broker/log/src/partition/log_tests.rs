//! Append, read, roll, reopen, against a model that keeps every batch in memory.

use bytes::Bytes;
use millrace_protocol::producer::{ProducerBatch, ProducerEntry};
use millrace_protocol::records::{BatchBuilder, BatchHeader, Options, Scratch};
use proptest::prelude::*;

use super::*;
use crate::fixture::{Fixture, Seen};
use crate::segment::Kind;
use crate::segment::index::Source;
use crate::testing::{BatchSpec, batch};

pub(super) fn small() -> LogSettings {
    LogSettings {
        segment_bytes: 900,
        index_interval_bytes: 150,
        ..LogSettings::default()
    }
}

/// Appends what `spec` describes, as a client's batch that gets its offset here.
pub(super) fn append(log: &mut PartitionLog, spec: BatchSpec) -> Vec<u8> {
    let base_offset = log.log_end();
    append_at(
        log,
        BatchSpec {
            base_offset,
            ..spec
        },
    )
}

fn append_at(log: &mut PartitionLog, spec: BatchSpec) -> Vec<u8> {
    let appended = try_append(log, spec).unwrap();
    assert_eq!(
        appended.next_offset,
        spec.base_offset + i64::from(spec.records)
    );
    batch(&spec)
}

pub(crate) fn try_append(log: &mut PartitionLog, spec: BatchSpec) -> Result<Appended, AppendError> {
    let received = Bytes::from(batch(&BatchSpec {
        base_offset: 0,
        epoch: -1,
        ..spec
    }));
    let header = BatchHeader::parse(&received).unwrap();
    log.append(Append {
        bytes: &received,
        header: &header,
        base_offset: spec.base_offset,
        leader_epoch: spec.epoch,
        urgent: true,
        now_wall_ms: 0,
    })
}

/// The bytes of a region, read as a sender would.
pub(super) async fn bytes_of(read: &Read) -> Vec<u8> {
    match read {
        Read::Region(region) => {
            let slice = &region.slice;
            let len = usize::try_from(slice.len).unwrap();
            let bytes = slice.file.read_at(slice.offset, len).await.unwrap();
            assert_eq!(bytes.len(), len, "a promised region is whole");
            bytes.to_vec()
        }
        Read::Empty | Read::OutOfRange { .. } => Vec::new(),
    }
}

/// Reads the whole log the way a consumer does: batch after batch, whatever cuts regions short.
pub(crate) async fn read_all(reader: &LogReader, max_bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = reader.log_start();
    loop {
        let read = reader.read(at, i64::MAX, max_bytes, true).await.unwrap();
        let bytes = bytes_of(&read).await;
        if bytes.is_empty() {
            return out;
        }
        let mut rest = &bytes[..];
        while let Ok(header) = BatchHeader::parse(rest) {
            if header.size() > rest.len() {
                break;
            }
            out.extend_from_slice(&rest[..header.size()]);
            at = header.last_offset() + 1;
            rest = &rest[header.size()..];
        }
    }
}

/// Waits until everything written is durable in the segments and the ledger knows it.
pub(super) async fn settle(log: &PartitionLog) {
    log.flush.settle().await.unwrap();
    log.flush.mark_now(Mark::HighWatermark(0)).await.unwrap();
}

#[tokio::test]
async fn a_partition_that_was_never_written_leaves_no_trace() {
    let fixture = Fixture::new().await;
    let mut opened = fixture.open(LogSettings::default()).await;
    assert_eq!(
        (opened.log_start, opened.log_end, opened.flushed),
        (0, 0, 0)
    );
    opened.log.begin_epoch(3, 0);
    opened.log.set_high_watermark(0);
    assert!(matches!(
        opened.log.reader().read(0, 0, 100, true).await.unwrap(),
        Read::Empty
    ));
    opened.log.close().await.unwrap();
    assert!(!fixture.partition_dir().exists());
    assert!(fixture.dir.entry(&crate::fixture::INCARNATION).is_none());
}

#[tokio::test]
async fn the_first_append_makes_kafkas_files() {
    let fixture = Fixture::new().await;
    let mut log = fixture.open(LogSettings::default()).await.log;
    log.begin_epoch(5, 0);
    let stored = append(
        &mut log,
        BatchSpec {
            epoch: 5,
            records: 3,
            ..BatchSpec::default()
        },
    );
    let dir = fixture.partition_dir();
    assert_eq!(
        std::fs::read(dir.join("00000000000000000000.log")).unwrap(),
        stored
    );
    let identity = std::fs::read_to_string(dir.join("partition.metadata")).unwrap();
    assert_eq!(identity, "version: 0\ntopic_id: BwcHBwcHBwcHBwcHBwcHBw\n");
    log.close().await.unwrap();
    let epochs = std::fs::read_to_string(dir.join("leader-epoch-checkpoint")).unwrap();
    assert_eq!(epochs, "0\n1\n5 0\n");
}

#[tokio::test]
async fn an_append_that_does_not_continue_the_log_is_refused() {
    let fixture = Fixture::new().await;
    let mut log = fixture.open(LogSettings::default()).await.log;
    append(
        &mut log,
        BatchSpec {
            records: 5,
            ..BatchSpec::default()
        },
    );
    let received = Bytes::from(batch(&BatchSpec::default()));
    let header = BatchHeader::parse(&received).unwrap();
    let back = Append {
        bytes: &received,
        header: &header,
        base_offset: 4,
        leader_epoch: 0,
        urgent: true,
        now_wall_ms: 0,
    };
    assert!(matches!(log.append(back), Err(AppendError::Failed(_))));
    let cut = received.slice(..received.len() - 1);
    assert!(
        log.append(Append {
            bytes: &cut,
            base_offset: 5,
            ..back
        })
        .is_err()
    );
    assert_eq!(log.log_end(), 5);
}

#[tokio::test]
async fn segments_roll_by_size_time_and_index() {
    let fixture = Fixture::new().await;
    let one = batch(&BatchSpec::default()).len() as u64;
    let base = LogSettings {
        index_interval_bytes: 0,
        ..LogSettings::default()
    };
    let bases = |log: &PartitionLog| -> Vec<i64> {
        log.reader()
            .list()
            .all()
            .iter()
            .map(|segment| segment.base())
            .collect()
    };
    let mut log = fixture
        .open(LogSettings {
            segment_bytes: 2 * one,
            ..base
        })
        .await
        .log;
    for _ in 0..5 {
        append(&mut log, BatchSpec::default());
    }
    assert_eq!(bases(&log), [0, 2, 4]);
    // By time: the span between the first batch's timestamp and the new one's.
    log.configure(LogSettings {
        segment_ms: 100,
        ..base
    });
    append(
        &mut log,
        BatchSpec {
            timestamp: 1_100,
            ..BatchSpec::default()
        },
    );
    assert_eq!(bases(&log), [0, 2, 4]);
    append(
        &mut log,
        BatchSpec {
            timestamp: 1_101,
            ..BatchSpec::default()
        },
    );
    assert_eq!(bases(&log), [0, 2, 4, 6]);
    // By a full index: four entries fit, and the first batch has none.
    log.configure(LogSettings {
        segment_index_bytes: 36,
        ..base
    });
    for _ in 0..5 {
        append(
            &mut log,
            BatchSpec {
                timestamp: 1_101,
                ..BatchSpec::default()
            },
        );
    }
    assert_eq!(bases(&log), [0, 2, 4, 6, 11]);
    // By the width of a relative offset.
    log.configure(base);
    append_at(
        &mut log,
        BatchSpec {
            base_offset: 12 + (1 << 31),
            ..BatchSpec::default()
        },
    );
    assert_eq!(bases(&log), [0, 2, 4, 6, 11, 12 + (1 << 31)]);
}

#[tokio::test]
async fn offsets_may_be_missing_only_in_segments_that_say_so() {
    let fixture = Fixture::new().await;
    let mut log = fixture.open(LogSettings::default()).await.log;
    let mut stored = append(&mut log, BatchSpec::default());
    stored.extend(append_at(
        &mut log,
        BatchSpec {
            base_offset: 10,
            ..BatchSpec::default()
        },
    ));
    stored.extend(append_at(
        &mut log,
        BatchSpec {
            base_offset: 20,
            ..BatchSpec::default()
        },
    ));
    let holes: Vec<(i64, bool)> = log
        .reader()
        .list()
        .all()
        .iter()
        .map(|segment| (segment.base(), segment.holes()))
        .collect();
    assert_eq!(holes, [(0, false), (10, true)]);
    let reader = log.reader();
    assert_eq!(read_all(&reader, 1 << 20).await, stored);
    // An offset in a hole leads to the next batch.
    let Read::Region(region) = reader.read(15, 21, 1000, true).await.unwrap() else {
        panic!("a batch lies behind the hole");
    };
    assert_eq!(region.first_offset, 20);
    assert!(matches!(
        reader.read(5, 10, 1000, true).await.unwrap(),
        Read::Empty
    ));
    // The chain holds for recovery too. Which segment says so must be durable: a kill before its
    // mark leaves a file that doesn't follow, and nobody takes it in (R6).
    settle(&log).await;
    drop(log);
    let fixture = fixture.restart().await;
    let reopened = fixture.open(LogSettings::default()).await;
    assert_eq!(read_all(&reopened.log.reader(), 1 << 20).await, stored);
}

#[tokio::test]
async fn a_read_never_reaches_the_bound_and_gives_one_batch_when_asked() {
    let fixture = Fixture::new().await;
    let mut log = fixture.open(LogSettings::default()).await.log;
    let first = append(
        &mut log,
        BatchSpec {
            records: 4,
            ..BatchSpec::default()
        },
    );
    let second = append(
        &mut log,
        BatchSpec {
            records: 2,
            ..BatchSpec::default()
        },
    );
    append(&mut log, BatchSpec::default());
    let reader = log.reader();
    let all = [first.clone(), second].concat();
    assert_eq!(
        bytes_of(&reader.read(0, 6, 1 << 20, true).await.unwrap()).await,
        all
    );
    assert_eq!(
        bytes_of(&reader.read(3, 4, 1 << 20, true).await.unwrap()).await,
        first
    );
    assert_eq!(
        bytes_of(&reader.read(2, 6, 10, true).await.unwrap()).await,
        first
    );
    assert!(matches!(
        reader.read(2, 6, 10, false).await.unwrap(),
        Read::Empty
    ));
    // Behind a first whole batch the reply may end anywhere.
    let cut = first.len() + 7;
    assert_eq!(
        bytes_of(&reader.read(0, 7, cut, false).await.unwrap()).await,
        all[..cut]
    );
    assert!(matches!(
        reader.read(7, 7, 10, true).await.unwrap(),
        Read::Empty
    ));
    assert!(matches!(
        reader.read(8, 9, 10, true).await.unwrap(),
        Read::OutOfRange {
            log_start: 0,
            log_end: 7
        }
    ));
    assert!(matches!(
        reader.read(-1, 9, 10, true).await.unwrap(),
        Read::OutOfRange { .. }
    ));
}

#[tokio::test]
async fn a_closed_log_opens_without_replay_behind_its_last_snapshot() {
    let fixture = Fixture::new().await;
    let mut log = fixture.open(small()).await.log;
    for _ in 0..30 {
        append(
            &mut log,
            BatchSpec {
                producer_id: 4,
                base_sequence: 1,
                ..BatchSpec::default()
            },
        );
    }
    let entry = ProducerEntry {
        producer_id: 4,
        producer_epoch: 0,
        coordinator_epoch: -1,
        open_txn_first_offset: None,
        last_seen_ms: 1000,
        batches: vec![ProducerBatch {
            first_sequence: 1,
            last_sequence: 1,
            last_offset: 29,
            offset_delta: 0,
            timestamp_ms: 1000,
        }],
    };
    log.write_snapshot(30, std::slice::from_ref(&entry));
    let stored = read_all(&log.reader(), 1 << 20).await;
    log.close().await.unwrap();
    assert!(
        fixture
            .partition_dir()
            .join("00000000000000000030.snapshot")
            .exists()
    );
    drop(log);
    let fixture = fixture.restart().await;
    let (opened, seen) = fixture.try_open(small()).await.unwrap();
    assert_eq!(seen.producers, [entry]);
    assert!(seen.batches.is_empty());
    assert_eq!(read_all(&opened.log.reader(), 300).await, stored);
}

#[tokio::test]
async fn closes_and_kills_leave_two_snapshots_at_most() {
    let mut fixture = Fixture::new().await;
    for round in 0..12 {
        let mut log = fixture.open(small()).await.log;
        append(&mut log, BatchSpec::default());
        let offset = log.log_end();
        let entry = ProducerEntry {
            producer_id: 4,
            producer_epoch: 0,
            coordinator_epoch: -1,
            open_txn_first_offset: None,
            last_seen_ms: 1000,
            batches: Vec::new(),
        };
        log.write_snapshot(offset, &[entry]);
        let closed = round % 3 != 1;
        if closed {
            log.close().await.unwrap();
            let names = fixture.names().await;
            let of = |suffix| names.iter().filter(|name| name.ends_with(suffix)).count();
            assert!(of(".producers") <= 2 && of(".snapshot") <= 2, "{names:?}");
            assert!(names.contains(&format!("{offset:020}.producers")));
        }
        drop(log);
        fixture = fixture.restart().await;
    }
}

#[tokio::test]
async fn a_log_that_was_not_closed_replays_what_lies_behind_the_snapshot() {
    let fixture = Fixture::new().await;
    let mut log = fixture.open(small()).await.log;
    for at in 0..20 {
        append(&mut log, BatchSpec::default());
        if at == 9 {
            log.write_snapshot(10, &[]);
        }
        fixture.durable(&log).await;
    }
    settle(&log).await;
    drop(log);
    let fixture = fixture.restart().await;
    let (_, Seen { producers, batches }) = fixture.try_open(small()).await.unwrap();
    assert!(producers.is_empty());
    let bases: Vec<i64> = batches.iter().map(|header| header.base_offset).collect();
    assert_eq!(bases, (10..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_change_of_durability_proves_what_was_written_and_keeps_cuts_out() {
    let page_cache = LogSettings {
        durability: Durability::PageCache,
        ..small()
    };
    let fixture = Fixture::new().await;
    let mut log = fixture.open(page_cache).await.log;
    for _ in 0..20 {
        append(&mut log, BatchSpec::default());
    }
    log.configure(small());
    let switch = log.begin_switch().unwrap();
    assert!(log.begin_switch().is_none(), "one at a time");
    let plan = log.reader().plan_truncation(15).await.unwrap().unwrap();
    assert!(log.begin_truncation(plan).is_err());
    let outcome = switch.run().await;
    assert_eq!(log.durability(), Durability::PageCache);
    log.finish_switch(outcome).unwrap().await.unwrap();
    assert_eq!((log.flushed(), log.durability()), (20, Durability::Fsync));
    let cut = log.begin_truncation(plan).unwrap().run().await;
    log.finish_truncation(cut).unwrap();
    append(&mut log, BatchSpec::default());
    fixture.durable(&log).await;
    drop(log);
    let fixture = fixture.restart().await;
    let (_, seen) = fixture.try_open(small()).await.unwrap();
    assert_eq!(seen.batches.len(), 16);
    let entry = fixture.dir.entry(&crate::fixture::INCARNATION);
    assert_eq!(entry.unwrap().mode, Durability::Fsync);
}

#[tokio::test]
async fn a_damaged_log_keeps_its_durability() {
    let page_cache = LogSettings {
        durability: Durability::PageCache,
        ..LogSettings::default()
    };
    let fixture = Fixture::new().await;
    let mut log = fixture.open(page_cache).await.log;
    for _ in 0..3 {
        append(&mut log, BatchSpec::default());
    }
    let name = "00000000000000000000.log";
    let mut bytes = fixture.read(name);
    bytes[70] ^= 1;
    fixture.write(name, &bytes);
    log.configure(LogSettings::default());
    let outcome = log.begin_switch().unwrap().run().await;
    assert!(matches!(outcome, Err(Error::PartitionOffline { .. })));
    assert!(log.finish_switch(outcome).is_err());
    assert_eq!(log.durability(), Durability::PageCache);
    append(&mut log, BatchSpec::default());
}

#[tokio::test]
async fn a_damaged_index_is_found_and_built_anew() {
    let settings = LogSettings {
        segment_bytes: 4000,
        ..small()
    };
    // The low byte of the relative offset, in entries of that length.
    for (suffix, at, entry_len) in [("index", 3, 8), ("timeindex", 11, 12)] {
        for damage in 0..4 {
            let fixture = Fixture::new().await;
            let mut log = fixture.open(settings).await.log;
            for at in 0..80 {
                append(
                    &mut log,
                    BatchSpec {
                        timestamp: 1000 + at,
                        ..BatchSpec::default()
                    },
                );
            }
            log.close().await.unwrap();
            drop(log);
            let path = fixture.partition_dir().join(format!("{:020}.{suffix}", 0));
            let whole = std::fs::read(&path).unwrap();
            let mut bytes = whole.clone();
            match damage {
                0 => bytes.fill(0),
                1 => bytes.iter_mut().for_each(|byte| *byte ^= 0x55),
                2 => bytes.truncate(whole.len() - 1),
                _ => bytes
                    .iter_mut()
                    .skip(at)
                    .step_by(entry_len)
                    .for_each(|byte| *byte ^= 1),
            }
            std::fs::write(&path, &bytes).unwrap();
            let fixture = fixture.restart().await;
            let reader = fixture.open(settings).await.log.reader();
            let mut scratch = Scratch::new(1 << 20);
            for offset in 0..80 {
                let found = reader.read(offset, 80, 1, true).await.unwrap();
                assert!(matches!(&found, Read::Region(region) if region.first_offset == offset));
                let timed = reader
                    .offset_for_timestamp(1000 + offset, 80, &mut scratch)
                    .await;
                assert_eq!(timed.unwrap().unwrap().offset, offset, "{suffix} {damage}");
            }
            // Times that all lie too late only make every scan begin at the front.
            if (suffix, damage) != ("timeindex", 1) {
                let rebuilt = fixture.partitions.handles().indexes_rebuilt();
                assert!(rebuilt > 0, "{suffix} {damage}");
                assert_eq!(std::fs::read(&path).unwrap(), whole, "{suffix} {damage}");
            }
        }
    }
}

#[tokio::test]
async fn timestamps_lead_to_records_not_batches() {
    let fixture = Fixture::new().await;
    let mut log = fixture.open(small()).await.log;
    for at in 0..40 {
        // Records of batch i have the timestamps 10 i, 10 i + 1, 10 i + 2.
        let spec = BatchSpec {
            timestamp: 10 * at,
            records: 3,
            epoch: 2,
            ..BatchSpec::default()
        };
        append(&mut log, spec);
    }
    let reader = log.reader();
    let mut scratch = Scratch::new(1 << 20);
    for wanted in 0..400 {
        let found = reader
            .offset_for_timestamp(wanted, 120, &mut scratch)
            .await
            .unwrap();
        let model = (0..120).find(|offset| 10 * (offset / 3) + offset % 3 >= wanted);
        assert_eq!(found.map(|found| found.offset), model, "{wanted}");
    }
    let bounded = reader
        .offset_for_timestamp(100, 30, &mut scratch)
        .await
        .unwrap();
    assert_eq!(bounded, None);
    let last = reader
        .max_timestamp_offset(120, &mut scratch)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (last.offset, last.timestamp, last.leader_epoch),
        (119, 392, 2)
    );
    let bounded = reader
        .max_timestamp_offset(60, &mut scratch)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((bounded.offset, bounded.timestamp), (59, 192));
}

#[tokio::test]
async fn after_a_kill_look_ups_by_time_meet_what_the_index_had_not_told_yet() {
    let at = |timestamp| BatchSpec {
        timestamp,
        ..BatchSpec::default()
    };
    let settings = LogSettings {
        index_interval_bytes: 150,
        ..LogSettings::default()
    };
    for before in 1..8 {
        let fixture = Fixture::new().await;
        let mut log = fixture.open(settings).await.log;
        for number in 0..before {
            append(&mut log, at(100 * number));
        }
        // The latest time of all, maybe between two entries of the index.
        append(&mut log, at(5_000));
        settle(&log).await;
        drop(log);
        let fixture = fixture.restart().await;
        let mut log = fixture.open(settings).await.log;
        for number in 0..10 {
            append(&mut log, at(2_000 + number));
        }
        let mut scratch = Scratch::new(1 << 20);
        let reader = log.reader();
        let found = reader.offset_for_timestamp(4_000, before + 11, &mut scratch);
        let found = found.await.unwrap().map(|found| found.offset);
        assert_eq!(found, Some(before), "{before} batches before");
    }
}

#[tokio::test]
async fn behind_a_clean_stop_of_a_life_after_a_kill_the_time_index_claims_nothing_false() {
    let at = |timestamp| BatchSpec {
        timestamp,
        ..BatchSpec::default()
    };
    let settings = LogSettings {
        index_interval_bytes: 150,
        ..LogSettings::default()
    };
    for before in 3..8 {
        let fixture = Fixture::new().await;
        let mut log = fixture.open(settings).await.log;
        for number in 0..before {
            append(&mut log, at(100 * number));
        }
        settle(&log).await;
        drop(log);
        let fixture = fixture.restart().await;
        let mut log = fixture.open(settings).await.log;
        // This start does not know the largest time; nothing of its life is indexed by time.
        append(&mut log, at(5_000));
        log.close().await.unwrap();
        drop(log);
        let fixture = fixture.restart().await;
        let mut log = fixture.open(settings).await.log;
        for number in 0..10 {
            append(&mut log, at(2_000 + number));
        }
        append(&mut log, at(9_000));
        let mut scratch = Scratch::new(1 << 20);
        let reader = log.reader();
        let found = reader.offset_for_timestamp(4_000, before + 12, &mut scratch);
        let found = found.await.unwrap().map(|found| found.offset);
        assert_eq!(found, Some(before), "{before} batches before");
    }
}

/// Appends one batch of records with these times.
fn append_timed(log: &mut PartitionLog, timestamps: &[i64]) {
    let base_offset = log.log_end();
    let mut builder = BatchBuilder::new(Options::default());
    for timestamp in timestamps {
        builder.push(*timestamp, None, Some(b"v"), &[]).unwrap();
    }
    let bytes = builder.build();
    let appended = log.append(Append {
        bytes: &bytes,
        header: &BatchHeader::parse(&bytes).unwrap(),
        base_offset,
        leader_epoch: 0,
        urgent: true,
        now_wall_ms: 0,
    });
    appended.unwrap();
}

#[tokio::test]
async fn the_greatest_time_is_that_of_a_record_behind_the_log_start() {
    for (behind, expected) in [(70, (1, 100)), (200, (3, 200))] {
        let fixture = Fixture::new().await;
        let mut log = fixture.open(LogSettings::default()).await.log;
        append_timed(&mut log, &[900, 100, 50]);
        append_timed(&mut log, &[behind]);
        fixture.durable(&log).await;
        log.cover_start(1, Vec::new).await.unwrap();
        log.advance_log_start(1).unwrap().await.unwrap();
        log.finish_log_start(1).run().await.unwrap();
        let mut scratch = Scratch::new(1 << 20);
        let reader = log.reader();
        let found = reader.max_timestamp_offset(4, &mut scratch).await.unwrap();
        let found = found.map(|found| (found.offset, found.timestamp));
        assert_eq!(found, Some(expected), "{behind}");
    }
}

#[tokio::test]
async fn idle_segments_are_closed_past_the_limit_and_open_again() {
    let mut fixture = Fixture::new().await;
    let options = PartitionOptions {
        open_segments_max: 2,
        ..PartitionOptions::default()
    };
    fixture.partitions = Partitions::new(fixture.dir.clone(), fixture.host.clone(), options);
    let mut log = fixture.open(small()).await.log;
    let mut stored = Vec::new();
    for _ in 0..60 {
        stored.extend(append(&mut log, BatchSpec::default()));
    }
    settle(&log).await;
    let reader = log.reader();
    assert!(reader.list().all().len() > 4);
    for _ in 0..3 {
        assert_eq!(read_all(&reader, 500).await, stored);
        assert!(fixture.partitions.handles().open_segments() <= 2);
    }
}

/// So that partitions which are written and looked up are bounded by their log files.
#[tokio::test]
async fn looking_up_a_growing_index_keeps_no_descriptor() {
    let fixture = Fixture::new().await;
    let mut log = fixture.open(small()).await.log;
    let disk = fixture.host.disk.as_ref();
    for _ in 0..3 {
        append(&mut log, BatchSpec::default());
    }
    let reader = log.reader();
    let growing = Arc::clone(reader.list().active().unwrap());
    growing.write_indexes(disk, true).unwrap();
    let kinds = [Kind::Offsets, Kind::Times];
    for kind in kinds {
        let (source, _) = growing.index(disk, kind).unwrap().unwrap();
        assert!(matches!(source, Source::File(_)), "{kind:?}");
        assert_eq!(growing.descriptors(), 1, "{kind:?}");
    }
    while reader.list().all().len() < 2 {
        append(&mut log, BatchSpec::default());
    }
    for kind in kinds {
        growing.index(disk, kind).unwrap().unwrap();
        assert_eq!(growing.descriptors(), 1, "{kind:?}, rolled");
    }
    // A segment whose names lead elsewhere keeps what it has.
    for _ in 0..3 {
        append(&mut log, BatchSpec::default());
    }
    let last = Arc::clone(reader.list().active().unwrap());
    last.write_indexes(disk, true).unwrap();
    assert!(last.retire(disk).unwrap());
    assert_eq!(last.descriptors(), 3);
}

#[derive(Clone, Debug)]
enum Step {
    Append {
        records: i32,
        payload: usize,
        epoch_up: bool,
        timestamp: i64,
    },
    Read {
        from: f64,
        upto: f64,
        max_bytes: usize,
        min_one: bool,
    },
    Restart {
        clean: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..5, 0_usize..400, any::<bool>(), 0_i64..1000).prop_map(
            |(records, payload, epoch_up, timestamp)| Step::Append {
                records, payload, epoch_up, timestamp
            }
        ),
        6 => (0.0..1.0, 0.0..1.0, 0_usize..2000, any::<bool>()).prop_map(
            |(from, upto, max_bytes, min_one)| Step::Read { from, upto, max_bytes, min_one }
        ),
        1 => any::<bool>().prop_map(|clean| Step::Restart { clean }),
    ]
}

/// Every batch that was appended: (base offset, next offset, stored bytes).
type Model = Vec<(i64, i64, Vec<u8>)>;

fn expected(
    model: &Model,
    from: i64,
    upto: i64,
    max_bytes: usize,
    min_one: bool,
) -> (usize, Vec<u8>) {
    let first = model
        .iter()
        .position(|batch| batch.1 > from)
        .unwrap_or(model.len());
    let visible: Vec<u8> = model[first..]
        .iter()
        .take_while(|batch| batch.0 < upto)
        .flat_map(|batch| batch.2.iter().copied())
        .collect();
    let least = model
        .get(first)
        .filter(|batch| batch.0 < upto)
        .map_or(0, |batch| batch.2.len());
    if least > max_bytes && !min_one {
        return (0, Vec::new());
    }
    let most = max_bytes.max(least).min(visible.len());
    (least, visible[..most].to_vec())
}

async fn play(steps: Vec<Step>) {
    let mut fixture = Fixture::new().await;
    let mut log = fixture.open(small()).await.log;
    let mut model: Model = Vec::new();
    let mut epoch = 0;
    for step in steps {
        let log_end = log.log_end();
        match step {
            Step::Append {
                records,
                payload,
                epoch_up,
                timestamp,
            } => {
                epoch += i32::from(epoch_up);
                let spec = BatchSpec {
                    records,
                    epoch,
                    timestamp,
                    payload,
                    ..BatchSpec::default()
                };
                let stored = append(&mut log, spec);
                model.push((log_end, log.log_end(), stored));
            }
            Step::Read {
                from,
                upto,
                max_bytes,
                min_one,
            } => {
                let from = (from * log_end as f64) as i64;
                let pick = (upto * model.len() as f64) as usize;
                let upto = model.get(pick).map_or(log_end, |batch| batch.0);
                let read = log
                    .reader()
                    .read(from, upto, max_bytes, min_one)
                    .await
                    .unwrap();
                let bytes = bytes_of(&read).await;
                let (least, most) = expected(&model, from, upto, max_bytes, min_one);
                assert!(most.starts_with(&bytes), "from {from} to {upto}");
                assert!(bytes.len() >= least, "from {from} to {upto}");
            }
            Step::Restart { clean } => {
                if clean {
                    log.close().await.unwrap();
                }
                drop(log);
                fixture = fixture.restart().await;
                log = fixture.open(small()).await.log;
                assert_eq!(log.log_end(), log_end);
            }
        }
    }
    let all: Vec<u8> = model
        .iter()
        .flat_map(|batch| batch.2.iter().copied())
        .collect();
    assert_eq!(read_all(&log.reader(), 700).await, all);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_history_reads_like_the_model(steps in prop::collection::vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(steps));
    }
}

#[tokio::test]
async fn nothing_counts_in_a_directory_that_is_not_where_it_was_opened() {
    for (what, len) in [("by the journal", 10), ("by a sync of its file", 40_000)] {
        let fixture = Fixture::new().await;
        let mut opened = fixture.open(LogSettings::default()).await;
        append(&mut opened.log, BatchSpec::default());
        fixture.durable(&opened.log).await;
        let path = fixture.dir.path().clone();
        std::fs::rename(&path, path.with_extension("gone")).unwrap();
        std::fs::create_dir(&path).unwrap();
        let spec = BatchSpec {
            base_offset: 1,
            payload: len,
            ..BatchSpec::default()
        };
        append(&mut opened.log, spec);
        opened.log.flush_now();
        fixture.dir.until_offline().await;
        assert_eq!(opened.log.flushed(), 1, "{what}");
        assert!(opened.log.flush.settle().await.is_err(), "{what}");
    }
    let fixture = Fixture::new().await;
    fixture.dir.look();
    assert_eq!(fixture.dir.offline(), None);
    std::fs::remove_dir_all(fixture.dir.path()).unwrap();
    fixture.dir.look();
    assert!(fixture.dir.offline().is_some(), "idle, too");
}
