//! Produce, versions 3–13, and what an idempotent producer is answered.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use millrace_protocol::api::Api;
use millrace_protocol::messages::{self, ProduceResponse, Uuid};
use millrace_protocol::records::{Batch, BatchBuilder, Codec, Options, TimestampType};

use crate::node::{
    Node, PRODUCE, Topic, WALL_MS, batch, batch_from, batch_of, produce_request, with,
};

/// The error code of a batch in the newest version.
async fn code(node: &mut Node, topic: &Topic, records: Bytes) -> i16 {
    let row = node.produce(topic, records).await;
    if row.error_code != 0 {
        assert_eq!((row.base_offset, row.log_append_time_ms), (-1, -1));
    }
    row.error_code
}

#[test]
fn every_version_appends_in_order_with_every_kind_of_acks() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        let mut expected = Vec::new();
        for version in 3..=PRODUCE {
            for acks in [1, -1] {
                let value = format!("{version} {acks}");
                let records = Some(batch(&[&value]));
                let row = node.produce_in(version, &topic, acks, records).await;
                let log_start = if version >= 5 { 0 } else { -1 };
                assert_eq!(row.error_code, 0);
                assert_eq!(row.base_offset, expected.len() as i64);
                assert_eq!(row.log_append_time_ms, -1);
                assert_eq!(row.log_start_offset, log_start);
                expected.push(value);
            }
        }
        assert_eq!(node.values(&topic, 0).await, expected);
        node.restart().await;
        assert_eq!(node.values(&topic, 0).await, expected);
        node.crash().await;
        assert_eq!(node.values(&topic, 0).await, expected);
        let row = node.produce(&topic, batch(&["last"])).await;
        assert_eq!(row.base_offset, expected.len() as i64);
    });
}

#[test]
fn acks_0_has_no_reply_and_a_failure_closes_the_connection() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        for version in 3..=PRODUCE {
            let request = produce_request(&topic, 0, 0, Some(batch(&["x"])));
            let body = messages::encode(&request, version).unwrap();
            let flexible = Api::Produce.row().is_flexible(version);
            node.client.send_request(0, version, flexible, &body).await;
        }
        // The next reply is that of the next request: there was none before it.
        assert!(node.client.is_served().await);
        // Visible once they are durable, which nobody waited for.
        node.world.pause(Duration::from_secs(1)).await;
        assert_eq!(node.values(&topic, 0).await.len(), 11);
        let request = produce_request(&topic, 9, 0, Some(batch(&["x"])));
        let body = messages::encode(&request, PRODUCE).unwrap();
        let mut doomed = node.connect().await;
        doomed.send_request(0, PRODUCE, true, &body).await;
        assert_eq!(doomed.reply().await, None);
        let closed = "millrace_connection_closes_total{reason=\"failed_without_reply\"}";
        assert_eq!(node.metric(closed), 1);
        assert!(node.client.is_served().await);
    });
}

#[test]
fn a_batch_that_is_damaged_or_of_the_wrong_shape_is_refused() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        let good = batch(&["value"]);
        let changed = |at: usize, to: u8| {
            let mut bytes = BytesMut::from(&good[..]);
            bytes[at] = to;
            bytes.freeze()
        };
        let last = good.len() - 1;
        assert_eq!(code(&mut node, &topic, changed(last, 9)).await, 2);
        assert_eq!(code(&mut node, &topic, changed(17, 0)).await, 2);
        for magic in [0, 1, 3] {
            assert_eq!(code(&mut node, &topic, changed(16, magic)).await, 87);
        }
        assert_eq!(code(&mut node, &topic, Bytes::new()).await, 87);
        let nothing = node.produce_in(PRODUCE, &topic, -1, None).await;
        assert_eq!(nothing.error_code, 87);
        let two = [&good[..], &good[..]].concat();
        assert_eq!(code(&mut node, &topic, two.into()).await, 87);
        let control = Options {
            control: true,
            producer: Some((1, 0, 0)),
            ..Options::default()
        };
        let control = batch_of(control, WALL_MS, &["x"]);
        assert_eq!(code(&mut node, &topic, control).await, 87);
        let counted = "millrace_request_errors_total{api=\"Produce\",error=\"INVALID_RECORD\"}";
        assert_eq!(node.metric(counted), 7);
        assert_eq!(code(&mut node, &topic, good).await, 0);
        assert_eq!(node.values(&topic, 0).await, ["value"]);
    });
}

