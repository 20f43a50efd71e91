//! How much memory foreign bytes can make decoding take, counted by the allocator: requests none at
//! all, whatever the bytes; answers none for counts without bytes behind them.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::{BufMut, Bytes, BytesMut};
use millrace_protocol::api::{Api, TABLE};
use millrace_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use millrace_protocol::messages::{self, DecodeLimits, Message};
use millrace_protocol::requests::{self, ReadError};
use proptest::prelude::*;

/// What decoding an answer may take beside four times its bytes: errors' text and the like.
const SLACK_BYTES: usize = 64 * 1024;

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn grown(bytes: usize) {
    NOW.set(NOW.get().wrapping_add(bytes));
    PEAK.set(PEAK.get().max(NOW.get()));
}

#[expect(
    unsafe_code,
    reason = "an allocator that counts; every call goes on to the system's"
)]
// SAFETY: each method passes its arguments on unchanged and gives back what it gets.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.set(NOW.get().saturating_sub(layout.size()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
    // Growing goes through alloc, copy, dealloc: both sizes count at once, as they may in truth.
}

/// Reads `body` as a request of the API, and asserts that this takes no memory.
fn read(api: Api, version: i16, body: &[u8]) -> Result<(), ReadError> {
    macro_rules! served {
        ($($api:ident = $request:ident $(<$a:lifetime>)?;)*) => {
            match api {
                $(Api::$api => {
                    requests::read::<requests::$request $(<$a>)?>(version, body).map(drop)
                })*
            }
        };
    }
    NOW.set(0);
    PEAK.set(0);
    let read = served! {
        Produce = ProduceRequest<'_>;
        Fetch = FetchRequest<'_>;
        ListOffsets = ListOffsetsRequest<'_>;
        Metadata = MetadataRequest<'_>;
        FindCoordinator = FindCoordinatorRequest<'_>;
        ApiVersions = ApiVersionsRequest<'_>;
        CreateTopics = CreateTopicsRequest<'_>;
        DeleteTopics = DeleteTopicsRequest<'_>;
        InitProducerId = InitProducerIdRequest<'_>;
        OffsetForLeaderEpoch = OffsetForLeaderEpochRequest<'_>;
        DescribeCluster = DescribeClusterRequest;
    };
    assert_eq!(PEAK.get(), 0, "{api:?} {version}: {read:?}");
    read
}

/// Reads `body` as every request that is served, at every version; gives how many accept it.
fn read_as_all(body: &[u8]) -> usize {
    let versions = TABLE.iter().flat_map(|row| {
        let versions = row.served.min..=row.served.max;
        versions.map(|version| read(row.api, version, body))
    });
    versions.flatten().count()
}

/// As many elements as make any growing of vectors show.
const MANY: usize = 10_000;

/// Reads the densest body there is at each version that has the fields.
fn read_dense<M: Message + Default, E: Clone + Default>(
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
            assert_eq!(read(api, version, &body), Ok(()), "{api:?} {version}");
            versions += 1;
        }
    }
    assert!(versions > 0, "{api:?}");
}

#[test]
fn the_densest_requests_take_no_memory() {
    use millrace_protocol::messages::{
        CreateTopicsRequest, DeleteTopicsRequest, FetchRequest, FindCoordinatorRequest,
        ListOffsetsRequest, MetadataRequest, OffsetForLeaderEpochRequest, ProduceRequest,
    };
    read_dense(Api::Produce, |m: &mut ProduceRequest, e| m.topic_data = e);
    read_dense(Api::Fetch, |m: &mut FetchRequest, e| m.topics = e);
    read_dense(Api::Fetch, |m: &mut FetchRequest, e| {
        m.forgotten_topics_data = e;
    });
    read_dense(Api::ListOffsets, |m: &mut ListOffsetsRequest, e| {
        m.topics = e;
    });
    read_dense(Api::Metadata, |m: &mut MetadataRequest, e| {
        m.topics = Some(e);
        m.topics
            .iter_mut()
            .flatten()
            .for_each(|t| t.name = Some("".into()));
    });
    read_dense(Api::FindCoordinator, |m: &mut FindCoordinatorRequest, e| {
        m.coordinator_keys = e;
    });
    read_dense(Api::DeleteTopics, |m: &mut DeleteTopicsRequest, e| {
        m.topic_names = e;
    });
    read_dense(Api::DeleteTopics, |m: &mut DeleteTopicsRequest, e| {
        m.topics = e;
    });
    read_dense(Api::CreateTopics, |m: &mut CreateTopicsRequest, e| {
        m.topics = e;
    });
    read_dense(Api::CreateTopics, |m: &mut CreateTopicsRequest, e| {
        let configs: Vec<CreatableTopicConfig> = e;
        m.topics = vec![CreatableTopic::default()];
        m.topics[0].configs = configs;
    });
    read_dense(
        Api::OffsetForLeaderEpoch,
        |m: &mut OffsetForLeaderEpochRequest, e| m.topics = e,
    );
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
        NOW.set(0);
        PEAK.set(0);
        let view: requests::ProduceRequest<'_> = requests::read(version, &body).expect("reads");
        let topics = view.topic_data.into_iter();
        let mut partitions = topics.flat_map(|topic| topic.partition_data);
        let records = partitions.next().and_then(|partition| partition.records);
        assert_eq!(PEAK.get(), 0, "version {version}");
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
fn requests_with_counts_without_bytes_behind_them_take_no_memory() {
    for body in COUNTS.into_iter().flat_map(claims) {
        read_as_all(&body);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn random_requests_take_no_memory(
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
        read(Api::ApiVersions, 3, &body).is_ok()
    };
    assert!(tagged(256, 200), "as many as are allowed");
    assert!(!tagged(257, 200), "one too many");
    assert!(!tagged(5, 16_000), "more than 64 KiB together");
}

/// Every answer, at every version of its API, fed `body`: the peak stays within four times the
/// bytes.
fn answers_within_four_times(body: &Bytes) {
    fn peak<M: Message>(version: i16, body: Bytes) -> usize {
        let limits = DecodeLimits::default();
        NOW.set(0);
        PEAK.set(0);
        drop(messages::decode::<M>(version, body, &limits));
        PEAK.get()
    }
    macro_rules! each {
        ($($api:ident = $message:ident;)*) => {$(
            let served = Api::$api.row().served;
            for version in served.min..=served.max {
                let peak = peak::<messages::$message>(version, body.clone());
                let allowed = 4 * body.len() + SLACK_BYTES;
                assert!(peak <= allowed, "{} {version} took {peak}", stringify!($message));
            }
        )*};
    }
    each! {
        Produce = ProduceResponse;
        Fetch = FetchResponse;
        ListOffsets = ListOffsetsResponse;
        Metadata = MetadataResponse;
        FindCoordinator = FindCoordinatorResponse;
        ApiVersions = ApiVersionsResponse;
        CreateTopics = CreateTopicsResponse;
        DeleteTopics = DeleteTopicsResponse;
        InitProducerId = InitProducerIdResponse;
        OffsetForLeaderEpoch = OffsetForLeaderEpochResponse;
        DescribeCluster = DescribeClusterResponse;
    }
}

#[test]
fn answers_with_counts_without_bytes_behind_them_take_no_memory() {
    for body in COUNTS.into_iter().flat_map(claims) {
        answers_within_four_times(&body);
    }
}
