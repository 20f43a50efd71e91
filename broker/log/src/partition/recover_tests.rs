//! What recovery does with each kind of damage (`durability.md` R4 to R6), rule by rule.

use super::log_tests::{append, bytes_of, read_all, settle, small, try_append};
use super::*;
use crate::fixture::{Fixture, INCARNATION};
use crate::mark::Mark;
use crate::testing::{BatchSpec, batch};

const FIRST: &str = "00000000000000000000.log";

/// A log of ten one-record batches in one segment, killed; its bytes.
async fn ten() -> (Fixture, Vec<u8>) {
    let fixture = Fixture::new().await;
    let mut log = fixture.open(LogSettings::default()).await.log;
    let mut stored = Vec::new();
    for _ in 0..10 {
        stored.extend(append(&mut log, BatchSpec::default()));
    }
    settle(&log).await;
    drop(log);
    (fixture.restart().await, stored)
}

/// The batch that would come next, as bytes in the file.
fn next(base_offset: i64) -> Vec<u8> {
    batch(&BatchSpec {
        base_offset,
        ..BatchSpec::default()
    })
}

#[tokio::test]
async fn whole_batches_above_the_mark_are_kept() {
    let (fixture, mut stored) = ten().await;
    stored.extend(next(10));
    fixture.write(FIRST, &stored);
    let opened = fixture.open(LogSettings::default()).await;
    assert_eq!((opened.log_end, opened.flushed), (11, 11));
    assert_eq!(read_all(&opened.log.reader(), 1 << 20).await, stored);
}

#[tokio::test]
async fn the_write_under_way_is_cut_at_every_byte_and_kept_aside() {
    let (mut fixture, stored) = ten().await;
    let tail = next(10);
    for cut in 1..tail.len() {
        let torn = [&stored[..], &tail[..cut]].concat();
        fixture.write(FIRST, &torn);
        let mut opened = fixture.open(LogSettings::default()).await;
        assert_eq!(opened.log_end, 10, "{cut}");
        assert_eq!(fixture.read(FIRST), stored, "{cut}");
        if cut == 1 {
            let aside = format!("00000000000000000000.0.{}.cut", stored.len());
            assert_eq!(fixture.read(&aside), tail[..1]);
        }
        opened.log.close().await.unwrap();
        drop(opened);
        fixture = fixture.restart().await;
    }
}

#[tokio::test]
async fn on_the_same_boot_other_damage_above_the_mark_stops_the_partition() {
    let (fixture, stored) = ten().await;
    let mut bad = next(10);
    let last = bad.len() - 1;
    bad[last] ^= 1;
    fixture.write(FIRST, &[stored, bad, next(11)].concat());
    assert!(fixture.try_open(LogSettings::default()).await.is_err());
    // Nothing was changed: the next attempt says the same.
    assert!(fixture.try_open(LogSettings::default()).await.is_err());
}

#[tokio::test]
async fn on_another_boot_the_log_is_cut_at_the_first_bad_batch() {
    let (fixture, stored) = ten().await;
    let mut bad = next(10);
    let last = bad.len() - 1;
    bad[last] ^= 1;
    fixture.write(FIRST, &[&stored[..], &bad, &next(11)].concat());
    let fixture = fixture.reboot().await;
    let mut opened = fixture.open(LogSettings::default()).await;
    assert_eq!(opened.log_end, 10);
    assert_eq!(fixture.read(FIRST), stored);
    let again = append(
        &mut opened.log,
        BatchSpec {
            payload: 5,
            ..BatchSpec::default()
        },
    );
    drop(opened);
    let fixture = fixture.restart().await;
    let reopened = fixture.open(LogSettings::default()).await;
    let all = read_all(&reopened.log.reader(), 1 << 20).await;
    assert_eq!(all, [stored, again].concat());
}

#[tokio::test]
async fn zeros_behind_the_log_are_its_end_on_either_boot() {
    for other_boot in [false, true] {
        let (mut fixture, stored) = ten().await;
        let mut zeros = stored.clone();
        zeros.resize(stored.len() + 10_000, 0);
        fixture.write(FIRST, &zeros);
        if other_boot {
            fixture = fixture.reboot().await;
        }
        let opened = fixture.open(LogSettings::default()).await;
        assert_eq!(opened.log_end, 10);
        assert_eq!(fixture.read(FIRST), stored);
    }
}

