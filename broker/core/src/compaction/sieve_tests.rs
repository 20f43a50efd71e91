//! What stays of single batches, made by hand.

use bytes::Bytes;
use millrace_protocol::records::{
    BatchBuilder, Marker, Options, RecordError, TransactionEnd, emptied, prefix, record_iter,
};

use super::*;
use crate::compaction::{MapLimits, Mapping};

const CAP: usize = 1 << 20;
const LIMITS: MapLimits = MapLimits {
    bytes_max: 1 << 16,
    load_factor: 0.9,
};

/// A record: key and value.
type Pair = (Option<&'static str>, Option<&'static str>);

fn batch(options: Options, records: &[Pair]) -> Batch {
    let mut builder = BatchBuilder::new(options);
    for (at, (key, value)) in records.iter().enumerate() {
        let (key, value) = (key.map(str::as_bytes), value.map(str::as_bytes));
        builder.push(100 + at as i64, key, value, &[]).unwrap();
    }
    Batch::parse(builder.build()).unwrap()
}

fn at(base_offset: i64) -> Options {
    Options {
        base_offset,
        ..Options::default()
    }
}

/// Of a producer's transaction.
fn of(producer: i64, base_offset: i64) -> Options {
    Options {
        producer: Some((producer, 0, 7)),
        transactional: true,
        ..at(base_offset)
    }
}

fn marker(producer: i64, offset: i64, end: TransactionEnd) -> Batch {
    let marker = Marker {
        end,
        coordinator_epoch: 3,
    };
    let mut bytes = marker.batch((producer, 0), 50).to_vec();
    let length = i32::from_be_bytes(bytes[8..12].try_into().unwrap());
    bytes[..16].copy_from_slice(&prefix(offset, length, 0));
    Batch::parse(Bytes::from(bytes)).unwrap()
}

fn round(now_ms: i64) -> Round {
    Round {
        now_ms: Some(now_ms),
        delete_retention_ms: 1_000,
        last_end: i64::MAX,
        producers: BTreeMap::new(),
        aborted: Vec::new(),
    }
}

/// Maps all of `log` below its end, and says what is left of each batch.
fn pass(log: &[Batch], round: Round) -> Vec<Option<Batch>> {
    let end = log.last().map_or(0, |last| last.header.last_offset() + 1);
    let aborted = round.aborted.clone();
    let mut mapping = Mapping::new((0, end), LIMITS, (1, 2), aborted, CAP);
    for batch in log {
        mapping.batch(batch).unwrap();
    }
    let mut sieve = Sieve::new(mapping.finish(), round, CAP);
    let left = |batch: &Batch| {
        let mut out = Vec::new();
        match sieve.batch(batch, &mut out).unwrap() {
            Kept::Whole => Some(batch.clone()),
            Kept::Rewritten => Some(Batch::parse(Bytes::from(out)).unwrap()),
            Kept::Dropped => None,
        }
    };
    log.iter().map(left).collect()
}

fn offsets(batch: &Batch) -> Vec<i64> {
    let mut scratch = Scratch::new(CAP);
    let records = record_iter(batch, &mut scratch).unwrap();
    records.map(|record| record.unwrap().offset).collect()
}

fn all_offsets(left: &[Option<Batch>]) -> Vec<i64> {
    left.iter().flatten().flat_map(offsets).collect()
}

#[test]
fn the_latest_of_each_key_stays_and_null_keys_go() {
    let log = [
        batch(
            at(0),
            &[
                (Some("a"), Some("1")),
                (None, Some("x")),
                (Some("b"), Some("1")),
            ],
        ),
        batch(at(3), &[(Some("a"), Some("2")), (Some(""), Some("e"))]),
        batch(at(5), &[(Some("a"), Some("3"))]),
    ];
    let left = pass(&log, round(0));
    assert_eq!(all_offsets(&left), [2, 4, 5]);
    assert_eq!(left[2].as_ref(), Some(&log[2]), "whole");
    let kept = left[0].as_ref().unwrap().header;
    assert_eq!((kept.base_offset, kept.last_offset()), (0, 2));
}

