//! Record batches written by Apache Kafka's own classes (`data/records/batches.txt`, see
//! `xtask/java/Records.java`): we read what Kafka reads from them, and build the same bytes.

#![expect(clippy::unwrap_used, reason = "a test panics on what must not happen")]

use std::fmt::Write as _;

use bytes::Bytes;
use millrace_protocol::records::{
    Batch, BatchBuilder, Codec, ControlType, Marker, Options, ProduceRules, Record, Refusal,
    Scratch, TimestampType, TransactionEnd, batches, check_produced, emptied, first_at_or_after,
    greatest_timestamp, record_iter, verify_crc,
};

/// The content of the largest fixture with room to spare.
const INFLATED_BYTES_MAX: usize = 1 << 20;

/// One batch of the file: its name, its bytes, and Kafka's reading of it.
struct Fixture {
    name: &'static str,
    bytes: Bytes,
    records: Vec<&'static str>,
}

fn fixtures() -> Vec<Fixture> {
    let mut fixtures: Vec<Fixture> = Vec::new();
    for line in include_str!("data/records/batches.txt").lines() {
        if let Some(rest) = line.strip_prefix("batch ") {
            let (name, hex) = rest.split_once(' ').expect("name and bytes");
            fixtures.push(Fixture {
                name,
                bytes: from_hex(hex),
                records: Vec::new(),
            });
        } else if let Some(record) = line.strip_prefix("record ") {
            fixtures
                .last_mut()
                .expect("a batch first")
                .records
                .push(record);
        }
    }
    assert!(fixtures.len() > 25, "the fixture file is not whole");
    fixtures
}

fn fixture(name: &str) -> Batch {
    let found = fixtures().into_iter().find(|fixture| fixture.name == name);
    Batch::parse(found.expect("a fixture of that name").bytes).unwrap()
}

fn from_hex(hex: &str) -> Bytes {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

/// A field as `Records.java` shows it.
fn shown(bytes: Option<&[u8]>) -> String {
    match bytes {
        None => "-".to_owned(),
        Some([]) => ".".to_owned(),
        Some(bytes) if bytes.len() <= 64 => bytes.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        }),
        Some(bytes) => {
            let hash = bytes.iter().fold(1_i32, |hash, &byte| {
                hash.wrapping_mul(31)
                    .wrapping_add(i32::from(byte.cast_signed()))
            });
            format!("{}#{}", bytes.len(), hash.cast_unsigned())
        }
    }
}

fn shown_record(record: &Record<'_>) -> String {
    let mut line = format!(
        "{} {} {} {}",
        record.offset,
        record.timestamp,
        shown(record.key),
        shown(record.value)
    );
    for header in record.headers.clone() {
        write!(line, " {}={}", shown(Some(header.key)), shown(header.value)).unwrap();
    }
    line
}

#[test]
fn every_batch_reads_as_kafka_reads_it() {
    let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
    for fixture in fixtures() {
        let batch = Batch::parse(fixture.bytes).unwrap();
        assert_eq!(batch.verify_crc(), Ok(()), "{}", fixture.name);
        let records = record_iter(&batch, &mut scratch).unwrap();
        let read: Vec<String> = records
            .map(|record| shown_record(&record.unwrap()))
            .collect();
        assert_eq!(read, fixture.records, "{}", fixture.name);
    }
}

#[test]
fn every_uncompressed_batch_is_rebuilt_byte_for_byte() {
    let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
    let mut rebuilt = 0;
    for fixture in fixtures() {
        let batch = Batch::parse(fixture.bytes).unwrap();
        let header = batch.header;
        // Under log append time the records' own times can't be known from the bytes.
        if header.codec() != Ok(Codec::None)
            || header.timestamp_type() == TimestampType::LogAppendTime
            || header.record_count == 0
        {
            continue;
        }
        let mut builder = BatchBuilder::new(Options {
            producer: header.has_producer_id().then_some((
                header.producer_id,
                header.producer_epoch,
                header.base_sequence,
            )),
            transactional: header.is_transactional(),
            control: header.is_control(),
            base_offset: header.base_offset,
            leader_epoch: header.partition_leader_epoch,
            last_offset_delta: Some(header.last_offset_delta),
            delete_horizon_ms: header.has_delete_horizon().then_some(header.base_timestamp),
            ..Options::default()
        });
        for record in record_iter(&batch, &mut scratch).unwrap() {
            builder.push_record(&record.unwrap()).unwrap();
        }
        assert_eq!(builder.build(), batch.bytes, "{}", fixture.name);
        rebuilt += 1;
    }
    assert!(rebuilt >= 12);
}

