//! Requests, read where they lie.
//!
//! What always holds: [`read`] allocates nothing, whatever the bytes; a view that it gives has been
//! read to the last byte, so that looking at any part of it can't fail, and has at most
//! [`ELEMENTS_MAX`] elements in all; text, records and arrays are slices of the body. A `records`
//! field is handed on without a copy by `Bytes::slice_ref`.
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

pub use api_versions::ApiVersionsRequest;
pub use create_topics::CreateTopicsRequest;
pub use delete_records::DeleteRecordsRequest;
pub use delete_topics::DeleteTopicsRequest;
pub use describe_cluster::DescribeClusterRequest;
pub use fetch::FetchRequest;
pub use find_coordinator::FindCoordinatorRequest;
pub use init_producer_id::InitProducerIdRequest;
pub use list_offsets::ListOffsetsRequest;
pub use metadata::MetadataRequest;
pub use offset_for_leader_epoch::OffsetForLeaderEpochRequest;
pub use produce::ProduceRequest;

use crate::api::Api;
use crate::view::{self, structure};
pub use crate::view::{Array, Cursor, Elements, Fault, Read, ReadError, Version};

/// Elements of all arrays of one request: room for 200,000 partitions, a large cluster's, with their
/// topics. What a handler makes of a request, its answer above all, is in proportion to them: some
/// 200 bytes each.
pub const ELEMENTS_MAX: usize = 250_000;

/// The body of a request.
pub trait Request<'a>: Read<'a> {
    /// The API that it asks.
    const API: Api;
}

/// Reads all of `body`, a request in `version`.
pub fn read<'a, R: Request<'a>>(version: i16, body: &'a [u8]) -> Result<R, ReadError> {
    view::read(R::API, version, ELEMENTS_MAX as u32, body)
}