#[test]
fn sizes_have_limits() {
    with(&[], async |mut node| {
        let small = node.topic("small", &[("max.message.bytes", "200")]).await;
        let large = "v".repeat(200);
        assert_eq!(code(&mut node, &small, batch(&[&large])).await, 10);
        assert_eq!(code(&mut node, &small, batch(&["v"])).await, 0);
        let configs = [
            ("max.message.bytes", "4000000"),
            ("segment.bytes", "1048576"),
        ];
        let segment = node.topic("segment", &configs).await;
        let larger = "v".repeat(1_100_000);
        assert_eq!(code(&mut node, &segment, batch(&[&larger])).await, 18);
        assert_eq!(code(&mut node, &segment, batch(&[&large])).await, 0);
    });
}

#[test]
fn a_batch_that_breaks_a_rule_is_told_where_the_log_starts() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        let gap = Options {
            producer: Some((1, 0, 7)),
            ..Options::default()
        };
        let unsequenced = Options {
            producer: Some((1, 0, -1)),
            ..Options::default()
        };
        let first = Options {
            producer: Some((1, 0, 0)),
            ..Options::default()
        };
        for (options, expected) in [(first, (0, 0)), (gap, (45, 0)), (unsequenced, (87, 0))] {
            let records = Some(batch_of(options, WALL_MS, &["x"]));
            let row = node.produce_in(PRODUCE, &topic, -1, records).await;
            assert_eq!((row.error_code, row.log_start_offset), expected);
        }
        let two = [batch(&["x"]), batch(&["y"])].concat();
        let row = node.produce_in(PRODUCE, &topic, -1, Some(two.into())).await;
        assert_eq!((row.error_code, row.log_start_offset), (87, -1));
        // A duplicate is told the time that it was stored with.
        for expected in [-1, WALL_MS] {
            let again = Options {
                producer: Some((2, 0, 0)),
                ..Options::default()
            };
            let records = Some(batch_of(again, WALL_MS, &["x"]));
            let row = node.produce_in(PRODUCE, &topic, -1, records).await;
            assert_eq!((row.error_code, row.log_append_time_ms), (0, expected));
        }
    });
}

#[test]
fn what_is_not_there_or_not_allowed_has_its_own_code() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        let absent = Topic {
            name: "absent".into(),
            id: Uuid::from_bytes([7; 16]),
        };
        let records = || Some(batch(&["x"]));
        for (version, expected) in [(3, 3), (12, 3), (13, 100)] {
            let row = node.produce_in(version, &absent, -1, records()).await;
            assert_eq!(row.error_code, expected, "version {version}");
        }
        let no_partition = produce_request(&topic, 5, -1, records());
        assert_eq!(node.produce_row(PRODUCE, &no_partition).await.error_code, 3);
        for acks in [5, -2, 2] {
            let row = node.produce_in(PRODUCE, &topic, acks, records()).await;
            assert_eq!(row.error_code, 21);
        }
        let mut named = produce_request(&topic, 0, -1, records());
        named.transactional_id = Some("tx".into());
        assert_eq!(node.produce_row(PRODUCE, &named).await.error_code, 0);
        let options = Options {
            transactional: true,
            producer: Some((1, 0, 0)),
            ..Options::default()
        };
        let transactional = || Some(batch_of(options, WALL_MS, &["x"]));
        for id in [None, Some("tx".into())] {
            let mut request = produce_request(&topic, 0, -1, transactional());
            request.transactional_id = id;
            assert_eq!(node.produce_row(PRODUCE, &request).await.error_code, 53);
        }
        let zstd = Options {
            codec: Codec::Zstd,
            ..Options::default()
        };
        let zstd = batch_of(zstd, WALL_MS, &["x"]);
        for (version, expected) in [(6, 76), (7, 0)] {
            let row = node
                .produce_in(version, &topic, -1, Some(zstd.clone()))
                .await;
            assert_eq!(row.error_code, expected, "version {version}");
        }
        let internal = node.topic("__consumer_offsets", &[]).await;
        assert_eq!(code(&mut node, &internal, batch(&["x"])).await, 17);
    });
}