#[test]
fn a_run_of_batches_is_cut_without_copying() {
    let run: Vec<u8> = fixtures()
        .iter()
        .flat_map(|fixture| fixture.bytes.to_vec())
        .collect();
    let run = Bytes::from(run);
    let whole = run.as_ptr() as usize..run.as_ptr() as usize + run.len();
    let cut: Vec<Batch> = batches(run.clone()).map(Result::unwrap).collect();
    assert_eq!(cut.len(), fixtures().len());
    for (batch, fixture) in cut.iter().zip(fixtures()) {
        assert_eq!(batch.bytes, fixture.bytes);
        assert!(whole.contains(&(batch.bytes.as_ptr() as usize)));
    }
    // Cut short anywhere in the last batch: everything before it, then one error, then nothing.
    let mut short = batches(run.slice(..run.len() - 1));
    assert_eq!(
        short.by_ref().take(cut.len() - 1).flatten().count(),
        cut.len() - 1
    );
    assert!(short.next().unwrap().is_err());
    assert!(short.next().is_none());
}

#[test]
fn producer_batches_pass_and_brokers_batches_do_not() {
    let rules = rules();
    let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
    for name in ["one_null_key", "nulls_and_empties", "headers", "idempotent"] {
        let batch = fixture(name);
        let produced = check_produced(&batch.bytes, &rules, &mut scratch).unwrap();
        assert_eq!(
            (produced.header, produced.stamp),
            (batch.header, None),
            "{name}"
        );
    }
    for name in [
        "transactional",
        "marker_commit",
        "leader_change",
        "compacted_gaps",
    ] {
        let refused = check_produced(&fixture(name).bytes, &rules, &mut scratch);
        assert!(matches!(refused, Err(Refusal::Invalid(_))), "{name}");
    }
}

#[test]
fn every_codec_of_kafka_passes_validation() {
    let rules = rules();
    let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
    let mut passed = 0;
    for fixture in fixtures() {
        if !fixture.name.starts_with("codec_") && !fixture.name.starts_with("blocks_") {
            continue;
        }
        let batch = Batch::parse(fixture.bytes).unwrap();
        // The fixture stands at offset 12; offset and epoch lie outside the checksum.
        let mut bytes = batch.bytes.to_vec();
        bytes[..8].fill(0);
        let checked = check_produced(&Bytes::from(bytes), &rules, &mut scratch);
        if batch.header.timestamp_type() == TimestampType::LogAppendTime {
            assert!(
                matches!(checked, Err(Refusal::Timestamps(_))),
                "{}",
                fixture.name
            );
        } else {
            assert_eq!(checked.map(|it| it.stamp), Ok(None), "{}", fixture.name);
        }
        passed += 1;
    }
    assert!(passed >= 15);
}

#[test]
fn log_append_time_is_stamped_as_kafka_does() {
    let stored = fixture("log_append_time");
    let mut builder = BatchBuilder::new(Options {
        base_offset: 3,
        ..Options::default()
    });
    let created = 1_700_000_000_000;
    builder.push(created, Some(b"a"), Some(b"1"), &[]).unwrap();
    builder
        .push(created + 100, Some(b"b"), Some(b"2"), &[])
        .unwrap();
    let built = builder.build();
    let stamp = millrace_protocol::records::Stamp {
        timestamp_type: TimestampType::LogAppendTime,
        max_timestamp: created + 777,
    };
    assert_eq!(stamp.stamped(built.clone()).unwrap(), stored.bytes);
    assert_eq!(
        stamp.stamped(Bytes::copy_from_slice(&built)).unwrap(),
        stored.bytes
    );
    assert!(verify_crc(&stored.bytes));
}

