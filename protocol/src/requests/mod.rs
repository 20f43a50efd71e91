//! Requests as views: a body is checked whole, in place, and read where it lies.
//!
//! What always holds: [`read`] allocates nothing, whatever the bytes; a view that it gives has been
//! read to the last byte, so that looking at any part of it can't fail, and has at most
//! [`ELEMENTS_MAX`] elements in all; text, records and arrays are slices of the body. A `records`
//! field is handed on without a copy by `Bytes::slice_ref`.
//!
//! One file per API, with Kafka's names. The fields, their versions, tags and defaults are those of
//! Apache Kafka 4.3.1's schemas. Where Kafka's own reading is laxer (it takes tags in any order, any
//! byte for a boolean, any bytes for text, any negative length for null), what no client sends is
//! refused.

mod array;
mod cursor;
mod structure;

pub mod api_versions;
pub mod create_topics;
pub mod delete_topics;
pub mod describe_cluster;
pub mod fetch;
pub mod find_coordinator;
pub mod init_producer_id;
pub mod list_offsets;
pub mod metadata;
pub mod offset_for_leader_epoch;
pub mod produce;

pub use array::{Array, Elements};
pub use cursor::{Cursor, ELEMENTS_MAX, Fault, Read, ReadError, Version};
use structure::structure;

pub use api_versions::ApiVersionsRequest;
pub use create_topics::CreateTopicsRequest;
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

/// The body of a request.
pub trait Request<'a>: Read<'a> {
    /// The API that it asks.
    const API: Api;
}

/// Reads all of `body`, a request in `version`.
pub fn read<'a, R: Request<'a>>(version: i16, body: &'a [u8]) -> Result<R, ReadError> {
    let row = R::API.row();
    let flexible = row.is_flexible(version);
    let mut cursor = Cursor::new(
        body,
        Version {
            number: version,
            flexible,
        },
    );
    if !row.served.contains(version) {
        return Err(cursor.error(Fault::Version(version)));
    }
    let request = R::read(&mut cursor)?;
    cursor.finish()?;
    Ok(request)
}
