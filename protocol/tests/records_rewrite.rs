//! What compaction leaves of a batch: as Kafka's cleaner leaves it (`data/records/rewrites.txt`, see
//! `xtask/java/Records.java`), for any batch and any choice of records, and for hostile bytes.

#![expect(clippy::unwrap_used, reason = "a test panics on what must not happen")]

use bytes::Bytes;
use millrace_protocol::records::{
    Batch, BatchBuilder, Codec, Kept, Options, RecordError, Rewrite, RewriteBuffer, Scratch, Stamp,
    TimestampType, checksum, record_iter, rewrite,
};
use proptest::collection::vec;
use proptest::prelude::*;

const INFLATED_BYTES_MAX: usize = 1 << 20;

/// A record by value.
#[derive(Clone, Debug, PartialEq)]
struct Owned {
    offset: i64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn records_of(batch: &Batch) -> Vec<Owned> {
    let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
    let records = record_iter(batch, &mut scratch).unwrap();
    records
        .map(|record| {
            let record = record.unwrap();
            let header = |header: millrace_protocol::records::Header<'_>| {
                (header.key.to_vec(), header.value.map(<[u8]>::to_vec))
            };
            Owned {
                offset: record.offset,
                timestamp: record.timestamp,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: record.headers.clone().map(header).collect(),
            }
        })
        .collect()
}

/// What is left of `batch` when the records at `keep` stay, and how it was kept.
fn pass(batch: &Batch, wish: Rewrite, keep: &[bool]) -> (Kept, Option<Bytes>) {
    let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
    let mut buffer = RewriteBuffer::new();
    let mut at = 0;
    let mut out = b"before".to_vec();
    let kept = rewrite(
        batch,
        wish,
        |_| {
            at += 1;
            keep[at - 1]
        },
        (&mut scratch, &mut buffer),
        &mut out,
    );
    let kept = kept.unwrap();
    let written = Bytes::copy_from_slice(out.strip_prefix(b"before").unwrap());
    match kept {
        Kept::Whole => {
            assert!(written.is_empty());
            (kept, Some(batch.bytes.clone()))
        }
        Kept::Rewritten => (kept, Some(written)),
        Kept::Dropped => {
            assert!(written.is_empty());
            (kept, None)
        }
    }
}

