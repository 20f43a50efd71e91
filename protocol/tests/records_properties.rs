//! Laws of record batches: what is built reads back, passes validation and reads the same through
//! another implementation (the `kafka-protocol` crate), in both directions; damage never panics.

#![expect(clippy::unwrap_used, reason = "a test panics on what must not happen")]

use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as other;
use millrace_protocol::records::{
    Batch, BatchBuilder, CRC_AT, Codec, Depth, Header, Options, ProduceRules, Scratch,
    TimestampType, batches, check_produced, checksum, first_at_or_after, record_iter,
};
use proptest::prelude::*;

const INFLATED_BYTES_MAX: usize = 1 << 20;

/// A record that owns its bytes. Header names are distinct, as the other implementation keeps a map.
#[derive(Debug, Clone, PartialEq)]
struct Owned {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn bytes(len: usize) -> impl Strategy<Value = Option<Vec<u8>>> {
    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..len))
}

prop_compose! {
    fn record()(
        timestamp in prop_oneof![-1_i64..5, 1_600_000_000_000_i64..1_800_000_000_000],
        key in bytes(40),
        value in bytes(400),
        headers in proptest::collection::btree_map("[a-zé]{0,5}", bytes(10), 0..4),
    ) -> Owned {
        Owned { timestamp, key, value, headers: headers.into_iter().collect() }
    }
}

fn options() -> impl Strategy<Value = Options> {
    let producer = proptest::option::of((0_i64.., 0_i16.., 0_i32..));
    (
        0_usize..5,
        producer,
        any::<bool>(),
        proptest::option::of(-7_i32..20),
    )
        .prop_map(|(codec, producer, transactional, level)| Options {
            codec: Codec::ALL[codec],
            level,
            producer,
            transactional: transactional && producer.is_some(),
            ..Options::default()
        })
}

fn build(options: Options, records: &[Owned]) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for record in records {
        let headers: Vec<Header<'_>> = record
            .headers
            .iter()
            .map(|(key, value)| Header {
                key: key.as_bytes(),
                value: value.as_deref(),
            })
            .collect();
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        builder
            .push(record.timestamp, key, value, &headers)
            .unwrap();
    }
    builder.build()
}

fn read(batch: &Batch) -> Vec<(i64, Owned)> {
    record_iter(batch, &mut Scratch::new(INFLATED_BYTES_MAX))
        .unwrap()
        .map(|record| {
            let record = record.unwrap();
            let headers = record.headers.clone().map(|header| {
                let name = String::from_utf8(header.key.to_vec()).unwrap();
                (name, header.value.map(<[u8]>::to_vec))
            });
            let owned = Owned {
                timestamp: record.timestamp,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: headers.collect(),
            };
            (record.offset, owned)
        })
        .collect()
}

