//! Responses, read where they lie.
//!
//! What always holds: [`read`] allocates nothing, whatever the bytes; a view that it gives has been
//! read to the last byte, so that looking at any part of it can't fail; text, records and arrays are
//! slices of the body. A `records` field is handed on without a copy by `Bytes::slice_ref`.
//!
//! A response has as many elements as its bytes hold: a large cluster's metadata has hundreds of
//! thousands, and what a client asked for, and so what it keeps, is its own choice. The length of the
//! body bounds them, since none is of no bytes.
//!
//! One file per API, with Kafka's names, fields, versions, tags and defaults.

pub mod api_versions;
pub mod create_topics;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod fetch;
pub mod find_coordinator;
pub mod init_producer_id;
pub mod list_offsets;
pub mod metadata;
pub mod offset_for_leader_epoch;
pub mod produce;

pub use api_versions::ApiVersionsResponse;
pub use create_topics::CreateTopicsResponse;
pub use delete_records::DeleteRecordsResponse;
pub use delete_topics::DeleteTopicsResponse;
pub use describe_cluster::DescribeClusterResponse;
pub use fetch::FetchResponse;
pub use find_coordinator::FindCoordinatorResponse;
pub use init_producer_id::InitProducerIdResponse;
pub use list_offsets::ListOffsetsResponse;
pub use metadata::MetadataResponse;
pub use offset_for_leader_epoch::OffsetForLeaderEpochResponse;
pub use produce::ProduceResponse;

use crate::api::Api;
use crate::messages::{self, Message};
use crate::view::{self, structure};
pub use crate::view::{Array, Cursor, Elements, Fault, Read, ReadError, Version};

/// The body of a response.
pub trait Response<'a>: Read<'a> {
    /// The API that was asked.
    const API: Api;
}

/// Reads all of `body`, a response in `version`.
pub fn read<'a, R: Response<'a>>(version: i16, body: &'a [u8]) -> Result<R, ReadError> {
    view::read(R::API, version, u32::MAX, body)
}

/// A request as a client writes it, with the response that it gets.
pub trait Request: Message {
    /// Its response, in the bytes of a body.
    type Response<'a>: Response<'a>;

    /// The API that it asks.
    const API: Api = <Self::Response<'static> as Response<'static>>::API;
}

macro_rules! pairs {
    ($($request:ident -> $response:ident $(<$a:lifetime>)?;)*) => {$(
        impl Request for messages::$request {
            type Response<'a> = $response $(<$a>)?;
        }
    )*};
}

pairs! {
    ProduceRequest -> ProduceResponse<'a>;
    FetchRequest -> FetchResponse<'a>;
    ListOffsetsRequest -> ListOffsetsResponse<'a>;
    MetadataRequest -> MetadataResponse<'a>;
    FindCoordinatorRequest -> FindCoordinatorResponse<'a>;
    ApiVersionsRequest -> ApiVersionsResponse<'a>;
    CreateTopicsRequest -> CreateTopicsResponse<'a>;
    DeleteTopicsRequest -> DeleteTopicsResponse<'a>;
    DeleteRecordsRequest -> DeleteRecordsResponse<'a>;
    InitProducerIdRequest -> InitProducerIdResponse;
    OffsetForLeaderEpochRequest -> OffsetForLeaderEpochResponse<'a>;
    DescribeClusterRequest -> DescribeClusterResponse<'a>;
}
