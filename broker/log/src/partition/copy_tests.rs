//! Copying a log into another log directory: what it holds, what is refused, what a restart finds.

use std::path::Path;

use super::log_tests::{append, bytes_of, read_all, small};
use super::*;
use crate::dir::LogDir;
use crate::fixture::{Fixture, INCARNATION, Seen, Silent, options};
use crate::testing::{BatchSpec, sole_producer};

/// Another log directory on the same disk.
async fn other(fixture: &Fixture, name: &str) -> Partitions {
    let path = fixture.dir.path().with_file_name(name);
    let dir = loop {
        match LogDir::open(fixture.host.clone(), &path, options()).await {
            Err(Error::InUse { .. }) => tokio::task::yield_now().await,
            opened => break opened.unwrap().0,
        }
    };
    Partitions::new(dir, fixture.host.clone(), PartitionOptions::default())
}

async fn names(partitions: &Partitions) -> Vec<String> {
    let disk = partitions.host.disk.as_ref();
    let listed = disk.list(partitions.dir.path()).await.unwrap();
    let names = listed.into_iter().map(|entry| entry.name);
    names.filter(|name| name.starts_with("t-0")).collect()
}

/// Copies all there is.
async fn copy_all(log: &PartitionLog, to: &Partitions) -> Result<LogCopy, Error> {
    let mut copy = to.begin_copy(&log.outline()?);
    while copy.step(&log.outline()?).await?.left > 0 {}
    Ok(copy)
}

async fn finish(log: &PartitionLog, copy: &mut LogCopy) -> Result<PartitionLog, Error> {
    log.settle().await?;
    let outline = log.outline()?;
    while copy.step(&outline).await?.left > 0 {}
    copy.finish(Ending {
        producers: sole_producer(5, outline.log_end()),
        high_watermark: outline.log_end(),
        outline,
        sink: Arc::new(Silent),
    })
    .await
}

fn spec(at: i32) -> BatchSpec {
    BatchSpec {
        payload: 100,
        producer_id: 5,
        base_sequence: at,
        ..BatchSpec::default()
    }
}

#[tokio::test]
async fn a_copy_takes_the_logs_place_and_is_opened_clean_by_the_next_start() {
    let fixture = Fixture::new().await;
    let mut log = fixture.open(small()).await.log;
    log.begin_epoch(0, 0);
    let mut written = Vec::new();
    for at in 0..20 {
        written.extend(append(&mut log, spec(at)));
    }
    let target = other(&fixture, "other").await;
    let mut copy = copy_all(&log, &target).await.unwrap();
    assert!(names(&target).await[0].ends_with("-future"));
    for at in 20..25 {
        written.extend(append(&mut log, spec(at)));
    }
    let reader = log.reader();
    let moved = finish(&log, &mut copy).await.unwrap();
    assert_eq!(names(&target).await, ["t-0"]);
    let mut old = log.hand_over(moved);
    // Whoever read before goes on in the other directory, and so do appends.
    assert_eq!(read_all(&reader, 1 << 20).await, written);
    let read = reader.read(0, 1, 1 << 20, true).await.unwrap();
    let Read::Region(region) = &read else {
        panic!("{read:?}");
    };
    assert!(region.slice.file.path().starts_with(target.dir.path()));
    assert!(!bytes_of(&read).await.is_empty());
    old.remove().await.unwrap();
    assert!(names(&fixture.partitions).await[0].ends_with("-delete"));
    for at in 25..30 {
        written.extend(append(&mut log, spec(at)));
    }
    log.close().await.unwrap();
    target.dir.close().await.unwrap();
    drop((log, old, copy, target, reader, read));
    let target = other(&fixture, "other").await;
    let mut seen = Seen::default();
    let opened = target.open(INCARNATION, "t", small(), Arc::new(Silent), &mut seen);
    let opened = opened.await.unwrap();
    assert_eq!((opened.log_start, opened.log_end), (0, 30));
    assert_eq!(opened.epochs, [(0, 0)]);
    assert_eq!(seen.last_sequence(5), Some(29));
    assert_eq!(read_all(&opened.log.reader(), 1 << 20).await, written);
}

#[tokio::test]
async fn a_moved_log_is_vouched_for_by_the_directory_that_holds_it() {
    let fixture = Fixture::new().await;
    let mut log = fixture.open(small()).await.log;
    append(&mut log, spec(0));
    let region = async |reader: &LogReader| match reader.read(0, 1, 1 << 20, true).await.unwrap() {
        Read::Region(region) => region.slice,
        read @ (Read::Empty | Read::OutOfRange { .. }) => panic!("{read:?}"),
    };
    let reader = log.reader();
    let before = region(&reader).await;
    let target = other(&fixture, "other").await;
    let mut copy = copy_all(&log, &target).await.unwrap();
    let moved = finish(&log, &mut copy).await.unwrap();
    let _old = log.hand_over(moved);
    append(&mut log, spec(1));
    let behind = region(&reader).await;
    fixture.dir.fail("for this test");
    assert!(before.read().await.is_err());
    assert!(behind.read().await.is_ok());
    target.dir.fail("for this test");
    assert!(behind.read().await.is_err());
}