#[tokio::test]
async fn damage_below_the_mark_is_quarantined_and_never_cut() {
    for other_boot in [false, true] {
        let fixture = Fixture::new().await;
        let mut log = fixture.open(small()).await.log;
        let stored: Vec<_> = (0..30)
            .map(|_| append(&mut log, BatchSpec::default()))
            .collect();
        let second = log.reader().list().all()[1].base();
        fixture.durable(&log).await;
        drop(log);
        let fixture = if other_boot {
            fixture.reboot().await
        } else {
            fixture.restart().await
        };
        // Behind the journal's back: it has written its bytes again by now.
        let mut bytes = fixture.read(FIRST);
        let bad = stored[0].len() * 3 + 70;
        bytes[bad] ^= 1;
        fixture.write(FIRST, &bytes);
        for _ in 0..2 {
            let mut opened = fixture.open(small()).await;
            assert!(opened.quarantined.is_some());
            assert_eq!((opened.log_start, opened.log_end), (0, 30));
            let reader = opened.log.reader();
            let intact = bytes_of(&reader.read(0, 30, 1 << 20, true).await.unwrap()).await;
            assert_eq!(intact, stored[..3].concat());
            assert!(reader.read(3, 30, 1 << 20, true).await.is_err());
            let behind = reader.read(second, 30, 1 << 20, true).await.unwrap();
            assert!(matches!(behind, Read::Region(region) if region.first_offset == second));
            let spec = BatchSpec {
                base_offset: 30,
                ..BatchSpec::default()
            };
            assert!(try_append(&mut opened.log, spec).is_err());
            opened.log.close().await.unwrap();
            drop(opened);
            assert_eq!(fixture.read(FIRST), bytes);
        }
    }
}

#[tokio::test]
async fn a_file_shorter_than_its_mark_is_damage_not_an_end() {
    let (fixture, stored) = ten().await;
    let eight = stored.len() / 10 * 8;
    fixture.write(FIRST, &stored[..eight]);
    let fixture = fixture.reboot().await;
    let opened = fixture.open(LogSettings::default()).await;
    assert!(opened.quarantined.is_some());
    assert_eq!(
        read_all(&opened.log.reader(), 1 << 20).await,
        stored[..eight]
    );
}

#[tokio::test]
async fn written_and_missing_is_never_taken_for_empty() {
    let (fixture, _) = ten().await;
    let dir = fixture.partition_dir();
    let moved = dir.with_file_name("elsewhere");
    fixture.host.disk.rename(&dir, &moved).await.unwrap();
    assert!(fixture.try_open(LogSettings::default()).await.is_err());
    fixture.host.disk.rename(&moved, &dir).await.unwrap();
    fixture.host.disk.remove(&dir.join(FIRST)).await.unwrap();
    assert!(fixture.try_open(LogSettings::default()).await.is_err());
}

#[tokio::test]
async fn a_directory_of_another_topic_is_refused() {
    let (fixture, _) = ten().await;
    let text = partition_metadata::encode([9; 16]);
    fixture.write(partition_metadata::FILE_NAME, text.as_bytes());
    assert!(fixture.try_open(LogSettings::default()).await.is_err());
}

#[tokio::test]
async fn a_segment_the_ledger_does_not_know_is_set_aside_or_continues_the_log() {
    let (fixture, stored) = ten().await;
    fixture.write("00000000000000000010.log", &next(10));
    fixture.write("00000000000000000090.log", &next(90));
    // Same boot: the process rolled and was killed before the mark was durable.
    let opened = fixture.open(LogSettings::default()).await;
    assert_eq!(opened.log_end, 11);
    let all = read_all(&opened.log.reader(), 1 << 20).await;
    assert_eq!(all, [stored, next(10)].concat());
    let names = fixture.names().await;
    assert!(
        names
            .iter()
            .any(|name| name.starts_with("00000000000000000090.log."))
    );
    assert!(!names.contains(&"00000000000000000090.log".to_owned()));
    drop(opened);

    // Another boot: names and bytes may be of different times.
    let (fixture, _) = ten().await;
    fixture.write("00000000000000000010.log", &next(10));
    let fixture = fixture.reboot().await;
    let mut opened = fixture.open(small()).await;
    assert_eq!(opened.log_end, 10);
    for _ in 0..20 {
        append(&mut opened.log, BatchSpec::default());
    }
    assert_eq!(opened.log.log_end(), 30);
}