#[test]
fn a_tombstone_waits_for_its_horizon_and_then_goes() {
    let log = [
        batch(at(0), &[(Some("a"), Some("1"))]),
        batch(at(1), &[(Some("a"), None), (Some("b"), Some("1"))]),
    ];
    let first: Vec<Batch> = pass(&log, round(5_000)).into_iter().flatten().collect();
    assert_eq!(offsets(&first[0]), [1, 2]);
    let header = first[0].header;
    assert!(header.has_delete_horizon());
    assert_eq!(header.base_timestamp, 6_000);
    let early: Vec<Batch> = pass(&first, round(5_999)).into_iter().flatten().collect();
    assert_eq!(early, first, "the horizon is set once");
    let late = pass(&first, round(6_000));
    assert_eq!(all_offsets(&late), [2]);
}

#[test]
fn what_the_map_does_not_reach_stays() {
    let log = [
        batch(at(0), &[(Some("a"), Some("1")), (Some("b"), Some("1"))]),
        batch(
            at(2),
            &[
                (Some("c"), Some("1")),
                (None, Some("n")),
                (Some("a"), Some("2")),
            ],
        ),
    ];
    let tight = MapLimits {
        bytes_max: 3 * crate::compaction::MAP_ENTRY_BYTES,
        load_factor: 1.0,
    };
    let mut mapping = Mapping::new((0, 5), tight, (1, 2), Vec::new(), CAP);
    for batch in &log {
        mapping.batch(batch).unwrap();
    }
    let map = mapping.finish();
    assert_eq!((map.end(), map.len()), (2, 2));
    let mut sieve = Sieve::new(map, round(0), CAP);
    let mut out = Vec::new();
    assert_eq!(sieve.batch(&log[0], &mut out), Ok(Kept::Whole));
    assert_eq!(
        sieve.batch(&log[1], &mut out),
        Ok(Kept::Whole),
        "null keys, too"
    );
}

#[test]
fn the_last_batch_of_a_producer_and_of_the_round_leave_their_headers() {
    let producer = |base_offset, sequence| Options {
        producer: Some((9, 2, sequence)),
        ..at(base_offset)
    };
    let log = [
        batch(producer(0, 0), &[(Some("a"), Some("1"))]),
        batch(producer(1, 1), &[(Some("a"), Some("2"))]),
        batch(at(2), &[(Some("a"), Some("3"))]),
        batch(at(3), &[(None, Some("last"))]),
    ];
    let last = LastOfProducer {
        data_offset: Some(1),
        epoch: 2,
    };
    let with = Round {
        producers: BTreeMap::from([(9, last)]),
        last_end: 4,
        ..round(0)
    };
    let left = pass(&log, with);
    assert_eq!(left[0], None);
    assert_eq!(left[1].as_ref().unwrap().bytes, emptied(&log[1].header));
    assert_eq!(left[3].as_ref().unwrap().bytes, emptied(&log[3].header));
    // Forgotten, and behind it more was written: nothing holds them.
    let left: Vec<Batch> = left.into_iter().flatten().collect();
    assert_eq!(all_offsets(&pass(&left, round(0))), [2]);
    assert_eq!(pass(&left, round(0)).iter().flatten().count(), 1);
}

#[test]
fn aborted_data_go_at_once_and_never_count() {
    let log = [
        batch(at(0), &[(Some("a"), Some("kept"))]),
        batch(of(5, 1), &[(Some("a"), Some("aborted"))]),
        marker(5, 2, TransactionEnd::Abort),
        batch(of(5, 3), &[(Some("b"), Some("committed"))]),
        marker(5, 4, TransactionEnd::Commit),
    ];
    let aborted = AbortedTransaction {
        producer_id: 5,
        first_offset: 1,
        last_offset: 2,
    };
    let with = |now_ms| Round {
        aborted: vec![aborted],
        ..round(now_ms)
    };
    let first: Vec<Batch> = pass(&log, with(5_000)).into_iter().flatten().collect();
    assert_eq!(
        first.iter().flat_map(offsets).collect::<Vec<_>>(),
        [0, 2, 3, 4]
    );
    assert!(!first[1].header.has_delete_horizon(), "its data were there");
    // The next round meets a marker without data: its time begins to run.
    let second: Vec<Batch> = pass(&first, with(6_000)).into_iter().flatten().collect();
    assert_eq!(second[1].header.base_timestamp, 7_000);
    assert!(!second[3].header.has_delete_horizon(), "its data are there");
    let third = pass(&second, with(7_000));
    assert_eq!(all_offsets(&third), [0, 3, 4]);
}

