//! How much memory foreign bytes make reading take, counted by the allocator: requests and responses
//! none at all, whatever the bytes.

use bytes::{BufMut, Bytes, BytesMut};
use millrace_host::allocation::{Counting, peak};
use millrace_protocol::api::{Api, TABLE};
use millrace_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use millrace_protocol::messages::{self, Message};
use millrace_protocol::requests::{self, ReadError};
use millrace_protocol::responses;
use proptest::prelude::*;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Which side of an API a body is of.
#[derive(Clone, Copy, Debug)]
enum Side {
    Request,
    Response,
}

/// Reads `body` as a message of the API, and asserts that this takes no memory.
fn read(side: Side, api: Api, version: i16, body: &[u8]) -> Result<(), ReadError> {
    macro_rules! served {
        ($side:ident: $($api:ident = $message:ident $(<$a:lifetime>)?;)*) => {
            match api {
                $(Api::$api => {
                    $side::read::<$side::$message $(<$a>)?>(version, body).map(drop)
                })*
            }
        };
    }
    let (read, held) = peak(|| match side {
        Side::Request => millrace_protocol::each_request!(served requests:),
        Side::Response => millrace_protocol::each_response!(served responses:),
    });
    assert_eq!(held, 0, "{side:?} {api:?} {version}: {read:?}");
    read
}

/// Reads `body` as every message that there is, at every version; gives how many accept it.
fn read_as_all(body: &[u8]) -> usize {
    let versions = TABLE.iter().flat_map(|row| {
        let versions = row.served.min..=row.served.max;
        versions.flat_map(|version| {
            [Side::Request, Side::Response].map(|side| read(side, row.api, version, body))
        })
    });
    versions.flatten().count()
}

/// As many elements as make any growing of vectors show.
const MANY: usize = 10_000;

/// Reads the densest body there is at each version that has the fields.
fn read_dense<M: Message + Default, E: Clone + Default>(
    side: Side,
    api: Api,
    place: impl FnOnce(&mut M, Vec<E>),
) {
    let mut message = M::default();
    place(&mut message, vec![E::default(); MANY]);
    let served = api.row().served;
    let mut versions = 0;
    for version in served.min..=served.max {
        // Where a version has no such field it is refused, or left out.
        let body = messages::encode(&message, version).unwrap_or_default();
        if body.len() > MANY {
            assert_eq!(read(side, api, version, &body), Ok(()), "{api:?} {version}");
            versions += 1;
        }
    }
    assert!(versions > 0, "{api:?}");
}

macro_rules! dense {
    ($side:ident: $($api:ident . $field:ident;)*) => {$(
        read_dense(Side::$side, Api::$api, |m: &mut $api, e| m.$field = e);
    )*};
}

#[test]
fn the_densest_requests_take_no_memory() {
    use millrace_protocol::messages::{
        CreateTopicsRequest as CreateTopics, DeleteRecordsRequest as DeleteRecords,
        DeleteTopicsRequest as DeleteTopics, FetchRequest as Fetch,
        FindCoordinatorRequest as FindCoordinator, ListOffsetsRequest as ListOffsets,
        MetadataRequest as Metadata, OffsetForLeaderEpochRequest as OffsetForLeaderEpoch,
        ProduceRequest as Produce,
    };
    dense! { Request:
        Produce.topic_data;
        Fetch.topics;
        Fetch.forgotten_topics_data;
        ListOffsets.topics;
        FindCoordinator.coordinator_keys;
        DeleteTopics.topic_names;
        DeleteTopics.topics;
        CreateTopics.topics;
        DeleteRecords.topics;
        OffsetForLeaderEpoch.topics;
    }
    let side = Side::Request;
    read_dense(side, Api::Metadata, |m: &mut Metadata, e| {
        m.topics = Some(e);
        let topics = m.topics.iter_mut().flatten();
        topics.for_each(|topic| topic.name = Some("".into()));
    });
    read_dense(side, Api::CreateTopics, |m: &mut CreateTopics, e| {
        let configs: Vec<CreatableTopicConfig> = e;
        m.topics = vec![CreatableTopic::default()];
        m.topics[0].configs = configs;
    });
}

#[test]
fn the_densest_responses_take_no_memory() {
    use millrace_protocol::messages::{
        ApiVersionsResponse as ApiVersions, CreateTopicsResponse as CreateTopics,
        DeleteRecordsResponse as DeleteRecords, DeleteTopicsResponse as DeleteTopics,
        DescribeClusterResponse as DescribeCluster, FindCoordinatorResponse as FindCoordinator,
        ListOffsetsResponse as ListOffsets, OffsetForLeaderEpochResponse as OffsetForLeaderEpoch,
    };
    dense! { Response:
        ListOffsets.topics;
        FindCoordinator.coordinators;
        ApiVersions.api_keys;
        CreateTopics.topics;
        DeleteRecords.topics;
        OffsetForLeaderEpoch.topics;
        DescribeCluster.brokers;
    }
    read_dense(
        Side::Response,
        Api::DeleteTopics,
        |m: &mut DeleteTopics, e| {
            m.responses = e;
            let results = m.responses.iter_mut();
            results.for_each(|result| result.name = Some("".into()));
        },
    );
}

