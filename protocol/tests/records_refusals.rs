//! Every rule that refuses a produced batch, each with the error code Kafka's client gets.

#![expect(clippy::unwrap_used, reason = "a test panics on what must not happen")]

use bytes::Bytes;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::records::{
    Attributes, BatchBuilder, BatchHeader, CRC_AT, Codec, Depth, HEADER_LEN, LOG_OVERHEAD, Options,
    ProduceRules, Produced, RECORD_FAULTS_MAX, Refusal, Scratch, TimestampType, batches,
    check_produced, checksum, verify_crc,
};

const NOW: i64 = 1_700_000_000_000;
const INFLATED_BYTES_MAX: usize = 1 << 20;

fn rules() -> ProduceRules {
    ProduceRules {
        depth: Depth::Full,
        batch_bytes_max: 1 << 20,
        inflated_bytes_max: INFLATED_BYTES_MAX,
        compacted: false,
        zstd_allowed: true,
        transactional_allowed: false,
        timestamp_type: TimestampType::CreateTime,
        now_ms: NOW,
        before_max_ms: i64::MAX,
        after_max_ms: 3_600_000,
    }
}

fn check(bytes: &[u8], rules: &ProduceRules) -> Result<Produced, Refusal> {
    check_produced(
        &Bytes::copy_from_slice(bytes),
        rules,
        &mut Scratch::new(INFLATED_BYTES_MAX),
    )
}

fn build(options: Options, records: &[(i64, Option<&[u8]>)]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for (timestamp, key) in records {
        builder.push(*timestamp, *key, Some(b"value"), &[]).unwrap();
    }
    builder.build().to_vec()
}

/// Three good records of an idempotent producer.
fn good() -> Vec<u8> {
    let options = Options {
        producer: Some((9, 1, 0)),
        ..Options::default()
    };
    build(
        options,
        &[
            (NOW, Some(b"a")),
            (NOW + 5, Some(b"b")),
            (NOW + 3, Some(b"c")),
        ],
    )
}

/// `bytes` with a changed header and a checksum that is right again.
fn with(mut bytes: Vec<u8>, change: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    let mut header = BatchHeader::parse(&bytes).unwrap();
    change(&mut header);
    header.write(bytes.first_chunk_mut::<HEADER_LEN>().unwrap());
    seal(bytes)
}

fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = checksum(&bytes);
    bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// A batch of `count` records that are these bytes (as the codec has them).
fn raw(codec: Codec, count: i32, records: &[u8]) -> Vec<u8> {
    let mut bytes = good();
    bytes.truncate(HEADER_LEN);
    bytes.extend_from_slice(records);
    let len = (bytes.len() - LOG_OVERHEAD) as i32;
    with(bytes, |header| {
        header.batch_length = len;
        header.attributes = Attributes::default().with_codec(codec);
        header.record_count = count;
        header.last_offset_delta = count - 1;
    })
}

fn code(result: Result<Produced, Refusal>) -> ErrorCode {
    match result {
        Ok(_) => ErrorCode::None,
        Err(refusal) => {
            assert!(!refusal.to_string().is_empty());
            refusal.error_code()
        }
    }
}

#[test]
fn a_good_batch_passes_at_both_depths() {
    let bytes = good();
    let produced = check(&bytes, &rules()).unwrap();
    assert_eq!((produced.stamp, produced.max_timestamp), (None, NOW + 5));
    assert_eq!(produced.finish(Bytes::from(bytes.clone())).unwrap(), bytes);
    let header_only = ProduceRules {
        depth: Depth::Header,
        ..rules()
    };
    assert_eq!(check(&bytes, &header_only), check(&bytes, &rules()));
}

#[test]
fn it_takes_exactly_one_batch() {
    assert!(matches!(check(&[], &rules()), Err(Refusal::BatchCount(_))));
    let two = [good(), good()].concat();
    assert!(matches!(check(&two, &rules()), Err(Refusal::BatchCount(_))));
    assert_eq!(code(check(&two, &rules())), ErrorCode::InvalidRecord);
}

