//! How much memory foreign bytes can make decoding take, counted by the allocator: nothing for
//! counts without bytes behind them, a bounded multiple for the densest bodies there are.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::{BufMut, Bytes, BytesMut};
use millrace_protocol::api;
use millrace_protocol::messages::create_topics_request::CreatableTopicConfig;
use millrace_protocol::messages::{
    self, ApiVersionsRequest, CreateTopicsRequest, DECODE_BYTES_PER_BYTE_MAX, DecodeLimits,
    DeleteTopicsRequest, DescribeClusterRequest, FetchRequest, FindCoordinatorRequest,
    InitProducerIdRequest, ListOffsetsRequest, Message, MetadataRequest,
    OffsetForLeaderEpochRequest, ProduceRequest,
};

/// What is always allowed on top: errors' text and the like.
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

/// The most memory that decoding `body` held at one moment, and whether it succeeded.
fn peak<M: Message>(version: i16, body: &Bytes) -> (usize, bool) {
    let body = body.clone();
    let limits = DecodeLimits::default();
    NOW.set(0);
    PEAK.set(0);
    let decoded = messages::decode::<M>(version, body, &limits);
    (PEAK.get(), decoded.is_ok())
}

/// Memory per byte received, of a message that is as dense as its author could make it.
fn per_byte<M: Message>(name: &str, version: i16, message: &M) -> usize {
    let body = messages::encode(message, version).expect("the version has the fields");
    let (peak, decodes) = peak::<M>(version, &body);
    assert!(decodes, "{name} {version}");
    peak.saturating_sub(SLACK_BYTES).div_ceil(body.len())
}

/// More elements than one growth step of a vector, so that old and new memory count together.
const MANY: usize = (1 << 14) + 1;

fn dense<M: Default, E: Clone + Default>(place: impl FnOnce(&mut M, Vec<E>)) -> M {
    let mut message = M::default();
    place(&mut message, vec![E::default(); MANY]);
    message
}

#[test]
fn the_densest_bodies_take_no_more_than_the_stated_multiple() {
    let mut worst = 0;
    let mut see = |ratio: usize| worst = worst.max(ratio);
    let topics = dense(|m: &mut ProduceRequest, e| m.topic_data = e);
    see(per_byte("Produce", 9, &topics));
    see(per_byte("Produce", 3, &topics));
    let topics = dense(|m: &mut FetchRequest, e| m.topics = e);
    see(per_byte("Fetch", 12, &topics));
    see(per_byte("Fetch", 4, &topics));
    let forgotten = dense(|m: &mut FetchRequest, e| m.forgotten_topics_data = e);
    see(per_byte("Fetch forgotten", 12, &forgotten));
    let topics = dense(|m: &mut ListOffsetsRequest, e| m.topics = e);
    see(per_byte("ListOffsets", 6, &topics));
    see(per_byte("ListOffsets", 1, &topics));
    let topics = dense(|m: &mut MetadataRequest, e| m.topics = Some(e));
    see(per_byte("Metadata", 9, &topics));
    see(per_byte("Metadata", 4, &topics));
    let keys = dense(|m: &mut FindCoordinatorRequest, e| m.coordinator_keys = e);
    see(per_byte("FindCoordinator", 4, &keys));
    let names = dense(|m: &mut DeleteTopicsRequest, e| m.topic_names = e);
    see(per_byte("DeleteTopics", 4, &names));
    see(per_byte("DeleteTopics", 1, &names));
    let topics = dense(|m: &mut DeleteTopicsRequest, e| m.topics = e);
    see(per_byte("DeleteTopics", 6, &topics));
    let topics = dense(|m: &mut CreateTopicsRequest, e| m.topics = e);
    see(per_byte("CreateTopics", 5, &topics));
    let mut one = dense(|m: &mut CreateTopicsRequest, e| m.topics = e);
    one.topics.truncate(1);
    one.topics[0].configs = vec![CreatableTopicConfig::default(); MANY];
    see(per_byte("CreateTopics configs", 5, &one));
    let topics = dense(|m: &mut OffsetForLeaderEpochRequest, e| m.topics = e);
    see(per_byte("OffsetForLeaderEpoch", 4, &topics));
    // The figure told to callers holds, and is not a guess far above the truth.
    let told = DECODE_BYTES_PER_BYTE_MAX;
    assert!(
        worst <= told && worst > told - 10,
        "{worst} was measured, {told} is told"
    );
}