#[tokio::test]
async fn a_cut_that_was_announced_is_finished() {
    let fixture = Fixture::new().await;
    let mut log = fixture.open(small()).await.log;
    let stored: Vec<_> = (0..30)
        .map(|_| append(&mut log, BatchSpec::default()))
        .collect();
    let plan = log.reader().plan_truncation(12).await.unwrap().unwrap();
    fixture.durable(&log).await;
    // The intent becomes durable; the process is killed before a byte changes.
    let work = log.begin_truncation(plan).unwrap();
    assert!(
        try_append(
            &mut log,
            BatchSpec {
                base_offset: 30,
                ..BatchSpec::default()
            }
        )
        .is_err()
    );
    work.intent_only().await;
    drop(log);
    let fixture = fixture.restart().await;
    let opened = fixture.open(small()).await;
    assert_eq!(opened.log_end, 12);
    assert_eq!(
        read_all(&opened.log.reader(), 1 << 20).await,
        stored[..12].concat()
    );
    let entry = fixture.dir.entry(&INCARNATION).unwrap();
    assert_eq!(entry.pending_cut, None);
}

#[tokio::test]
async fn truncation_takes_whole_batches_and_the_log_goes_on() {
    for offset in [0, 1, 7, 8, 20, 59] {
        let mut fixture = Fixture::new().await;
        let mut log = fixture.open(small()).await.log;
        let two = BatchSpec {
            records: 2,
            ..BatchSpec::default()
        };
        let stored: Vec<_> = (0..30)
            .map(|at| {
                append(
                    &mut log,
                    BatchSpec {
                        epoch: at / 10,
                        ..two
                    },
                )
            })
            .collect();
        let plan = log.reader().plan_truncation(offset).await.unwrap().unwrap();
        let work = log.begin_truncation(plan).unwrap();
        let outcome = work.run().await;
        log.finish_truncation(outcome).unwrap();
        let kept = usize::try_from(offset / 2).unwrap();
        assert_eq!(log.log_end(), offset / 2 * 2);
        assert!(log.epochs().iter().all(|(_, start)| *start < log.log_end()));
        let mut all = stored[..kept].concat();
        for _ in 0..15 {
            all.extend(append(
                &mut log,
                BatchSpec {
                    epoch: 7,
                    payload: 33,
                    ..two
                },
            ));
        }
        assert_eq!(read_all(&log.reader(), 1 << 20).await, all, "{offset}");
        fixture.durable(&log).await;
        drop(log);
        fixture = fixture.reboot().await;
        let opened = fixture.open(small()).await;
        assert_eq!(
            read_all(&opened.log.reader(), 1 << 20).await,
            all,
            "{offset}"
        );
        assert_eq!(opened.quarantined, None);
    }
}

#[tokio::test]
async fn a_log_start_beyond_the_recovered_end_restarts_the_log_empty() {
    let settings = LogSettings {
        durability: Durability::PageCache,
        ..LogSettings::default()
    };
    let fixture = Fixture::new().await;
    let mut log = fixture.open(settings).await.log;
    for _ in 0..10 {
        append(&mut log, BatchSpec::default());
    }
    // Announced of records that no sync has seen: what is covered can't be lost any more.
    log.flush.mark_now(Mark::LogStart(8)).await.unwrap();
    drop(log);
    let fixture = fixture.restart().await;
    let bytes = fixture.read(FIRST);
    fixture.write(FIRST, &bytes[..bytes.len() / 2]);
    let fixture = fixture.reboot().await;
    let mut opened = fixture.open(settings).await;
    assert_eq!((opened.log_start, opened.log_end), (8, 8));
    assert!(opened.may_have_lost);
    append(&mut opened.log, BatchSpec::default());
    assert_eq!(opened.log.log_end(), 9);
    drop(opened);
    let fixture = fixture.restart().await;
    let opened = fixture.open(settings).await;
    assert_eq!((opened.log_start, opened.log_end), (8, 9));
}