#[test]
fn length_must_be_exact() {
    let bytes = good();
    for len in [1, 16, 17, 60, 61, bytes.len() - 1] {
        assert_eq!(
            code(check(&bytes[..len], &rules())),
            ErrorCode::CorruptMessage,
            "{len}"
        );
    }
    let longer = [bytes, vec![1]].concat();
    assert_eq!(code(check(&longer, &rules())), ErrorCode::CorruptMessage);
    for batch_length in [i32::MIN, -1, 0, 48, i32::MAX] {
        let mut bytes = good();
        bytes[8..12].copy_from_slice(&batch_length.to_be_bytes());
        assert_eq!(
            code(check(&bytes, &rules())),
            ErrorCode::CorruptMessage,
            "{batch_length}"
        );
    }
}

#[test]
fn a_wrong_checksum_is_corruption() {
    for at in [CRC_AT, 30, HEADER_LEN, good().len() - 1] {
        let mut bytes = good();
        bytes[at] ^= 1;
        assert_eq!(
            code(check(&bytes, &rules())),
            ErrorCode::CorruptMessage,
            "{at}"
        );
    }
    // Leader epoch lies outside the checksum and is the leader's to set.
    let mut bytes = good();
    bytes[13] ^= 1;
    assert_eq!(code(check(&bytes, &rules())), ErrorCode::None);
}

#[test]
fn older_formats_are_refused_by_name() {
    for magic in [0_u8, 1, 3] {
        let mut bytes = good();
        bytes[16] = magic;
        assert_eq!(check(&bytes, &rules()), Err(Refusal::Magic(magic as i8)));
        // Also when the message is shorter than a batch header, as old messages may be.
        assert_eq!(
            check(&bytes[..40], &rules()),
            Err(Refusal::Magic(magic as i8))
        );
    }
}

#[test]
fn header_fields_follow_the_rules_for_clients() {
    type Change = fn(&mut BatchHeader);
    let broken: [(&str, Change); 13] = [
        ("base offset", |header| header.base_offset = 1),
        ("negative base offset", |header| header.base_offset = -1),
        ("no records", |header| header.record_count = 0),
        ("negative count", |header| header.record_count = -1),
        ("count too large", |header| header.record_count = 4),
        ("offset delta too large", |header| {
            header.last_offset_delta = 3;
        }),
        ("negative offset delta", |header| {
            header.last_offset_delta = -1;
        }),
        ("greatest offset delta", |header| {
            header.last_offset_delta = i32::MAX;
        }),
        ("control", |header| {
            header.attributes = header.attributes.with_control(true);
        }),
        ("horizon", |header| {
            header.attributes = header.attributes.with_delete_horizon(true);
        }),
        ("no sequence", |header| header.base_sequence = -1),
        ("no epoch", |header| header.producer_epoch = -1),
        ("producer id", |header| header.producer_id = -2),
    ];
    for (what, change) in broken {
        let bytes = with(good(), change);
        let refused = check(&bytes, &rules());
        assert!(
            matches!(refused, Err(Refusal::Invalid(_))),
            "{what}: {refused:?}"
        );
        assert_eq!(code(refused), ErrorCode::InvalidRecord, "{what}");
    }
}

#[test]
fn transactional_batches_need_a_producer_and_leave() {
    let transactional = with(good(), |header| {
        header.attributes = header.attributes.with_transactional(true);
    });
    assert!(matches!(
        check(&transactional, &rules()),
        Err(Refusal::Invalid(_))
    ));
    let allowing = ProduceRules {
        transactional_allowed: true,
        ..rules()
    };
    assert!(check(&transactional, &allowing).is_ok());
    let nobody = with(transactional, |header| header.producer_id = -1);
    assert!(matches!(
        check(&nobody, &allowing),
        Err(Refusal::Invalid(_))
    ));
}

#[test]
fn size_is_limited() {
    let bytes = good();
    let limit = bytes.len();
    assert!(
        check(
            &bytes,
            &ProduceRules {
                batch_bytes_max: limit,
                ..rules()
            }
        )
        .is_ok()
    );
    let refused = check(
        &bytes,
        &ProduceRules {
            batch_bytes_max: limit - 1,
            ..rules()
        },
    );
    assert_eq!(
        refused,
        Err(Refusal::TooLarge {
            size: limit,
            limit: limit - 1
        })
    );
    assert_eq!(code(refused), ErrorCode::MessageTooLarge);
}