#[test]
fn the_densest_responses_take_no_memory_however_deep() {
    use millrace_protocol::messages::metadata_response::MetadataResponseTopic;
    use millrace_protocol::messages::{
        FetchResponse as Fetch, MetadataResponse as Metadata, ProduceResponse as Produce,
        fetch_response::FetchableTopicResponse, produce_response::TopicProduceResponse,
    };
    let side = Side::Response;
    read_dense(side, Api::Produce, |m: &mut Produce, e| m.responses = e);
    read_dense(side, Api::Produce, |m: &mut Produce, e| {
        let mut topic = TopicProduceResponse::default();
        topic.partition_responses = e;
        m.responses = vec![topic];
    });
    read_dense(side, Api::Fetch, |m: &mut Fetch, e| m.responses = e);
    read_dense(side, Api::Fetch, |m: &mut Fetch, e| {
        let mut topic = FetchableTopicResponse::default();
        topic.partitions = e;
        m.responses = vec![topic];
    });
    let named = || {
        let mut topic = MetadataResponseTopic::default();
        topic.name = Some("".into());
        topic
    };
    read_dense(side, Api::Metadata, |m: &mut Metadata, e| m.brokers = e);
    read_dense(side, Api::Metadata, |m: &mut Metadata, e| {
        m.topics = e;
        m.topics.fill(named());
    });
    read_dense(side, Api::Metadata, |m: &mut Metadata, e| {
        m.topics = vec![named()];
        m.topics[0].partitions = e;
    });
}

#[test]
fn records_are_the_bytes_received_and_not_copied() {
    use millrace_protocol::messages::ProduceRequest;
    use millrace_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
    let mut partition = PartitionProduceData::default();
    partition.records = Some(Bytes::from(vec![7_u8; 1 << 20]));
    let mut topic = TopicProduceData::default();
    topic.partition_data = vec![partition];
    let mut request = ProduceRequest::default();
    request.topic_data = vec![topic];
    for version in 3..=13 {
        let body = messages::encode(&request, version).expect("encodes");
        let (records, held) = peak(|| {
            let view: requests::ProduceRequest<'_> = requests::read(version, &body).expect("reads");
            let topics = view.topic_data.into_iter();
            let mut partitions = topics.flat_map(|topic| topic.partition_data);
            partitions.next().and_then(|partition| partition.records)
        });
        assert_eq!(held, 0, "version {version}");
        let records = body.slice_ref(records.expect("records"));
        assert_eq!(records.len(), 1 << 20);
    }
}

/// Bodies that claim `count` elements, as an int32 and as a varint, at every offset.
fn claims(count: u32) -> impl Iterator<Item = Bytes> {
    (0..40).flat_map(move |skip| {
        let mut fixed = BytesMut::new();
        fixed.put_bytes(0, skip);
        fixed.put_u32(count);
        fixed.put_bytes(0, 200);
        let mut compact = BytesMut::new();
        compact.put_bytes(1, skip);
        let mut rest = count;
        while rest >= 0x80 {
            compact.put_u8(rest as u8 | 0x80);
            rest >>= 7;
        }
        compact.put_u8(rest as u8);
        compact.put_bytes(1, 200);
        [fixed.freeze(), compact.freeze()]
    })
}

const COUNTS: [u32; 4] = [1 << 16, 99_999, i32::MAX as u32, u32::MAX];

#[test]
fn messages_with_counts_without_bytes_behind_them_take_no_memory() {
    for body in COUNTS.into_iter().flat_map(claims) {
        read_as_all(&body);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn random_messages_take_no_memory(
        body in prop::collection::vec(prop_oneof![0..3_u8, any::<u8>()], 0..300),
    ) {
        read_as_all(&body);
    }
}

#[test]
fn unknown_tags_are_bounded_in_number_and_size() {
    // ApiVersions comes before authentication: empty name and version, then a tag section.
    let tagged = |count: u32, bytes: usize| {
        let mut body = BytesMut::from(&[1, 1][..]);
        body.put_slice(&[count as u8 | 0x80, (count >> 7) as u8]);
        for tag in 0..count {
            body.put_slice(&[tag as u8 | 0x80, (tag >> 7) as u8]);
            body.put_slice(&[bytes as u8 | 0x80, (bytes >> 7) as u8]);
            body.put_bytes(0, bytes);
        }
        read(Side::Request, Api::ApiVersions, 3, &body).is_ok()
    };
    assert!(tagged(256, 200), "as many as are allowed");
    assert!(!tagged(257, 200), "one too many");
    assert!(!tagged(5, 16_000), "more than 64 KiB together");
}