#[test]
fn a_batch_of_another_producer_is_what_that_producer_would_have_built() {
    for codec in [Codec::None, Codec::Lz4] {
        let build = |options: Options| {
            let mut builder = BatchBuilder::new(options);
            builder.push(5, Some(b"a"), Some(b"1"), &[]).unwrap();
            builder
        };
        let of = |producer| Options {
            codec,
            producer,
            ..Options::default()
        };
        let expected = build(of(Some((7, 2, 30)))).build();
        for first in [None, Some((6, 1, 0))] {
            let built = build(of(first)).build();
            let sent = Batch::parse(built).unwrap().sent_by((7, 2, 30));
            assert_eq!(sent, expected);
            let mut builder = build(of(first));
            builder.set_producer(Some((7, 2, 30)));
            assert_eq!(builder.build(), expected);
        }
    }
}

#[test]
fn records_are_found_by_time() {
    let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
    let base = 1_i64 << 40;
    let t = 1_700_000_000_000_i64;
    let batch = fixture("offsets_and_times");
    let mut first = |timestamp, from| {
        first_at_or_after(&batch, timestamp, from, &mut scratch)
            .unwrap()
            .map(|found| (found.offset - base, found.timestamp - t))
    };
    assert_eq!(first(0, 0), Some((0, 5000)));
    assert_eq!(first(t + 5001, 0), Some((2, 9_000_000_000)));
    assert_eq!(first(t + 1, base + 3), Some((3, 1)));
    assert_eq!(first(t + 9_000_000_001, 0), None);
    let greatest = greatest_timestamp(&batch, &mut scratch).unwrap().unwrap();
    assert_eq!(
        (greatest.offset - base, greatest.timestamp - t),
        (2, 9_000_000_000)
    );

    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        let batch = fixture(&format!("blocks_{codec}"));
        let found = first_at_or_after(&batch, t + 11, 0, &mut scratch)
            .unwrap()
            .unwrap();
        assert_eq!((found.offset, found.timestamp), (14, t + 20), "{codec}");
        let greatest = greatest_timestamp(&batch, &mut scratch).unwrap().unwrap();
        assert_eq!(greatest.offset, 14, "{codec}");
    }
    let stamped = fixture("codec_lz4_log_append");
    let greatest = greatest_timestamp(&stamped, &mut scratch).unwrap().unwrap();
    assert_eq!((greatest.offset, greatest.timestamp), (0, t + 1));
    assert_eq!(
        greatest_timestamp(&fixture("compacted_empty"), &mut scratch),
        Ok(None)
    );
}

#[test]
fn markers_are_read_and_written_as_kafkas() {
    let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
    for (name, end) in [
        ("marker_commit", TransactionEnd::Commit),
        ("marker_abort", TransactionEnd::Abort),
    ] {
        let batch = fixture(name);
        let marker = Marker::of_batch(&batch, &mut scratch).unwrap().unwrap();
        assert_eq!(
            marker,
            Marker {
                end,
                coordinator_epoch: 17
            }
        );
        let header = batch.header;
        let built = marker.batch((4712, 1), header.base_timestamp);
        // Ours leaves offset and epoch to the leader, who writes them in front.
        assert_eq!(built[16..], batch.bytes[16..]);
    }
    let leader_change = fixture("leader_change");
    assert_eq!(Marker::of_batch(&leader_change, &mut scratch), Ok(None));
    let record = record_iter(&leader_change, &mut scratch)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(
        ControlType::parse_key(record.key.unwrap()),
        Ok(ControlType::LeaderChange)
    );
    assert_eq!(
        Marker::of_batch(&fixture("headers"), &mut scratch),
        Ok(None)
    );
}

#[test]
fn an_emptied_batch_is_kafkas_empty_header() {
    let batch = fixture("compacted_empty");
    assert_eq!(emptied(&batch.header), batch.bytes);
}

fn rules() -> ProduceRules {
    ProduceRules {
        depth: millrace_protocol::records::Depth::Full,
        batch_bytes_max: 1 << 20,
        inflated_bytes_max: INFLATED_BYTES_MAX,
        compacted: false,
        zstd_allowed: true,
        transactional_allowed: false,
        timestamp_type: TimestampType::CreateTime,
        now_ms: 1_700_000_000_000,
        before_max_ms: i64::MAX,
        after_max_ms: 3_600_000,
    }
}
