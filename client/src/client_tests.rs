//! The client against a broker that follows a script over loopback: versions, order, deadlines,
//! and answers that no honest broker sends.

use std::net::SocketAddr;
use std::time::Duration;

use crate::{
    Acks, Client, ClientOptions, Error, FetchFrom, FetchOptions, Fetched, NewTopic, OffsetOf, Topic,
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use millrace_host::real::{self, Options};
use millrace_host::{Connection, Host, Piece, Pool};
use millrace_protocol::api::Api;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::header::{RequestHeader, decode_request, encode_response, peek_api};
use millrace_protocol::ids::TopicId;
use millrace_protocol::messages::api_versions_response::ApiVersion;
use millrace_protocol::messages::create_topics_response::CreatableTopicResult;
use millrace_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use millrace_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use millrace_protocol::messages::list_offsets_response::ListOffsetsTopicResponse;
use millrace_protocol::messages::produce_response::{
    PartitionProduceResponse, TopicProduceResponse,
};
use millrace_protocol::messages::{
    ApiVersionsResponse, CreateTopicsResponse, DeleteRecordsResponse, FetchResponse,
    InitProducerIdRequest, ListOffsetsResponse, Message, MetadataRequest, MetadataResponse,
    ProduceResponse, encode,
};

/// What the broker does with one request.
enum Act {
    /// Answers with this body.
    Answer(Bytes),
    /// Answers with this body, a few bytes at a time.
    Drip(Bytes),
    /// Answers as if to another request.
    AnswerToAnother,
    /// Sends these bytes as they are.
    Raw(&'static [u8]),
    /// Says nothing.
    Silent,
    /// Hangs up.
    Close,
}

type Script = fn(usize, &RequestHeader) -> Act;

async fn broker(host: &Host, script: Script) -> SocketAddr {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut listener = host.net.listen(any, 8).await.unwrap();
    let address = listener.local_addr();
    let serving = host.spawn.spawn(
        Pool::Data,
        "scripted broker",
        Box::pin(async move {
            let mut connection = listener.accept().await.unwrap();
            follow(&mut connection, script).await;
        }),
    );
    drop(serving);
    address
}

/// Returns, and so hangs up, at the end of the script or of the stream.
async fn follow(connection: &mut Connection, script: Script) {
    let mut buf = BytesMut::new();
    for step in 0.. {
        let Some(header) = next_request(connection, &mut buf).await else {
            return;
        };
        let api = Api::from_key(header.api_key).unwrap().row();
        let has_tags = api.response_header_version(header.api_version) == 1;
        let frame = |correlation_id: i32, body: &[u8]| {
            let mut answer = BytesMut::new();
            encode_response(correlation_id, has_tags, &mut answer);
            answer.put_slice(body);
            let mut frame = BytesMut::new();
            frame.put_i32(i32::try_from(answer.len()).unwrap());
            frame.put_slice(&answer);
            frame.freeze()
        };
        let pieces = match script(step, &header) {
            Act::Answer(body) => vec![frame(header.correlation_id, &body)],
            Act::Drip(body) => {
                let frame = frame(header.correlation_id, &body);
                (0..frame.len()).map(|at| frame.slice(at..=at)).collect()
            }
            Act::AnswerToAnother => vec![frame(header.correlation_id + 1, &[])],
            Act::Raw(bytes) => vec![Bytes::from_static(bytes)],
            Act::Silent => vec![],
            Act::Close => return,
        };
        for piece in pieces {
            connection
                .write
                .send(vec![Piece::Bytes(piece)])
                .await
                .unwrap();
        }
    }
}

async fn next_request(connection: &mut Connection, buf: &mut BytesMut) -> Option<RequestHeader> {
    loop {
        if let Some(length) = buf.first_chunk::<4>() {
            let length = usize::try_from(i32::from_be_bytes(*length)).unwrap();
            if buf.len() >= 4 + length {
                buf.advance(4);
                let mut frame = buf.split_to(length).freeze();
                let (key, version) = peek_api(&frame).unwrap();
                let flexible = Api::from_key(key).unwrap().row().is_flexible(version);
                return Some(decode_request(&mut frame, flexible).unwrap());
            }
        }
        if connection.read.read(buf, 4096).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

fn served(rows: &[(Api, i16, i16)], error: ErrorCode) -> ApiVersionsResponse {
    let mut answer = ApiVersionsResponse::default();
    answer.error_code = error.code();
    let row = |(api, min, max): &(Api, i16, i16)| {
        let mut row = ApiVersion::default();
        (row.api_key, row.min_version, row.max_version) = (api.key(), *min, *max);
        row
    };
    answer.api_keys = rows.iter().map(row).collect();
    answer
}

fn body<M: Message>(message: &M, version: i16) -> Bytes {
    encode(message, version).unwrap()
}

fn metadata_only(header: &RequestHeader) -> Act {
    let answer = served(&[(Api::Metadata, 0, 9)], ErrorCode::None);
    Act::Answer(body(&answer, header.api_version))
}

fn options() -> ClientOptions {
    ClientOptions {
        request_timeout: Duration::from_secs(20),
        ..ClientOptions::default()
    }
}

fn host() -> Host {
    real::host(&Options::default()).unwrap()
}

async fn connect(script: Script, options: ClientOptions) -> Result<Client, Error> {
    let host = host();
    let address = broker(&host, script).await;
    Client::connect(&host, address, options).await
}

#[tokio::test]
async fn the_highest_common_version_is_spoken() {
    let client = connect(|_, header| metadata_only(header), options())
        .await
        .unwrap();
    assert_eq!(client.call_of::<MetadataRequest>().unwrap().api_version, 9);
}

#[tokio::test]
async fn a_broker_that_refuses_our_api_versions_is_asked_in_its_own() {
    let client = connect(
        |step, header| {
            assert_eq!(header.api_version, if step == 0 { 4 } else { 3 });
            let rows = [(Api::ApiVersions, 0, 3), (Api::Metadata, 0, 12)];
            if step == 0 {
                Act::Answer(body(&served(&rows, ErrorCode::UnsupportedVersion), 0))
            } else {
                Act::Answer(body(&served(&rows, ErrorCode::None), 3))
            }
        },
        options(),
    );
    let client = client.await.unwrap();
    assert_eq!(client.call_of::<MetadataRequest>().unwrap().api_version, 12);
}

#[tokio::test]
async fn a_refusal_that_lists_nothing_is_followed_by_version_0() {
    let client = connect(
        |step, header| {
            if step == 0 {
                return Act::Answer(body(&served(&[], ErrorCode::UnsupportedVersion), 0));
            }
            assert_eq!(header.api_version, 0);
            Act::Answer(body(&served(&[(Api::Metadata, 0, 1)], ErrorCode::None), 0))
        },
        options(),
    );
    let client = client.await.unwrap();
    assert_eq!(client.call_of::<MetadataRequest>().unwrap().api_version, 1);
}

#[tokio::test]
async fn what_the_broker_does_not_list_is_an_error_before_anything_is_sent() {
    let client = connect(
        |step, header| {
            assert_eq!(step, 0);
            metadata_only(header)
        },
        options(),
    );
    let client = client.await.unwrap();
    let refused = client
        .call(&InitProducerIdRequest::default())
        .await
        .unwrap_err();
    assert!(
        matches!(refused, Error::Unsupported { broker: None, .. }),
        "{refused}"
    );
    assert!(!refused.is_retriable());
}

#[tokio::test]
async fn pipelined_requests_get_their_own_answers_though_these_come_in_drops() {
    let client = connect(
        |step, header| {
            if step == 0 {
                return metadata_only(header);
            }
            let mut answer = MetadataResponse::default();
            answer.controller_id = i32::try_from(step).unwrap();
            Act::Drip(body(&answer, header.api_version))
        },
        options(),
    );
    let client = client.await.unwrap();
    let mut pending = Vec::new();
    for _ in 0..5 {
        pending.push(client.send(&MetadataRequest::default()).await.unwrap());
    }
    for (step, pending) in (1..).zip(pending) {
        let answer = pending.wait().await.unwrap();
        assert_eq!(answer.read().unwrap().controller_id, step);
    }
}

#[tokio::test]
async fn a_wrong_correlation_id_ends_the_connection_for_all_who_wait() {
    let client = connect(
        |step, header| match step {
            0 => metadata_only(header),
            1 => Act::Silent,
            _ => Act::AnswerToAnother,
        },
        options(),
    );
    let client = client.await.unwrap();
    let first = client.send(&MetadataRequest::default()).await.unwrap();
    let second = client.send(&MetadataRequest::default()).await.unwrap();
    for pending in [first, second] {
        let error = pending.wait().await.unwrap_err();
        assert!(matches!(error, Error::Garbled { .. }), "{error}");
        assert!(error.is_retriable());
    }
    let later = client.send(&MetadataRequest::default()).await.unwrap_err();
    assert!(matches!(later, Error::Disconnected { .. }), "{later}");
}

#[tokio::test]
async fn a_hang_up_reaches_everyone_who_waits() {
    let client = connect(
        |step, header| match step {
            0 => metadata_only(header),
            1 => Act::Silent,
            _ => Act::Close,
        },
        options(),
    );
    let client = client.await.unwrap();
    let first = client.send(&MetadataRequest::default()).await.unwrap();
    let second = client.send(&MetadataRequest::default()).await.unwrap();
    for pending in [first, second] {
        let error = pending.wait().await.unwrap_err();
        assert!(matches!(error, Error::Disconnected { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_request_without_an_answer_ends_at_its_deadline() {
    let short = ClientOptions {
        request_timeout: Duration::from_millis(200),
        ..options()
    };
    let script: Script = |step, header| {
        if step == 0 {
            metadata_only(header)
        } else {
            Act::Silent
        }
    };
    let client = connect(script, short).await.unwrap();
    let error = client.call(&MetadataRequest::default()).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Timeout {
                timeout_ms: 200,
                ..
            }
        ),
        "{error}"
    );
    let later = client.call(&MetadataRequest::default()).await.unwrap_err();
    assert!(matches!(later, Error::Disconnected { .. }), "{later}");
}

#[tokio::test]
async fn requests_past_the_limit_in_flight_wait_and_meet_their_deadline() {
    let tight = ClientOptions {
        request_timeout: Duration::from_millis(200),
        in_flight_max: 1,
        ..options()
    };
    let script: Script = |step, header| {
        if step == 0 {
            metadata_only(header)
        } else {
            Act::Silent
        }
    };
    let client = connect(script, tight).await.unwrap();
    let held = client.send(&MetadataRequest::default()).await.unwrap();
    let error = client.send(&MetadataRequest::default()).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(held.wait().await.is_err());
}

#[tokio::test]
async fn answers_of_impossible_length_end_the_connection() {
    let scripts: [Script; 3] = [
        |_, _| Act::Raw(b"\x7f\xff\xff\xff"),
        |_, _| Act::Raw(b"\xff\xff\xff\xff"),
        |_, _| Act::Raw(b"\x00\x00\x00\x03abc"),
    ];
    for script in scripts {
        let host = host();
        let address = broker(&host, script).await;
        let error = Client::connect(&host, address, options())
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Garbled { .. }), "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_is_no_message_is_malformed() {
    let error = connect(
        |_, _| Act::Answer(Bytes::from_static(b"\0\0\x7f")),
        options(),
    );
    let error = error.await.unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn nobody_there_is_a_connect_error() {
    let host = host();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let address = host.net.listen(any, 1).await.unwrap().local_addr();
    let error = Client::connect(&host, address, options())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
}

#[tokio::test]
async fn an_error_code_is_told_with_what_was_asked() {
    let script: Script = |step, header| {
        if step == 0 {
            let rows = [(Api::Metadata, 0, 9), (Api::CreateTopics, 2, 7)];
            return Act::Answer(body(&served(&rows, ErrorCode::None), header.api_version));
        }
        let mut made = CreatableTopicResult::default();
        made.name = "taken".into();
        made.error_code = ErrorCode::TopicAlreadyExists.code();
        let mut answer = CreateTopicsResponse::default();
        answer.topics = vec![made];
        Act::Answer(body(&answer, header.api_version))
    };
    let client = connect(script, options()).await.unwrap();
    let error = client
        .create_topic(&NewTopic::new("taken", 1))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("taken"), "{error}");
    assert!(
        error.to_string().contains("TOPIC_ALREADY_EXISTS"),
        "{error}"
    );
}

/// Answers `ApiVersions` with these, and everything else with `answer`.
fn one_api(step: usize, header: &RequestHeader, api: Api, answer: &impl Message) -> Act {
    let max = api.row().served.max;
    if step == 0 {
        let rows = served(&[(api, 0, max)], ErrorCode::None);
        return Act::Answer(body(&rows, header.api_version));
    }
    Act::Answer(body(answer, max))
}

fn topic() -> Topic {
    Topic {
        name: "asked".to_owned(),
        id: TopicId::from_bytes([7; 16]),
        partitions: 9,
    }
}

/// An answer of these partitions, each with the same records.
fn fetch_of<const N: usize>(partitions: [i32; N]) -> FetchResponse {
    let mut topic = FetchableTopicResponse::default();
    topic.partitions = Vec::from(partitions.map(|partition| {
        let mut data = PartitionData::default();
        data.partition_index = partition;
        data.high_watermark = 40 + i64::from(partition);
        data.records = Some(Bytes::from_static(b"records"));
        data
    }));
    let mut answer = FetchResponse::default();
    answer.responses = vec![topic];
    answer
}

/// Fetches from partitions 1 and 2.
async fn fetch(script: Script) -> Result<Vec<Fetched>, Error> {
    let client = connect(script, options()).await.unwrap();
    let from = [1, 2].map(|partition| FetchFrom {
        partition,
        offset: 0,
    });
    client
        .fetch(&topic(), &from, &FetchOptions::default())
        .await
}

#[tokio::test]
async fn a_fetch_gives_what_came_of_the_partitions_asked_for() {
    let fetched = fetch(|step, header| one_api(step, header, Api::Fetch, &fetch_of([2, 1])));
    let fetched = fetched.await.unwrap();
    let seen = |fetched: &Fetched| (fetched.partition, fetched.high_watermark);
    assert_eq!(
        fetched.iter().map(seen).collect::<Vec<_>>(),
        [(2, 42), (1, 41)]
    );
    assert!(
        fetched
            .iter()
            .all(|fetched| &fetched.records[..] == b"records")
    );
}

#[tokio::test]
async fn a_fetch_that_brings_a_partition_unasked_or_twice_is_malformed() {
    let scripts: [Script; 2] = [
        |step, header| one_api(step, header, Api::Fetch, &fetch_of([1, 3])),
        |step, header| one_api(step, header, Api::Fetch, &fetch_of([1, 2, 1])),
    ];
    for script in scripts {
        let error = fetch(script).await.unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
    }
}

#[tokio::test]
async fn an_answer_about_several_things_to_a_question_about_one_is_malformed() {
    let produced = connect(
        |step, header| {
            let mut topic = TopicProduceResponse::default();
            topic.partition_responses = vec![PartitionProduceResponse::default(); 2];
            let mut answer = ProduceResponse::default();
            answer.responses = vec![topic];
            one_api(step, header, Api::Produce, &answer)
        },
        options(),
    );
    let client = produced.await.unwrap();
    let batch = Bytes::from_static(b"a batch");
    let produced = client.produce(&topic(), 0, Acks::All, batch).await;
    let error = produced.unwrap_err();
    assert!(error.to_string().contains("2 partitions"), "{error}");

    let offsets = connect(
        |step, header| {
            let mut answer = ListOffsetsResponse::default();
            answer.topics = vec![ListOffsetsTopicResponse::default(); 2];
            one_api(step, header, Api::ListOffsets, &answer)
        },
        options(),
    );
    let client = offsets.await.unwrap();
    let offset = client.list_offset(&topic(), 0, OffsetOf::End).await;
    let error = offset.unwrap_err();
    assert!(error.to_string().contains("2 topics"), "{error}");
}

#[tokio::test]
async fn deleted_records_are_told_by_what_is_left_or_by_the_code() {
    fn answer(step: usize, header: &RequestHeader) -> Act {
        let mut row = DeleteRecordsPartitionResult::default();
        (row.low_watermark, row.error_code) = match step {
            1 => (40, 0),
            _ => (-1, ErrorCode::OffsetOutOfRange.code()),
        };
        let mut of_topic = DeleteRecordsTopicResult::default();
        of_topic.name = "asked".into();
        of_topic.partitions = vec![row; if step == 3 { 2 } else { 1 }];
        let mut answer = DeleteRecordsResponse::default();
        answer.topics = vec![of_topic];
        one_api(step, header, Api::DeleteRecords, &answer)
    }
    let client = connect(answer, options()).await.unwrap();
    let left = client.delete_records(&topic(), 0, Some(40)).await;
    assert_eq!(left.unwrap(), 40);
    let refused = client.delete_records(&topic(), 0, None).await;
    let error = refused.unwrap_err();
    let refused = matches!(
        error,
        Error::Broker {
            code: ErrorCode::OffsetOutOfRange,
            ..
        }
    );
    assert!(refused, "{error}");
    let two = client.delete_records(&topic(), 0, None).await;
    let error = two.unwrap_err();
    assert!(error.to_string().contains("2 partitions"), "{error}");
}
