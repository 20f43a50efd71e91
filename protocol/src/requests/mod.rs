//! Requests, read where they lie.
//!
//! What always holds: [`read`] allocates nothing, whatever the bytes; a view that it gives has been
//! read to the last byte, so that looking at any part of it can't fail, and has at most
//! [`ELEMENTS_MAX`] elements in all; text, records and arrays are slices of the body. A `records`
//! field is handed on without a copy by `Bytes::slice_ref`.
//!
//! One file per API, with Kafka's names, fields, versions, tags and defaults.

pub mod alter_configs;
pub mod alter_partition_reassignments;
pub mod alter_replica_log_dirs;
pub mod api_versions;
pub mod create_acls;
pub mod create_delegation_token;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_acls;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_acls;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_delegation_token;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod elect_leaders;
pub mod expire_delegation_token;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod renew_delegation_token;
pub mod sasl_authenticate;
pub mod sasl_handshake;
pub mod sync_group;
pub mod update_features;

pub use alter_configs::AlterConfigsRequest;
pub use alter_partition_reassignments::AlterPartitionReassignmentsRequest;
pub use alter_replica_log_dirs::AlterReplicaLogDirsRequest;
pub use api_versions::ApiVersionsRequest;
pub use create_acls::CreateAclsRequest;
pub use create_delegation_token::CreateDelegationTokenRequest;
pub use create_partitions::CreatePartitionsRequest;
pub use create_topics::CreateTopicsRequest;
pub use delete_acls::DeleteAclsRequest;
pub use delete_groups::DeleteGroupsRequest;
pub use delete_records::DeleteRecordsRequest;
pub use delete_topics::DeleteTopicsRequest;
pub use describe_acls::DescribeAclsRequest;
pub use describe_cluster::DescribeClusterRequest;
pub use describe_configs::DescribeConfigsRequest;
pub use describe_delegation_token::DescribeDelegationTokenRequest;
pub use describe_groups::DescribeGroupsRequest;
pub use describe_log_dirs::DescribeLogDirsRequest;
pub use describe_producers::DescribeProducersRequest;
pub use describe_quorum::DescribeQuorumRequest;
pub use describe_topic_partitions::DescribeTopicPartitionsRequest;
pub use elect_leaders::ElectLeadersRequest;
pub use expire_delegation_token::ExpireDelegationTokenRequest;
pub use fetch::FetchRequest;
pub use find_coordinator::FindCoordinatorRequest;
pub use heartbeat::HeartbeatRequest;
pub use incremental_alter_configs::IncrementalAlterConfigsRequest;
pub use init_producer_id::InitProducerIdRequest;
pub use join_group::JoinGroupRequest;
pub use leave_group::LeaveGroupRequest;
pub use list_config_resources::ListConfigResourcesRequest;
pub use list_groups::ListGroupsRequest;
pub use list_offsets::ListOffsetsRequest;
pub use list_partition_reassignments::ListPartitionReassignmentsRequest;
pub use metadata::MetadataRequest;
pub use offset_commit::OffsetCommitRequest;
pub use offset_delete::OffsetDeleteRequest;
pub use offset_fetch::OffsetFetchRequest;
pub use offset_for_leader_epoch::OffsetForLeaderEpochRequest;
pub use produce::ProduceRequest;
pub use renew_delegation_token::RenewDelegationTokenRequest;
pub use sasl_authenticate::SaslAuthenticateRequest;
pub use sasl_handshake::SaslHandshakeRequest;
pub use sync_group::SyncGroupRequest;
pub use update_features::UpdateFeaturesRequest;

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

/// Reads a request in `version`. Bytes behind it are not looked at, as Kafka doesn't: librdkafka 2.16
/// leaves three of them where it asks for the metadata of all topics.
pub fn read<'a, R: Request<'a>>(version: i16, body: &'a [u8]) -> Result<R, ReadError> {
    read_front(version, body).map(|(request, _)| request)
}

/// As [`read`]; also how many bytes stand behind the request.
pub fn read_front<'a, R: Request<'a>>(
    version: i16,
    body: &'a [u8],
) -> Result<(R, usize), ReadError> {
    let (request, behind) = view::read::<R>(R::API, version, ELEMENTS_MAX as u32, body)?;
    Ok((request, behind.left()))
}