/// Every served request, at every version, fed `body`: the peak never exceeds four times the bytes.
fn all_within_four_times(body: &Bytes) {
    macro_rules! each {
        ($($message:ident = $api:ident;)*) => {$(
            let served = api::Api::$api.row().served;
            for version in served.min..=served.max {
                let (peak, _) = peak::<$message>(version, body);
                let allowed = 4 * body.len() + SLACK_BYTES;
                assert!(peak <= allowed, "{} {version} took {peak}", stringify!($message));
            }
        )*};
    }
    each! {
        ProduceRequest = Produce;
        FetchRequest = Fetch;
        ListOffsetsRequest = ListOffsets;
        MetadataRequest = Metadata;
        FindCoordinatorRequest = FindCoordinator;
        ApiVersionsRequest = ApiVersions;
        CreateTopicsRequest = CreateTopics;
        DeleteTopicsRequest = DeleteTopics;
        InitProducerIdRequest = InitProducerId;
        OffsetForLeaderEpochRequest = OffsetForLeaderEpoch;
        DescribeClusterRequest = DescribeCluster;
    }
}

#[test]
fn counts_without_bytes_behind_them_take_no_memory() {
    for count in [1_u32 << 16, 99_999, i32::MAX as u32, u32::MAX] {
        for skip in 0..40 {
            // At every offset, both as an int32 and as a varint.
            let mut fixed = BytesMut::new();
            fixed.put_bytes(0, skip);
            fixed.put_u32(count);
            fixed.put_bytes(0, 200);
            all_within_four_times(&fixed.freeze());
            let mut compact = BytesMut::new();
            compact.put_bytes(1, skip);
            let mut rest = count;
            while rest >= 0x80 {
                compact.put_u8(rest as u8 | 0x80);
                rest >>= 7;
            }
            compact.put_u8(rest as u8);
            compact.put_bytes(1, 200);
            all_within_four_times(&compact.freeze());
        }
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
        body.freeze()
    };
    let few = tagged(256, 200);
    assert!(
        peak::<ApiVersionsRequest>(3, &few).1,
        "as many as are allowed"
    );
    all_within_four_times(&few);
    let many = tagged(257, 200);
    assert!(!peak::<ApiVersionsRequest>(3, &many).1, "one too many");
    all_within_four_times(&many);
    let large = tagged(5, 16_000);
    assert!(
        !peak::<ApiVersionsRequest>(3, &large).1,
        "more than 64 KiB together"
    );
    all_within_four_times(&large);
}

#[test]
fn records_are_the_bytes_received_and_not_copied() {
    use millrace_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
    let mut partition = PartitionProduceData::default();
    partition.records = Some(Bytes::from(vec![7_u8; 1 << 20]));
    let mut topic = TopicProduceData::default();
    topic.name = "t".into();
    topic.partition_data = vec![partition];
    let mut request = ProduceRequest::default();
    request.topic_data = vec![topic];
    for version in 3..=12 {
        let body = messages::encode(&request, version).expect("encodes");
        let (peak, decodes) = peak::<ProduceRequest>(version, &body);
        assert!(
            decodes && peak < SLACK_BYTES,
            "version {version} took {peak}"
        );
        let limits = DecodeLimits::default();
        let decoded: ProduceRequest = messages::decode(version, body.clone(), &limits).expect("ok");
        let records = decoded.topic_data[0].partition_data[0]
            .records
            .clone()
            .expect("records");
        assert!(
            body.as_ptr_range().contains(&records.as_ptr()),
            "version {version}"
        );
    }
}
