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

pub use alter_configs::AlterConfigsResponse;
pub use alter_partition_reassignments::AlterPartitionReassignmentsResponse;
pub use alter_replica_log_dirs::AlterReplicaLogDirsResponse;
pub use api_versions::ApiVersionsResponse;
pub use create_acls::CreateAclsResponse;
pub use create_delegation_token::CreateDelegationTokenResponse;
pub use create_partitions::CreatePartitionsResponse;
pub use create_topics::CreateTopicsResponse;
pub use delete_acls::DeleteAclsResponse;
pub use delete_groups::DeleteGroupsResponse;
pub use delete_records::DeleteRecordsResponse;
pub use delete_topics::DeleteTopicsResponse;
pub use describe_acls::DescribeAclsResponse;
pub use describe_cluster::DescribeClusterResponse;
pub use describe_configs::DescribeConfigsResponse;
pub use describe_delegation_token::DescribeDelegationTokenResponse;
pub use describe_groups::DescribeGroupsResponse;
pub use describe_log_dirs::DescribeLogDirsResponse;
pub use describe_producers::DescribeProducersResponse;
pub use describe_quorum::DescribeQuorumResponse;
pub use describe_topic_partitions::DescribeTopicPartitionsResponse;
pub use elect_leaders::ElectLeadersResponse;
pub use expire_delegation_token::ExpireDelegationTokenResponse;
pub use fetch::FetchResponse;
pub use find_coordinator::FindCoordinatorResponse;
pub use heartbeat::HeartbeatResponse;
pub use incremental_alter_configs::IncrementalAlterConfigsResponse;
pub use init_producer_id::InitProducerIdResponse;
pub use join_group::JoinGroupResponse;
pub use leave_group::LeaveGroupResponse;
pub use list_config_resources::ListConfigResourcesResponse;
pub use list_groups::ListGroupsResponse;
pub use list_offsets::ListOffsetsResponse;
pub use list_partition_reassignments::ListPartitionReassignmentsResponse;
pub use metadata::MetadataResponse;
pub use offset_commit::OffsetCommitResponse;
pub use offset_delete::OffsetDeleteResponse;
pub use offset_fetch::OffsetFetchResponse;
pub use offset_for_leader_epoch::OffsetForLeaderEpochResponse;
pub use produce::ProduceResponse;
pub use renew_delegation_token::RenewDelegationTokenResponse;
pub use sasl_authenticate::SaslAuthenticateResponse;
pub use sasl_handshake::SaslHandshakeResponse;
pub use sync_group::SyncGroupResponse;
pub use update_features::UpdateFeaturesResponse;

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
    let (response, behind) = view::read::<R>(R::API, version, u32::MAX, body)?;
    behind.finish()?;
    Ok(response)
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
    SaslHandshakeRequest -> SaslHandshakeResponse<'a>;
    ApiVersionsRequest -> ApiVersionsResponse<'a>;
    CreateTopicsRequest -> CreateTopicsResponse<'a>;
    DeleteTopicsRequest -> DeleteTopicsResponse<'a>;
    DeleteRecordsRequest -> DeleteRecordsResponse<'a>;
    InitProducerIdRequest -> InitProducerIdResponse;
    OffsetForLeaderEpochRequest -> OffsetForLeaderEpochResponse<'a>;
    DescribeAclsRequest -> DescribeAclsResponse<'a>;
    CreateAclsRequest -> CreateAclsResponse<'a>;
    DeleteAclsRequest -> DeleteAclsResponse<'a>;
    DescribeConfigsRequest -> DescribeConfigsResponse<'a>;
    AlterConfigsRequest -> AlterConfigsResponse<'a>;
    AlterReplicaLogDirsRequest -> AlterReplicaLogDirsResponse<'a>;
    DescribeLogDirsRequest -> DescribeLogDirsResponse<'a>;
    SaslAuthenticateRequest -> SaslAuthenticateResponse<'a>;
    CreatePartitionsRequest -> CreatePartitionsResponse<'a>;
    CreateDelegationTokenRequest -> CreateDelegationTokenResponse<'a>;
    RenewDelegationTokenRequest -> RenewDelegationTokenResponse;
    ExpireDelegationTokenRequest -> ExpireDelegationTokenResponse;
    DescribeDelegationTokenRequest -> DescribeDelegationTokenResponse<'a>;
    ElectLeadersRequest -> ElectLeadersResponse<'a>;
    IncrementalAlterConfigsRequest -> IncrementalAlterConfigsResponse<'a>;
    AlterPartitionReassignmentsRequest -> AlterPartitionReassignmentsResponse<'a>;
    ListPartitionReassignmentsRequest -> ListPartitionReassignmentsResponse<'a>;
    DescribeQuorumRequest -> DescribeQuorumResponse<'a>;
    UpdateFeaturesRequest -> UpdateFeaturesResponse<'a>;
    DescribeClusterRequest -> DescribeClusterResponse<'a>;
    DescribeProducersRequest -> DescribeProducersResponse<'a>;
    ListConfigResourcesRequest -> ListConfigResourcesResponse<'a>;
    DescribeTopicPartitionsRequest -> DescribeTopicPartitionsResponse<'a>;
    OffsetCommitRequest -> OffsetCommitResponse<'a>;
    OffsetFetchRequest -> OffsetFetchResponse<'a>;
    JoinGroupRequest -> JoinGroupResponse<'a>;
    HeartbeatRequest -> HeartbeatResponse;
    LeaveGroupRequest -> LeaveGroupResponse<'a>;
    SyncGroupRequest -> SyncGroupResponse<'a>;
    DescribeGroupsRequest -> DescribeGroupsResponse<'a>;
    ListGroupsRequest -> ListGroupsResponse<'a>;
    DeleteGroupsRequest -> DeleteGroupsResponse<'a>;
    OffsetDeleteRequest -> OffsetDeleteResponse<'a>;
}