fn from_hex(hex: &str) -> Bytes {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

#[test]
fn batches_are_rewritten_as_kafkas_cleaner_does() {
    let mut compared = 0;
    for line in include_str!("data/records/rewrites.txt").lines() {
        let Some(line) = line.strip_prefix("rewrite ") else {
            continue;
        };
        let words: Vec<&str> = line.split(' ').collect();
        let &[name, keep, empty, marker, horizon, before, after] = words.as_slice() else {
            panic!("not seven words: {line}");
        };
        let before = Batch::parse(from_hex(before)).unwrap();
        let keep: Vec<bool> = keep.chars().map(|digit| digit == '1').collect();
        let wish = Rewrite {
            keep_empty: empty == "true",
            marker_of_nothing: marker == "true",
            delete_horizon_ms: Some(horizon.parse().unwrap()),
        };
        let (_, ours) = pass(&before, wish, &keep);
        let theirs = (after != "-").then(|| from_hex(after));
        let case = format!("{name} {keep:?} {wish:?}");
        assert_eq!(ours.is_some(), theirs.is_some(), "{case}");
        let Some((ours, theirs)) = ours.zip(theirs) else {
            continue;
        };
        let (ours, theirs) = (Batch::parse(ours).unwrap(), Batch::parse(theirs).unwrap());
        assert_eq!(ours.verify_crc(), Ok(()), "{case}");
        assert_eq!(records_of(&ours), records_of(&theirs), "{case}");
        if ours.header.codec() == Ok(Codec::None) {
            assert_eq!(ours.bytes, theirs.bytes, "{case}");
        } else {
            // Two compressors give the same content, not the same bytes.
            let mut header = ours.header;
            header.crc = theirs.header.crc;
            header.batch_length = theirs.header.batch_length;
            assert_eq!(header, theirs.header, "{case}");
        }
        compared += 1;
    }
    assert!(compared > 120, "the fixture file is not whole: {compared}");
}

#[test]
fn times_too_far_apart_are_kept_as_they_were_told() {
    let mut builder = BatchBuilder::new(Options::default());
    for (key, time) in [("a", 0), ("b", -2), ("c", i64::MAX)] {
        builder.push(time, Some(key.as_bytes()), None, &[]).unwrap();
    }
    let batch = Batch::parse(builder.build()).unwrap();
    let all = records_of(&batch);
    // From the first record that stays, -2, the last one's time can't be told; from a horizon below 0
    // neither, so the tombstones wait for a pass with another.
    let wish = Rewrite {
        delete_horizon_ms: Some(-1),
        ..Rewrite::default()
    };
    let (kept, left) = pass(&batch, wish, &[false, true, true]);
    let left = Batch::parse(left.unwrap()).unwrap();
    assert_eq!(kept, Kept::Rewritten);
    assert_eq!(records_of(&left), all[1..]);
    assert_eq!(left.header.base_timestamp, 0);
    assert!(!left.header.has_delete_horizon());
    assert_eq!(pass(&batch, wish, &[true; 3]).0, Kept::Whole);
}

#[test]
fn content_beyond_the_cap_is_an_error_and_leaves_nothing_behind() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let options = Options {
            codec,
            ..Options::default()
        };
        let mut builder = BatchBuilder::new(options);
        builder
            .push(0, Some(b"k"), Some(&vec![0; 100_000]), &[])
            .unwrap();
        builder.push(0, Some(b"l"), Some(b"v"), &[]).unwrap();
        let batch = Batch::parse(builder.build()).unwrap();
        let (mut scratch, mut buffer) = (Scratch::new(50_000), RewriteBuffer::new());
        let mut out = vec![1, 2, 3];
        let refused = rewrite(
            &batch,
            Rewrite::default(),
            |_| true,
            (&mut scratch, &mut buffer),
            &mut out,
        );
        assert!(
            matches!(refused, Err(RecordError::Compression(_))),
            "{refused:?}"
        );
        assert_eq!(out, [1, 2, 3]);
        assert!(scratch.kept_bytes() < 1 << 20);
    }
}

fn any_bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![
        1 => Just(None),
        4 => vec(any::<u8>(), 0..40).prop_map(Some),
    ]
}

