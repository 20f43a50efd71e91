//! What no client should send: the sender gets a clear error or loses its connection, a counter
//! moves, and everyone else is served.

use bytes::{BufMut, Bytes, BytesMut};
use millrace_protocol::api::Api;
use millrace_protocol::header::{self, RequestHeader};
use millrace_protocol::messages::{self, FetchResponse, MetadataRequest, MetadataResponse};
use millrace_protocol::records::{Codec, Options};

use crate::node::{Node, WALL_MS, batch, batch_of, fetch_request, with};

const FRAME_LENGTH: &str = "frame_length";
const UNPARSABLE: &str = "unparsable";

fn closes(node: &Node, reason: &str) -> u64 {
    node.metric(&format!(
        "millrace_connection_closes_total{{reason=\"{reason}\"}}"
    ))
}

/// A change to the bytes of a batch.
type Change<'a> = &'a dyn Fn(&mut [u8]);

/// Sends raw bytes on a new connection, which must be closed for `reason` without a reply.
async fn is_closed(node: &mut Node, bytes: Bytes, reason: &str) {
    let before = closes(node, reason);
    let mut sender = node.connect().await;
    sender.send(bytes.clone()).await;
    assert_eq!(sender.reply().await, None, "{bytes:?}");
    assert_eq!(closes(node, reason), before + 1, "{bytes:?}");
    assert!(node.client.is_served().await, "everyone else is served");
}

/// Sends a body on a new connection, which must be closed since it can't be read.
async fn is_unparsable(node: &mut Node, api: Api, version: i16, body: &[u8]) {
    let header = RequestHeader {
        api_key: api.key(),
        api_version: version,
        correlation_id: 7,
        client_id: Some(Bytes::from_static(b"bad")),
    };
    let mut frame = BytesMut::new();
    let flexible = api.row().request_header_version(version) == 2;
    header::encode_request(&header, flexible, &mut frame);
    frame.put_slice(body);
    let mut bytes = BytesMut::new();
    bytes.put_u32(u32::try_from(frame.len()).unwrap());
    bytes.put_slice(&frame);
    is_closed(node, bytes.freeze(), UNPARSABLE).await;
}

#[test]
fn frame_lengths_that_cannot_be_close_the_connection() {
    with(&[], async |mut node| {
        for len in [-1, i32::MIN, 0, 1, 7, 104_857_601, i32::MAX] {
            let mut bytes = BytesMut::new();
            bytes.put_i32(len);
            bytes.put_slice(b"GET / HTTP/1.1\r\n\r\n");
            is_closed(&mut node, bytes.freeze(), FRAME_LENGTH).await;
        }
        assert_eq!(node.metric("millrace_request_budget_bytes"), 0);
    });
    let pairs = [
        ("socket.request.max.bytes", "1000"),
        ("message.max.bytes", "900"),
    ];
    with(&pairs, async |mut node| {
        let mut bytes = BytesMut::new();
        bytes.put_i32(1001);
        is_closed(&mut node, bytes.freeze(), FRAME_LENGTH).await;
    });
}

#[test]
fn counts_and_lengths_that_the_bytes_do_not_hold_close_the_connection() {
    with(&[], async |mut node| {
        let metadata = Api::Metadata;
        for count in [-2, i32::MIN, 1, 1000, i32::MAX] {
            is_unparsable(&mut node, metadata, 1, &count.to_be_bytes()).await;
        }
        // One topic: a null name, a name longer than the bytes, bytes that are no text.
        for name in [
            &b"\xff\xff"[..],
            b"\x00\x09abc",
            b"\x7f\xff",
            b"\x00\x02\xc3\x28",
        ] {
            let body = [&[0, 0, 0, 1], name].concat();
            is_unparsable(&mut node, metadata, 1, &body).await;
        }
        // Flexible versions: variable-length counts that overflow or promise too much.
        for count in [
            &b"\xff\xff\xff\xff\x0f"[..],
            b"\xff\xff\xff\xff\xff\x01",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\xff",
            b"\x05",
        ] {
            is_unparsable(&mut node, metadata, 12, count).await;
        }
        is_unparsable(&mut node, metadata, 12, b"").await;
        is_unparsable(&mut node, Api::Produce, 9, b"\x00\x00\x01\x00").await;
    });
}

/// Kafka ignores them, and librdkafka leaves three where it asks for the metadata of all topics.
#[test]
fn bytes_after_the_message_are_ignored() {
    with(&[], async |mut node| {
        for version in 0..=13 {
            let mut request = MetadataRequest::default();
            request.topics = Some(Vec::new());
            request.allow_auto_topic_creation = true;
            let body = messages::encode(&request, version).unwrap();
            let flexible = Api::Metadata.row().request_header_version(version) == 2;
            let mut replies = Vec::new();
            for behind in [&b""[..], &[1, 0, 0]] {
                let body = [&body[..], behind].concat();
                node.client.send_request(3, version, flexible, &body).await;
                let mut reply = node.client.reply().await.expect("it is served");
                header::decode_response(&mut reply, flexible).unwrap();
                replies.push(reply);
            }
            assert_eq!(replies[0], replies[1], "version {version}");
        }
    });
}