#[test]
fn the_brokers_time_replaces_the_producers_on_log_append_time_topics() {
    with(&[], async |mut node| {
        let configs = [("message.timestamp.type", "LogAppendTime")];
        let topic = node.topic("t", &configs).await;
        let sent = batch_from((9, 0, 0), &["a", "b"]);
        let first = node.produce(&topic, sent.clone()).await;
        let time = first.log_append_time_ms;
        assert_eq!((first.error_code, first.base_offset), (0, 0));
        assert!((WALL_MS..WALL_MS + 60_000).contains(&time), "{time}");
        node.world.pause(Duration::from_secs(5)).await;
        let again = node.produce(&topic, sent).await;
        let answer = (
            again.error_code,
            again.base_offset,
            again.log_append_time_ms,
        );
        assert_eq!(answer, (0, 0, time), "the original's offset and time");
        let row = node.fetch(&topic, 0).await;
        let stored = Batch::parse(row.records.unwrap()).unwrap();
        stored.verify_crc().unwrap();
        let header = stored.header;
        assert_eq!(header.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(header.max_timestamp, time);
    });
}

#[test]
fn times_too_far_away_are_refused_with_the_records_named() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        let hour = 3_600_000;
        let far = batch_of(Options::default(), WALL_MS + 2 * hour, &["a", "b"]);
        let row = node.produce(&topic, far.clone()).await;
        assert_eq!(row.error_code, 32);
        assert!(!row.record_errors.is_empty());
        assert!(row.error_message.is_some());
        let row = node.produce_in(7, &topic, -1, Some(far)).await;
        assert_eq!(row.error_code, 32);
        let configs = [("message.timestamp.before.max.ms", "1000")];
        let strict = node.topic("strict", &configs).await;
        let old = batch_of(Options::default(), WALL_MS - hour, &["a"]);
        assert_eq!(code(&mut node, &strict, old.clone()).await, 32);
        assert_eq!(code(&mut node, &topic, old).await, 0);
    });
}

#[test]
fn a_record_without_a_key_is_refused_on_a_compacted_topic() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[("cleanup.policy", "compact")]).await;
        let mut builder = BatchBuilder::new(Options::default());
        builder.push(WALL_MS, Some(b"k"), Some(b"v"), &[]).unwrap();
        builder.push(WALL_MS, None, Some(b"v"), &[]).unwrap();
        let records = builder.build();
        let row = node.produce(&topic, records.clone()).await;
        assert_eq!(row.error_code, 87);
        let faults: Vec<i32> = row.record_errors.iter().map(|e| e.batch_index).collect();
        assert_eq!(faults, [1]);
        let row = node.produce_in(7, &topic, -1, Some(records)).await;
        assert_eq!((row.error_code, row.record_errors.len()), (87, 0));
        assert_eq!(code(&mut node, &topic, batch(&["keyed"])).await, 0);
    });
}