#[test]
fn codecs_are_known_and_allowed() {
    for id in 5..8_i16 {
        let bytes = with(good(), |header| header.attributes = Attributes(id));
        assert_eq!(check(&bytes, &rules()), Err(Refusal::Codec(id as u8)));
    }
    let zstd = build(
        Options {
            codec: Codec::Zstd,
            ..Options::default()
        },
        &[(NOW, None)],
    );
    assert!(check(&zstd, &rules()).is_ok());
    let refused = check(
        &zstd,
        &ProduceRules {
            zstd_allowed: false,
            ..rules()
        },
    );
    assert_eq!(code(refused), ErrorCode::UnsupportedCompressionType);
}

#[test]
fn records_out_of_time_are_named() {
    let hour = 3_600_000;
    let rules = ProduceRules {
        before_max_ms: hour,
        after_max_ms: hour,
        ..rules()
    };
    let times = [
        NOW,
        NOW - hour,
        NOW + hour,
        NOW - hour - 1,
        -1,
        NOW + hour + 1,
        i64::MAX,
    ];
    for codec in Codec::ALL {
        let records: Vec<_> = times.iter().map(|&time| (time, None)).collect();
        let bytes = build(
            Options {
                codec,
                ..Options::default()
            },
            &records,
        );
        let refusal = check(&bytes, &rules).unwrap_err();
        let faults: Vec<i32> = refusal.record_faults().iter().map(|it| it.index).collect();
        assert_eq!(faults, [3, 5, 6], "{codec:?}");
        assert_eq!(refusal.error_code(), ErrorCode::InvalidTimestamp);
    }
    // With only the header looked at, its greatest time decides.
    let shallow = ProduceRules {
        depth: Depth::Header,
        ..rules
    };
    let late = build(Options::default(), &[(NOW, None), (NOW + hour + 1, None)]);
    assert_eq!(code(check(&late, &shallow)), ErrorCode::InvalidTimestamp);
    // The broker's own time needs no such rule.
    let append = ProduceRules {
        timestamp_type: TimestampType::LogAppendTime,
        ..rules
    };
    assert_eq!(code(check(&late, &append)), ErrorCode::None);
}

#[test]
fn a_producer_does_not_set_log_append_time() {
    let options = Options {
        timestamp_type: TimestampType::LogAppendTime,
        ..Options::default()
    };
    let bytes = build(options, &[(NOW, None)]);
    assert_eq!(code(check(&bytes, &rules())), ErrorCode::InvalidTimestamp);
}