#[tokio::test]
async fn delete_records_moves_the_start_and_drops_whole_segments() {
    let mut fixture = Fixture::new().await;
    let settings = LogSettings {
        file_delete_delay_ms: 0,
        ..small()
    };
    let mut log = fixture.open(settings).await.log;
    let stored: Vec<_> = (0..30)
        .map(|_| append(&mut log, BatchSpec::default()))
        .collect();
    let third = log.reader().list().all()[2].base();
    let to = third + 1;
    assert!(log.advance_log_start(31).is_err());
    log.cover_start(to, Vec::new).await.unwrap();
    log.advance_log_start(to).unwrap().await.unwrap();
    assert_eq!(log.log_start(), 0, "shown only after it is durable");
    let old = log.reader().read(0, 30, 100, true).await.unwrap();
    let removal = log.finish_log_start(to);
    assert_eq!((log.log_start(), removal.segments()), (to, 2));
    removal.run().await.unwrap();
    assert!(!fixture.names().await.contains(&FIRST.to_owned()));
    // A reply under way still has its file.
    assert!(bytes_of(&old).await.starts_with(&stored[0]));
    assert!(matches!(
        log.reader().read(to - 1, 30, 100, true).await.unwrap(),
        Read::OutOfRange { .. }
    ));
    assert!(log.advance_log_start(to).is_err());
    fixture.durable(&log).await;
    drop(log);
    fixture = fixture.restart().await;
    let opened = fixture.open(settings).await;
    assert_eq!((opened.log_start, opened.log_end), (to, 30));
    let from = usize::try_from(to).unwrap();
    assert_eq!(
        read_all(&opened.log.reader(), 1 << 20).await,
        stored[from..].concat()
    );
}

#[tokio::test]
async fn retention_goes_by_time_and_by_size_and_stops_at_the_high_watermark() {
    let fixture = Fixture::new().await;
    let settings = LogSettings {
        retention_ms: Some(1000),
        ..small()
    };
    let mut log = fixture.open(settings).await.log;
    for at in 0..30 {
        append(
            &mut log,
            BatchSpec {
                timestamp: 10_000 + 100 * at,
                ..BatchSpec::default()
            },
        );
    }
    let bases: Vec<i64> = log
        .reader()
        .list()
        .all()
        .iter()
        .map(|one| one.base())
        .collect();
    let now = |wall_ms| millrace_host::Now {
        mono: millrace_host::Mono(0),
        wall_ms,
    };
    // The last record of the first segment is younger than the limit by a moment.
    let due_at = 10_000 + 100 * (bases[1] - 1) + 1000;
    assert_eq!(log.retention_due(now(due_at), 30, true), None);
    assert_eq!(log.retention_due(now(due_at + 1), 30, true), Some(bases[1]));
    assert_eq!(log.retention_due(now(due_at + 1), bases[1] - 1, true), None);
    assert_eq!(
        log.retention_due(now(due_at + 1), 30, false),
        None,
        "the clock isn't believed"
    );
    assert_eq!(log.next_retention(30), NextLook::At(due_at + 1));
    assert_eq!(log.next_retention(29), NextLook::Soon);
    // All of it: the active segment is closed first.
    assert_eq!(log.retention_due(now(1_000_000), 30, true), Some(30));
    assert_eq!(log.reader().list().all().last().unwrap().base(), 30);

    // Nothing leaves before what is known of producers below it is written down.
    assert!(log.advance_log_start(bases[1]).is_err());
    log.cover_start(30, Vec::new).await.unwrap();
    assert_eq!(log.start_within(30), Some(30));

    let total = log.size_bytes();
    let one = log.reader().list().all()[0].end().bytes;
    let by_size = |bytes| LogSettings {
        retention_ms: None,
        retention_bytes: Some(bytes),
        ..small()
    };
    log.configure(by_size(total - one + 1));
    assert_eq!(log.retention_due(now(0), 30, false), None);
    log.configure(by_size(total - one));
    assert_eq!(log.retention_due(now(0), 30, false), Some(bases[1]));
    assert_eq!(log.next_retention(30), NextLook::Soon);
    log.configure(LogSettings {
        delete: false,
        ..by_size(0)
    });
    assert_eq!(log.retention_due(now(0), 30, false), None);
    assert_eq!(log.next_retention(30), NextLook::Never);
}

#[tokio::test]
async fn largest_timestamps_are_measured_in_the_batches_not_in_the_index() {
    let fixture = Fixture::new().await;
    let mut log = fixture.open(small()).await.log;
    for at in 0..5 {
        append(
            &mut log,
            BatchSpec {
                timestamp: 10_000 + at,
                ..BatchSpec::default()
            },
        );
    }
    log.close().await.unwrap();
    drop(log);
    // The power cut took the index of the closed log.
    fixture.write("00000000000000000000.timeindex", &[]);
    let fixture = fixture.restart().await;
    let mut log = fixture
        .open(LogSettings {
            retention_ms: Some(1),
            ..small()
        })
        .await
        .log;
    let now = millrace_host::Now {
        mono: millrace_host::Mono(0),
        wall_ms: 1_000_000,
    };
    assert_eq!(
        log.retention_due(now, 5, true),
        None,
        "not known, so not condemned"
    );
    log.reader().measure().await.unwrap();
    let list = log.reader().list();
    assert_eq!(list.all()[0].largest_timestamp(), Some(10_004));
    assert_eq!(log.retention_due(now, 5, true), Some(5));
}

