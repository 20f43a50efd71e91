//! Target: answers of a broker that is not one, as our client decodes them.
//!
//! Held: an answer that was read is written, and what was written is read as the same answer and
//! written to the same bytes.

use bytes::Bytes;
use millrace_protocol::api::Api;
use millrace_protocol::messages::{
    ApiVersionsResponse, CreateTopicsResponse, DecodeLimits, DeleteTopicsResponse,
    DescribeClusterResponse, FetchResponse, FindCoordinatorResponse, InitProducerIdResponse,
    ListOffsetsResponse, Message, MetadataResponse, OffsetForLeaderEpochResponse, ProduceResponse,
    decode, encode,
};

use crate::allocation::{Bound, within};
use crate::input::Input;
use crate::messages::named;

/// The generated codec holds an element of a few bytes in a structure of many; the client reads
/// answers of the size it asked for.
const DECODING: Bound = Bound {
    per_byte: 108,
    fixed_bytes: 0,
};

/// One input: which answer at which version, then its body.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let (api, version) = named(&mut input);
    let body = Bytes::copy_from_slice(input.0);
    match api {
        Api::Produce => there_and_back::<ProduceResponse>(version, &body),
        Api::Fetch => there_and_back::<FetchResponse>(version, &body),
        Api::ListOffsets => there_and_back::<ListOffsetsResponse>(version, &body),
        Api::Metadata => there_and_back::<MetadataResponse>(version, &body),
        Api::FindCoordinator => there_and_back::<FindCoordinatorResponse>(version, &body),
        Api::ApiVersions => there_and_back::<ApiVersionsResponse>(version, &body),
        Api::CreateTopics => there_and_back::<CreateTopicsResponse>(version, &body),
        Api::DeleteTopics => there_and_back::<DeleteTopicsResponse>(version, &body),
        Api::InitProducerId => there_and_back::<InitProducerIdResponse>(version, &body),
        Api::OffsetForLeaderEpoch => there_and_back::<OffsetForLeaderEpochResponse>(version, &body),
        Api::DescribeCluster => there_and_back::<DescribeClusterResponse>(version, &body),
    }
}

fn there_and_back<M: Message + PartialEq + std::fmt::Debug>(version: i16, body: &Bytes) {
    let limits = DecodeLimits::default();
    let Ok(read) = within(DECODING, body.len(), || {
        decode::<M>(version, body.clone(), &limits)
    }) else {
        return;
    };
    let written = encode(&read, version).expect("what was read can be written");
    let again = decode::<M>(version, written.clone(), &limits).expect("and read");
    assert!(again == read, "{again:?} was {read:?}");
    let rewritten = encode(&again, version).expect("and written again");
    assert_eq!(rewritten, written);
}