#[test]
fn log_append_time_topics_stamp_the_batch() {
    let append = ProduceRules {
        timestamp_type: TimestampType::LogAppendTime,
        now_ms: NOW + 99,
        ..rules()
    };
    let produced = check(&good(), &append).unwrap();
    assert_eq!(produced.max_timestamp, NOW + 99);
    let stamped = produced.finish(Bytes::from(good())).unwrap();
    let batch = batches(stamped).next().unwrap().unwrap();
    assert_eq!(batch.header.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(batch.header.max_timestamp, NOW + 99);
    assert!(verify_crc(&batch.bytes));
}

#[test]
fn a_wrong_greatest_time_is_corrected_as_kafka_does() {
    let bytes = with(good(), |header| header.max_timestamp = NOW + 4);
    let produced = check(&bytes, &rules()).unwrap();
    assert_eq!(produced.max_timestamp, NOW + 5);
    let corrected = produced.finish(Bytes::from(bytes)).unwrap();
    assert_eq!(corrected, good());
}

#[test]
fn compacted_topics_need_keys() {
    let rules = ProduceRules {
        compacted: true,
        ..rules()
    };
    assert!(check(&good(), &rules).is_ok());
    for codec in Codec::ALL {
        let records: [(i64, Option<&[u8]>); 3] = [(NOW, Some(b"")), (NOW, None), (NOW, None)];
        let bytes = build(
            Options {
                codec,
                ..Options::default()
            },
            &records,
        );
        let refusal = check(&bytes, &rules).unwrap_err();
        assert_eq!(
            refusal
                .record_faults()
                .iter()
                .map(|it| it.index)
                .collect::<Vec<_>>(),
            [1, 2]
        );
        assert_eq!(refusal.error_code(), ErrorCode::InvalidRecord);
    }
}

#[test]
fn no_more_faults_are_named_than_the_limit() {
    let records = vec![(NOW, None); RECORD_FAULTS_MAX * 3];
    let bytes = build(Options::default(), &records);
    let refusal = check(
        &bytes,
        &ProduceRules {
            compacted: true,
            ..rules()
        },
    )
    .unwrap_err();
    assert_eq!(refusal.record_faults().len(), RECORD_FAULTS_MAX);
}

#[test]
fn malformed_records_are_refused_in_every_codec() {
    // length, attributes, timestamp delta, offset delta, key, value, header count; zig-zag varints.
    let good: &[u8] = &[12, 0, 0, 0, 1, 1, 0];
    let cases: [(&str, i32, &[u8]); 16] = [
        ("nothing", 1, &[]),
        ("negative length", 1, &[1, 0, 0, 0, 1, 1, 0]),
        ("length too large", 1, &[14, 0, 0, 0, 1, 1, 0]),
        ("length too small", 1, &[10, 0, 0, 0, 1, 1, 0]),
        (
            "greatest length",
            1,
            &[0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 1, 1, 0],
        ),
        ("endless length", 1, &[0x80; 12]),
        ("key runs on", 1, &[12, 0, 0, 0, 40, 1, 0]),
        ("key length -2", 1, &[12, 0, 0, 0, 3, 1, 0]),
        ("value runs on", 1, &[12, 0, 0, 0, 1, 40, 0]),
        ("negative header count", 1, &[12, 0, 0, 0, 1, 1, 1]),
        ("headers missing", 1, &[12, 0, 0, 0, 1, 1, 2]),
        ("null header key", 1, &[16, 0, 0, 0, 1, 1, 2, 1, 1]),
        ("offset delta", 1, &[12, 0, 0, 2, 1, 1, 0]),
        ("negative offset delta", 1, &[12, 0, 0, 1, 1, 1, 0]),
        ("a byte behind", 1, &[12, 0, 0, 0, 1, 1, 0, 0]),
        ("one record of two", 2, good),
    ];
    for codec in Codec::ALL {
        let packed = |records: &[u8]| {
            let mut out = Vec::new();
            millrace_protocol::records::compression::compress(codec, None, records, &mut out);
            out
        };
        assert!(
            check(&raw(codec, 1, &packed(good)), &rules()).is_ok(),
            "{codec:?}"
        );
        for (what, count, records) in cases {
            let refused = check(&raw(codec, count, &packed(records)), &rules());
            assert_eq!(code(refused), ErrorCode::InvalidRecord, "{codec:?}: {what}");
        }
    }
}

#[test]
fn a_time_that_does_not_fit_64_bits_is_refused() {
    let greatest = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    let record = [&[30_u8, 0][..], &greatest, &[0, 1, 1, 0]].concat();
    let refused = check(&raw(Codec::None, 1, &record), &rules());
    assert_eq!(code(refused), ErrorCode::InvalidRecord);
}

#[test]
fn broken_compression_is_refused() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        for garbage in [&b""[..], b"\0", b"not compressed at all, whatever it says"] {
            let refused = check(&raw(codec, 1, garbage), &rules());
            assert_eq!(code(refused), ErrorCode::InvalidRecord, "{codec:?}");
        }
        let whole = build(
            Options {
                codec,
                ..Options::default()
            },
            &[(NOW, None); 50],
        );
        let records = &whole[HEADER_LEN..];
        for len in 0..records.len() {
            let refused = check(&raw(codec, 50, &records[..len]), &rules());
            assert_eq!(
                code(refused),
                ErrorCode::InvalidRecord,
                "{codec:?} cut at {len}"
            );
        }
    }
}

#[test]
fn header_depth_does_not_open_the_batch() {
    let rules = ProduceRules {
        depth: Depth::Header,
        ..rules()
    };
    assert!(check(&raw(Codec::Zstd, 1, b"garbage"), &rules).is_ok());
}

#[test]
fn content_beyond_the_cap_is_refused_without_being_kept() {
    let records: Vec<u8> = vec![0; 8 * INFLATED_BYTES_MAX];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut builder = BatchBuilder::new(Options {
            codec,
            ..Options::default()
        });
        builder.push(NOW, None, Some(&records), &[]).unwrap();
        let bytes = builder.build();
        let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
        let refused = check_produced(&bytes, &rules(), &mut scratch);
        assert_eq!(
            refused,
            Err(Refusal::InflatesTooMuch {
                limit: INFLATED_BYTES_MAX
            })
        );
        assert_eq!(code(refused), ErrorCode::MessageTooLarge);
        // A codec's window may stay (2 MiB for zstd's default level), the content may not.
        let kept = scratch.kept_bytes();
        assert!(kept < records.len() / 2, "{codec:?} keeps {kept} bytes");
    }
}