#[test]
fn a_commit_marker_goes_once_its_data_are_replaced() {
    let log = [
        batch(of(5, 0), &[(Some("a"), Some("1"))]),
        marker(5, 1, TransactionEnd::Commit),
        batch(at(2), &[(Some("a"), Some("2"))]),
    ];
    let mut left: Vec<Batch> = log.to_vec();
    for (now_ms, offsets_left) in [(1_000, vec![1, 2]), (2_000, vec![1, 2]), (3_000, vec![2])] {
        left = pass(&left, round(now_ms)).into_iter().flatten().collect();
        let offsets: Vec<i64> = left.iter().flat_map(offsets).collect();
        assert_eq!(offsets, offsets_left, "{now_ms}");
    }
}

#[test]
fn no_tombstone_goes_and_none_begins_to_wait_by_a_clock_that_is_not_believed() {
    let log = [
        batch(at(0), &[(Some("a"), Some("1"))]),
        batch(at(1), &[(Some("a"), None)]),
        batch(at(2), &[(Some("b"), Some("2"))]),
    ];
    let doubted = || Round {
        now_ms: None,
        ..round(0)
    };
    let first: Vec<Batch> = pass(&log, doubted()).into_iter().flatten().collect();
    assert_eq!(first.iter().flat_map(offsets).collect::<Vec<_>>(), [1, 2]);
    assert!(!first[0].header.has_delete_horizon());
    // Its time begins with a clock that is believed, and doesn't end with one that isn't.
    let second: Vec<Batch> = pass(&first, round(5_000)).into_iter().flatten().collect();
    assert_eq!(second[0].header.base_timestamp, 6_000);
    assert_eq!(all_offsets(&pass(&second, doubted())), [1, 2]);
    assert_eq!(all_offsets(&pass(&second, round(6_000))), [2]);
}

#[test]
fn a_producer_known_by_its_marker_only_keeps_that() {
    let log = [
        marker(5, 0, TransactionEnd::Commit),
        batch(at(1), &[(Some("a"), Some("2"))]),
    ];
    let last = LastOfProducer {
        data_offset: None,
        epoch: 0,
    };
    let with = |now_ms| Round {
        producers: BTreeMap::from([(5, last)]),
        ..round(now_ms)
    };
    let first: Vec<Batch> = pass(&log, with(0)).into_iter().flatten().collect();
    let second = pass(&first, with(5_000));
    assert_eq!(second[0].as_ref().unwrap().header.record_count, 0);
    assert_eq!(second[0].as_ref().unwrap().header.producer_epoch, 0);
    let third: Vec<Batch> = second.into_iter().flatten().collect();
    assert_eq!(pass(&third, with(9_000))[0].as_ref(), Some(&third[0]));
    assert_eq!(pass(&third, round(9_000))[0], None, "it is forgotten");
}

#[test]
fn what_cannot_be_read_is_said_and_nothing_is_written() {
    let good = batch(at(7), &[(Some("a"), Some("1"))]);
    let mut bytes = good.bytes.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let rotten = Batch::parse(Bytes::from(bytes)).unwrap();
    let mut mapping = Mapping::new((0, 9), LIMITS, (1, 2), Vec::new(), CAP);
    let refused = mapping.batch(&rotten).unwrap_err();
    assert_eq!(refused.base_offset, 7);
    assert!(matches!(refused.error, RecordError::Crc { .. }));
    let mut sieve = Sieve::new(mapping.finish(), round(0), CAP);
    let mut out = Vec::new();
    assert_eq!(sieve.batch(&rotten, &mut out), Err(refused));
    assert!(out.is_empty());
}