prop_compose! {
    /// A stored batch of one to twenty records, some offsets of which may be missing, and whether each stays.
    fn any_batch()(
        base in 0..i64::MAX / 2,
        codec in 0_usize..5,
        stamped in any::<bool>(),
        horizon in proptest::option::of(0..2_000_000_000_000_i64),
        producer in proptest::option::of((0..i64::MAX, 0..i16::MAX, 0..i32::MAX)),
        records in vec((any_bytes(), any_bytes(), -1..2_000_000_000_000_i64, 0_usize..3, any::<bool>()), 1..20),
        tail in 0_i32..5,
    ) -> (Batch, Vec<bool>) {
        let mut builder = BatchBuilder::new(Options {
            codec: Codec::ALL[codec],
            base_offset: base,
            leader_epoch: 7,
            producer,
            last_offset_delta: Some(records.len() as i32 + tail),
            delete_horizon_ms: horizon,
            ..Options::default()
        });
        for (key, value, time, headers, _) in &records {
            let header = millrace_protocol::records::Header { key: b"h", value: key.as_deref() };
            builder.push(*time, key.as_deref(), value.as_deref(), &vec![header; *headers]).unwrap();
        }
        let mut bytes = builder.build();
        if stamped {
            let stamp = Stamp { timestamp_type: TimestampType::LogAppendTime, max_timestamp: 1_700_000_000_000 };
            bytes = stamp.stamped(bytes).unwrap();
        }
        (Batch::parse(bytes).unwrap(), records.iter().map(|record| record.4).collect())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_rewrite_keeps_the_chosen_records_and_the_batch_s_place(
        (batch, keep) in any_batch(),
        keep_empty in any::<bool>(),
        delete_horizon_ms in proptest::option::of(0..2_000_000_000_000_i64),
    ) {
        let wish = Rewrite { keep_empty, marker_of_nothing: false, delete_horizon_ms };
        let chosen: Vec<Owned> = records_of(&batch).into_iter().zip(&keep)
            .filter_map(|(record, stays)| stays.then_some(record)).collect();
        let (kept, left) = pass(&batch, wish, &keep);
        prop_assert_eq!(left.is_some(), !chosen.is_empty() || keep_empty);
        let Some(left) = left else { return Ok(()) };
        let left = Batch::parse(left).unwrap();
        prop_assert_eq!(left.verify_crc(), Ok(()));
        prop_assert_eq!(records_of(&left), chosen.clone());
        let (before, after) = (batch.header, left.header);
        prop_assert_eq!(
            (after.base_offset, after.last_offset(), after.partition_leader_epoch),
            (before.base_offset, before.last_offset(), before.partition_leader_epoch)
        );
        prop_assert_eq!(
            (after.producer_id, after.producer_epoch, after.base_sequence, after.last_sequence()),
            (before.producer_id, before.producer_epoch, before.base_sequence, before.last_sequence())
        );
        prop_assert_eq!(after.timestamp_type(), before.timestamp_type());
        prop_assert_eq!(after.record_count as usize, chosen.len());
        if chosen.is_empty() {
            prop_assert_eq!(left.bytes.len(), 61);
            return Ok(());
        }
        prop_assert_eq!(after.codec(), before.codec());
        let tombstone = chosen.iter().any(|record| record.value.is_none());
        let sets = tombstone && delete_horizon_ms.is_some();
        prop_assert_eq!(after.has_delete_horizon(), before.has_delete_horizon() || sets);
        if after.has_delete_horizon() {
            let kept = before.has_delete_horizon().then_some(before.base_timestamp);
            prop_assert_eq!(Some(after.base_timestamp), kept.or(delete_horizon_ms));
        }
        if kept == Kept::Rewritten {
            let latest = chosen.iter().map(|record| record.timestamp).max().unwrap();
            prop_assert_eq!(after.max_timestamp, latest.max(-1));
        }
        // What is left is left again.
        prop_assert_eq!(pass(&left, wish, &vec![true; chosen.len()]).0, Kept::Whole);
    }

    #[test]
    fn hostile_bytes_are_refused_without_a_panic_and_without_a_trace(
        (batch, _) in any_batch(),
        edits in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        seed in any::<u64>(),
    ) {
        let mut bytes = batch.bytes.to_vec();
        for (at, byte) in edits {
            // The length stands: this is about what lies in a batch.
            let at = 16 + at.index(bytes.len() - 16);
            bytes[at] = byte;
        }
        let crc = checksum(&bytes);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        let Ok(batch) = Batch::parse(Bytes::from(bytes)) else { return Ok(()) };
        let (mut scratch, mut buffer) = (Scratch::new(INFLATED_BYTES_MAX), RewriteBuffer::new());
        let mut out = Vec::new();
        let mut bits = seed;
        let keep = |_: &millrace_protocol::records::Record<'_>| {
            bits = bits.rotate_left(1);
            bits & 1 == 1
        };
        let wish = Rewrite { keep_empty: true, marker_of_nothing: true, delete_horizon_ms: Some(5) };
        match rewrite(&batch, wish, keep, (&mut scratch, &mut buffer), &mut out) {
            Err(_) | Ok(Kept::Whole | Kept::Dropped) => prop_assert!(out.is_empty()),
            Ok(Kept::Rewritten) => {
                let left = Batch::parse(Bytes::from(out)).unwrap();
                prop_assert_eq!(left.verify_crc(), Ok(()));
                prop_assert_eq!(records_of(&left).len(), left.header.record_count as usize);
            }
        }
    }
}