fn rules() -> ProduceRules {
    ProduceRules {
        depth: Depth::Full,
        batch_bytes_max: usize::MAX,
        inflated_bytes_max: INFLATED_BYTES_MAX,
        compacted: false,
        zstd_allowed: true,
        transactional_allowed: true,
        timestamp_type: TimestampType::CreateTime,
        now_ms: 0,
        before_max_ms: i64::MAX,
        after_max_ms: i64::MAX,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_is_built_passes_and_reads_back(
        options in options(),
        records in proptest::collection::vec(record(), 1..12),
    ) {
        let built = build(options, &records);
        let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
        let produced = check_produced(&built, &rules(), &mut scratch);
        prop_assert!(produced.is_ok_and(|it| it.stamp.is_none()));
        let cut: Vec<_> = batches(built).collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(cut.len(), 1);
        let back = read(&cut[0]);
        let expected: Vec<_> = (0_i64..).zip(records.iter().cloned()).collect();
        prop_assert_eq!(&back, &expected);
        prop_assert_eq!(cut[0].header.last_offset(), records.len() as i64 - 1);
        // Looking up by time agrees with looking at every record.
        let t = records[0].timestamp + 1;
        let found = first_at_or_after(&cut[0], t, 0, &mut scratch).unwrap();
        let first = expected.iter().find(|(_, record)| record.timestamp >= t);
        prop_assert_eq!(found.map(|it| it.offset), first.map(|it| it.0));
    }

    #[test]
    fn another_implementation_reads_what_we_build(
        options in options(),
        records in proptest::collection::vec(record(), 1..12),
    ) {
        let mut built = build(options, &records);
        let set = other::RecordBatchDecoder::decode(&mut built).unwrap();
        prop_assert_eq!(set.records.len(), records.len());
        for (at, (theirs, ours)) in set.records.iter().zip(&records).enumerate() {
            prop_assert_eq!(theirs.offset, at as i64);
            prop_assert_eq!(theirs.timestamp, ours.timestamp);
            prop_assert_eq!(theirs.key.as_deref(), ours.key.as_deref());
            prop_assert_eq!(theirs.value.as_deref(), ours.value.as_deref());
            prop_assert_eq!(theirs.transactional, options.transactional);
            let (id, epoch, _) = options.producer.unwrap_or((-1, -1, -1));
            prop_assert_eq!((theirs.producer_id, theirs.producer_epoch), (id, epoch));
            let headers: Vec<_> = theirs
                .headers
                .iter()
                .map(|(key, value)| (key.to_string(), value.as_ref().map(|it| it.to_vec())))
                .collect();
            prop_assert_eq!(&headers, &ours.headers);
        }
    }

    #[test]
    fn we_read_what_another_implementation_builds(
        codec in 0_usize..5,
        records in proptest::collection::vec(record(), 1..12),
    ) {
        let theirs: Vec<other::Record> = records
            .iter()
            .enumerate()
            .map(|(at, record)| other::Record {
                transactional: false,
                control: false,
                delete_horizon: false,
                partition_leader_epoch: -1,
                producer_id: 5,
                producer_epoch: 0,
                timestamp_type: other::TimestampType::Creation,
                offset: at as i64,
                sequence: at as i32,
                timestamp: record.timestamp,
                key: record.key.clone().map(Bytes::from),
                value: record.value.clone().map(Bytes::from),
                headers: record
                    .headers
                    .iter()
                    .map(|(key, value)| {
                        (StrBytes::from_string(key.clone()), value.clone().map(Bytes::from))
                    })
                    .collect::<IndexMap<_, _>>(),
            })
            .collect();
        let compression = [
            other::Compression::None,
            other::Compression::Gzip,
            other::Compression::Snappy,
            other::Compression::Lz4,
            other::Compression::Zstd,
        ][codec];
        let mut out = BytesMut::new();
        let options = other::RecordEncodeOptions { version: 2, compression };
        other::RecordBatchEncoder::encode(&mut out, &theirs, &options).unwrap();
        let batch = Batch::parse(out.freeze()).unwrap();
        prop_assert_eq!(batch.verify_crc(), Ok(()));
        let expected: Vec<_> = (0_i64..).zip(records).collect();
        prop_assert_eq!(read(&batch), expected);
    }

    #[test]
    fn damage_never_panics(
        options in options(),
        records in proptest::collection::vec(record(), 1..6),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        sealed in any::<bool>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut broken = build(options, &records).to_vec();
        for (at, byte) in damage {
            let at = at.index(broken.len());
            broken[at] = byte;
        }
        if sealed {
            let crc = checksum(&broken);
            broken[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
        }
        let short = cut.index(broken.len());
        let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
        for bytes in [Bytes::from(broken.clone()), Bytes::from(broken[..short].to_vec())] {
            // What passes is then readable by everyone: the point of validating.
            if check_produced(&bytes, &rules(), &mut scratch).is_ok() {
                let batch = Batch::parse(bytes.clone()).unwrap();
                for record in record_iter(&batch, &mut scratch).unwrap() {
                    prop_assert!(record.is_ok());
                }
            }
            for batch in batches(bytes).flatten() {
                if let Ok(records) = record_iter(&batch, &mut scratch) {
                    for record in records.flatten() {
                        let _ = record.headers.count();
                    }
                }
            }
        }
    }
}