#[test]
fn unknown_tags_are_skipped_and_too_many_refused() {
    with(&[], async |mut node| {
        let mut request = MetadataRequest::default();
        request.topics = Some(Vec::new());
        let plain = messages::encode(&request, 12).unwrap();
        let (tags, body) = plain.split_last().unwrap();
        assert_eq!(*tags, 0, "the body ends in an empty tag section");
        let tagged = [body, b"\x02\x64\x03abc\x65\x00"].concat();
        node.client.send_request(3, 12, true, &tagged).await;
        let mut reply = node.client.reply().await.unwrap();
        header::decode_response(&mut reply, true).unwrap();
        let limits = messages::DecodeLimits::default();
        let response: MetadataResponse = messages::decode(12, reply, &limits).unwrap();
        assert_eq!(response.topics.len(), 0);
        // A tag twice, a length past the end, a million tags.
        for section in [&b"\x02\x64\x01a\x64\x01b"[..], b"\x01\x64\x7fabc"] {
            let body = [body, section].concat();
            is_unparsable(&mut node, Api::Metadata, 12, &body).await;
        }
        let mut many = BytesMut::from(body);
        many.put_slice(b"\xc0\x84\x3d");
        for tag in 1_000_u32..200_000 {
            let low = |shift: u32| u8::try_from((tag >> shift) & 0x7f).unwrap();
            many.put_slice(&[low(0) | 0x80, low(7) | 0x80, low(14), 0]);
        }
        is_unparsable(&mut node, Api::Metadata, 12, &many).await;
    });
}

#[test]
fn a_header_that_lies_is_a_bad_batch() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        let good = batch(&["a", "b"]);
        let with_crc = |change: &dyn Fn(&mut [u8])| {
            let mut bytes = good.to_vec();
            change(&mut bytes);
            let crc = millrace_protocol::records::checksum(&bytes);
            bytes[17..21].copy_from_slice(&crc.to_be_bytes());
            Bytes::from(bytes)
        };
        let put = |bytes: &mut [u8], at: usize, value: i32| {
            bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
        };
        let changes: [(&str, Change<'_>); 9] = [
            ("records: -1", &|b| put(b, 57, -1)),
            ("records: 3", &|b| put(b, 57, 3)),
            ("records: 0", &|b| put(b, 57, 0)),
            ("last offset delta: 5", &|b| put(b, 23, 5)),
            ("last offset delta: -1", &|b| put(b, 23, -1)),
            ("control", &|b| b[22] |= 0x20),
            ("codec 6", &|b| b[22] |= 0x06),
            ("delete horizon", &|b| b[22] |= 0x40),
            ("base offset", &|b| b[7] = 3),
        ];
        for (what, change) in changes {
            let row = node.produce(&topic, with_crc(change)).await;
            assert!([87, 2, 76].contains(&row.error_code), "{what}: {row:?}");
        }
        // A batch length that isn't that of the bytes.
        for len in [-1, 0, 48, 49, i32::MAX] {
            let row = node.produce(&topic, with_crc(&|b| put(b, 8, len))).await;
            assert!([87, 2].contains(&row.error_code), "{len}: {row:?}");
        }
        assert_eq!(
            node.values(&topic, 0).await.len(),
            0,
            "nothing was appended"
        );
        assert_eq!(node.produce(&topic, good).await.error_code, 0);
    });
}

#[test]
fn a_batch_that_inflates_without_end_is_refused() {
    let pairs = [("batch.decompressed.bytes.max", "1048576")];
    with(&pairs, async |mut node| {
        let topic = node.topic("t", &[]).await;
        let zeros = "0".repeat(20 << 20);
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let options = Options {
                codec,
                ..Options::default()
            };
            let bomb = batch_of(options, WALL_MS, &[&zeros]);
            let row = node.produce(&topic, bomb).await;
            assert_eq!(row.error_code, 10, "{codec:?}: {:?}", row.error_message);
        }
        assert_eq!(node.metric("millrace_produce_rejected_total"), 4);
    });
}

#[test]
fn strange_client_ids_are_served_and_named_nowhere() {
    with(&[], async |node| {
        let long = "x".repeat(30_000);
        for id in ["line\nbreak", "\u{1b}[31mred", "", long.as_str()] {
            let header = RequestHeader {
                api_key: 18,
                api_version: 0,
                correlation_id: 7,
                client_id: Some(Bytes::copy_from_slice(id.as_bytes())),
            };
            let mut frame = BytesMut::new();
            header::encode_request(&header, false, &mut frame);
            let mut bytes = BytesMut::new();
            bytes.put_u32(u32::try_from(frame.len()).unwrap());
            bytes.put_slice(&frame);
            let mut sender = node.connect().await;
            sender.send(bytes.freeze()).await;
            assert!(sender.reply().await.is_some());
        }
        let text = node.broker.as_ref().unwrap().metrics_text();
        assert!(!text.contains("red") && !text.contains("xxx"));
    });
}

#[test]
fn a_request_of_a_hundred_thousand_topics_is_answered_or_refused() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        // Each partition's error is told, and nobody waits.
        let partitions: Vec<_> = (1..50_000).map(|partition| (partition, 0)).collect();
        let mut request = fetch_request(&topic, &partitions);
        request.session_epoch = 0;
        let response: FetchResponse = node.client.ask(Api::Fetch, 18, &request).await;
        assert_eq!(response.responses[0].partitions.len(), 49_999);
        let mut body = BytesMut::new();
        body.put_i32(1_000_000);
        for _ in 0..1_000_000 {
            body.put_slice(b"\x00\x01x");
        }
        is_unparsable(&mut node, Api::Metadata, 1, &body).await;
    });
}