#[tokio::test]
async fn cuts_and_the_log_start_are_carried_over() {
    let fixture = Fixture::new().await;
    let mut log = fixture.open(small()).await.log;
    for at in 0..20 {
        append(&mut log, spec(at));
    }
    fixture.durable(&log).await;
    let cut = log.reader().plan_truncation(15).await.unwrap().unwrap();
    let work = log.begin_truncation(cut).unwrap();
    assert!(
        log.outline().is_err(),
        "nothing is copied that is being cut"
    );
    let done = work.run().await;
    log.finish_truncation(done).unwrap();
    let covered = log.cover_start(9, || sole_producer(5, 15));
    covered.await.unwrap();
    log.advance_log_start(9).unwrap().await.unwrap();
    let removed = log.finish_log_start(9);
    assert!(removed.segments() > 0);
    let target = other(&fixture, "other").await;
    let mut copy = copy_all(&log, &target).await.unwrap();
    let moved = finish(&log, &mut copy).await.unwrap();
    assert_eq!(
        (moved.log_start(), moved.log_end(), moved.cut_count()),
        (9, 15, log.cut_count())
    );
    drop((moved, copy));
    let mut seen = Seen::default();
    let opened = target.open(INCARNATION, "t", small(), Arc::new(Silent), &mut seen);
    let opened = opened.await.unwrap();
    assert_eq!(
        (opened.log_start, opened.log_end, opened.log.cut_count()),
        (9, 15, log.cut_count())
    );
}

#[tokio::test]
async fn segments_that_leave_the_log_leave_the_copy() {
    let fixture = Fixture::new().await;
    let mut log = fixture.open(small()).await.log;
    for at in 0..20 {
        append(&mut log, spec(at));
    }
    fixture.durable(&log).await;
    let target = other(&fixture, "other").await;
    let mut copy = copy_all(&log, &target).await.unwrap();
    let before = copy.bytes();
    log.cover_start(12, || sole_producer(5, 20)).await.unwrap();
    log.advance_log_start(12).unwrap().await.unwrap();
    drop(log.finish_log_start(12));
    let moved = finish(&log, &mut copy).await.unwrap();
    assert!(moved.size_bytes() < before);
    assert_eq!(moved.size_bytes(), log.size_bytes());
    assert_eq!(
        read_all(&moved.reader(), 1 << 20).await,
        read_all(&log.reader(), 1 << 20).await
    );
}

#[tokio::test]
async fn what_rotted_is_not_copied() {
    // A byte of a record, and a byte of a leader epoch, which no checksum covers.
    for byte in [80, 15] {
        let fixture = Fixture::new().await;
        let mut log = fixture.open(small()).await.log;
        log.begin_epoch(0, 0);
        for at in 0..4 {
            append(&mut log, spec(at));
        }
        fixture.durable(&log).await;
        let name = "00000000000000000000.log";
        let mut bytes = fixture.read(name);
        bytes[byte] ^= 1;
        fixture.write(name, &bytes);
        let target = other(&fixture, "other").await;
        let refused = copy_all(&log, &target).await.unwrap_err();
        assert!(refused.to_string().contains("not copied"), "{refused}");
    }
}

#[tokio::test]
async fn a_copy_that_is_given_up_or_forgotten_leaves_nothing() {
    let fixture = Fixture::new().await;
    let mut log = fixture.open(small()).await.log;
    for at in 0..4 {
        append(&mut log, spec(at));
    }
    let target = other(&fixture, "other").await;
    // Given up half way, given up when the ledger knows it, left by a process that ended.
    let copy = copy_all(&log, &target).await.unwrap();
    copy.discard().await.unwrap();
    assert_eq!(names(&target).await, [""; 0]);
    let mut copy = copy_all(&log, &target).await.unwrap();
    drop(finish(&log, &mut copy).await.unwrap());
    assert!(target.dir.entry(&INCARNATION).is_some());
    copy.discard().await.unwrap();
    assert_eq!(target.dir.entry(&INCARNATION), None);
    assert!(!names(&target).await.contains(&"t-0".to_owned()));
    drop(copy_all(&log, &target).await.unwrap());
    assert_eq!(target.sweep_copies().await.unwrap(), 1);
    // And another one can be made.
    let mut copy = copy_all(&log, &target).await.unwrap();
    finish(&log, &mut copy).await.unwrap();
}

#[tokio::test]
async fn a_name_that_is_taken_is_not_taken_over() {
    let fixture = Fixture::new().await;
    let mut log = fixture.open(small()).await.log;
    append(&mut log, spec(0));
    let target = other(&fixture, "other").await;
    let taken: &Path = &target.dir.path().join("t-0");
    fixture.host.disk.create_dir(taken).unwrap();
    let mut copy = copy_all(&log, &target).await.unwrap();
    let refused = finish(&log, &mut copy).await.unwrap_err();
    assert!(
        refused.to_string().contains("is there already"),
        "{refused}"
    );
    copy.discard().await.unwrap();
    assert_eq!(names(&target).await, ["t-0"]);
    append(&mut log, spec(1));
}