#[test]
fn a_duplicate_gets_the_originals_offset_and_is_not_appended() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        for round in 0..7 {
            let records = batch_from((9, 0, round * 2), &["a", "b"]);
            let row = node.produce(&topic, records).await;
            assert_eq!((row.error_code, row.base_offset), (0, i64::from(round) * 2));
        }
        // The last five are known, by their exact first and last sequence.
        for round in 2..7 {
            let records = batch_from((9, 0, round * 2), &["a", "b"]);
            let row = node.produce(&topic, records).await;
            assert_eq!((row.error_code, row.base_offset), (0, i64::from(round) * 2));
        }
        let forgotten = batch_from((9, 0, 2), &["a", "b"]);
        assert_eq!(code(&mut node, &topic, forgotten).await, 45);
        assert_eq!(node.metric("millrace_produce_duplicates_total"), 5);
        node.restart().await;
        let newest = batch_from((9, 0, 12), &["a", "b"]);
        let row = node.produce(&topic, newest).await;
        assert_eq!((row.error_code, row.base_offset), (0, 12));
        node.crash().await;
        let newest = batch_from((9, 0, 12), &["a", "b"]);
        let row = node.produce(&topic, newest).await;
        assert_eq!((row.error_code, row.base_offset), (0, 12));
        assert_eq!(node.values(&topic, 0).await.len(), 14);
    });
}

#[test]
fn sequences_and_epochs_only_go_forward() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        let mut send = async |producer| code(&mut node, &topic, batch_from(producer, &["x"])).await;
        assert_eq!(send((9, 0, 0)).await, 0);
        assert_eq!(send((9, 0, 2)).await, 45, "a gap");
        assert_eq!(send((9, 0, 1)).await, 0);
        assert_eq!(send((9, 1, 5)).await, 45, "a new epoch starts at 0");
        assert_eq!(send((9, 1, 0)).await, 0);
        assert_eq!(send((9, 0, 2)).await, 47, "an epoch that is over");
        assert_eq!(send((10, 3, 700)).await, 0, "nothing is known of it");
        assert_eq!(send((11, 0, i32::MAX)).await, 0);
        assert_eq!(send((11, 0, 0)).await, 0, "sequences wrap");
        assert_eq!(send((12, 0, -1)).await, 87, "an id without a sequence");
    });
}

#[test]
fn a_topic_may_say_in_which_codec_its_batches_are_stored() {
    with(&[], async |mut node| {
        let value = "v".repeat(1000);
        for (word, codec) in [
            ("producer", Codec::Lz4),
            ("uncompressed", Codec::None),
            ("gzip", Codec::Gzip),
            ("zstd", Codec::Zstd),
        ] {
            let name = format!("t-{word}");
            let topic = node.topic(&name, &[("compression.type", word)]).await;
            let options = Options {
                codec: Codec::Lz4,
                producer: Some((9, 0, 0)),
                ..Options::default()
            };
            let sent = batch_of(options, WALL_MS, &[&value]);
            assert_eq!(code(&mut node, &topic, sent.clone()).await, 0);
            assert_eq!(code(&mut node, &topic, sent).await, 0, "a duplicate");
            let row = node.fetch(&topic, 0).await;
            let stored = Batch::parse(row.records.clone().unwrap()).unwrap();
            assert_eq!(stored.header.codec().unwrap(), codec);
            assert_eq!(crate::node::values(&row), [value.as_str()]);
        }
    });
}

#[test]
fn each_partition_of_a_request_has_its_own_outcome() {
    with(&[], async |mut node| {
        let topic = node.topic_of("t", 2, &[]).await;
        let mut request = produce_request(&topic, 0, -1, Some(batch(&["a"])));
        let bad = produce_request(&topic, 1, -1, Some(Bytes::new()));
        let good = produce_request(&topic, 1, -1, Some(batch(&["b"])));
        let data = &mut request.topic_data[0].partition_data;
        data.extend(bad.topic_data[0].partition_data.clone());
        data.extend(good.topic_data[0].partition_data.clone());
        let response: ProduceResponse = node.client.ask(Api::Produce, PRODUCE, &request).await;
        let rows = &response.responses[0].partition_responses;
        let outcomes: Vec<_> = rows.iter().map(|r| (r.index, r.error_code)).collect();
        assert_eq!(outcomes, [(0, 0), (1, 87), (1, 0)]);
    });
}