#[tokio::test]
async fn a_deleted_partition_never_meets_its_successor() {
    let (fixture, _) = ten().await;
    let mut opened = fixture.open(LogSettings::default()).await;
    opened.log.remove().await.unwrap();
    assert!(
        try_append(
            &mut opened.log,
            BatchSpec {
                base_offset: 10,
                ..BatchSpec::default()
            }
        )
        .is_err()
    );
    assert!(!fixture.partition_dir().exists() && fixture.dir.entry(&INCARNATION).is_none());
    drop(opened);
    let mut opened = fixture.open(LogSettings::default()).await;
    assert_eq!(opened.log_end, 0);
    append(&mut opened.log, BatchSpec::default());
    assert_eq!(opened.log.log_end(), 1);
}

#[tokio::test]
async fn a_deletion_leaves_no_sync_of_the_old_name_behind() {
    let fixture = Fixture::new().await;
    let mut opened = fixture.open(LogSettings::default()).await;
    append(&mut opened.log, BatchSpec::default());
    opened.log.remove().await.unwrap();
    // A clean stop syncs whatever the flusher still owes.
    drop(opened);
    fixture.dir.close().await.unwrap();
    assert_eq!(fixture.dir.offline().as_deref(), Some("stopped"));
}

#[tokio::test]
async fn a_deletion_that_was_announced_is_finished_without_opening_the_log() {
    let (fixture, _) = ten().await;
    let opened = fixture.open(LogSettings::default()).await;
    opened.log.flush.mark_now(Mark::DeleteIntent).await.unwrap();
    drop(opened);
    let fixture = fixture.restart().await;
    assert!(fixture.try_open(LogSettings::default()).await.is_err());
    fixture
        .partitions
        .remove(INCARNATION, std::time::Duration::ZERO)
        .await
        .unwrap();
    assert!(fixture.dir.entry(&INCARNATION).is_none());
    fixture.partitions.sweep_deleted().await.unwrap();
    let left = fixture.host.disk.list(fixture.dir.path()).await.unwrap();
    assert!(
        left.iter().all(|entry| !entry.name.starts_with("t-0")),
        "{left:?}"
    );
}

#[tokio::test]
async fn a_directory_left_by_an_unfinished_first_append_is_taken_in() {
    let fixture = Fixture::new().await;
    let dir = fixture.partition_dir();
    fixture.host.disk.create_dir(&dir).unwrap();
    let identity = partition_metadata::encode(INCARNATION.topic_id);
    fixture.write(partition_metadata::FILE_NAME, identity.as_bytes());
    fixture.write(FIRST, &[next(0), next(1)[..30].to_vec()].concat());
    let mut opened = fixture.open(LogSettings::default()).await;
    assert_eq!(opened.log_end, 1);
    append(&mut opened.log, BatchSpec::default());
    assert_eq!(
        read_all(&opened.log.reader(), 100).await,
        [next(0), next(1)].concat()
    );
}

#[tokio::test]
async fn a_directory_of_unknown_origin_is_set_aside_not_overwritten() {
    let fixture = Fixture::new().await;
    let dir = fixture.partition_dir();
    fixture.host.disk.create_dir(&dir).unwrap();
    fixture.write(FIRST, &next(0));
    let mut opened = fixture.open(LogSettings::default()).await;
    assert_eq!(opened.log_end, 0);
    append(
        &mut opened.log,
        BatchSpec {
            payload: 3,
            ..BatchSpec::default()
        },
    );
    let left = fixture.host.disk.list(fixture.dir.path()).await.unwrap();
    let stray = left
        .iter()
        .find(|entry| entry.name.ends_with("-stray"))
        .unwrap();
    assert!(stray.name.starts_with("t-0."));
    let file = fixture.dir.path().join(&stray.name).join(FIRST);
    assert_eq!(std::fs::read(file).unwrap(), next(0));
}
