//! Kafka's messages, and the two functions that turn them into bytes and back.
//!
//! The codec behind this module is generated from Kafka's own schemas by another crate; no other
//! room names that crate, so that it can be replaced here alone. What always holds: decoding takes
//! no more than [`DecodeLimits`] allows, refuses bytes left over, and copies no record: a `records`
//! field is a slice of the bytes given. Encoding refuses a field that its version doesn't have.
//!
//! Named here are the messages that are served, each with a module of the structures in it. The
//! broker reads requests in place ([`crate::requests`]) and writes answers from here; whoever asks a
//! broker writes requests from here and reads answers in place ([`crate::responses`]). [`decode`] is
//! for tests and tools, against which the views are held: a decoded value owns its structures, and
//! one that is all empty structures takes up to a hundred times its own bytes.

use bytes::{Bytes, BytesMut};
use kafka_wire::KafkaMessage;
pub use kafka_wire::{
    AlterConfigsRequest, AlterConfigsResponse, AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse, AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse,
    ApiVersionsRequest, ApiVersionsResponse, CreateAclsRequest, CreateAclsResponse,
    CreateDelegationTokenRequest, CreateDelegationTokenResponse, CreatePartitionsRequest,
    CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteAclsRequest,
    DeleteAclsResponse, DeleteGroupsRequest, DeleteGroupsResponse, DeleteRecordsRequest,
    DeleteRecordsResponse, DeleteTopicsRequest, DeleteTopicsResponse, DescribeAclsRequest,
    DescribeAclsResponse, DescribeClusterRequest, DescribeClusterResponse, DescribeConfigsRequest,
    DescribeConfigsResponse, DescribeDelegationTokenRequest, DescribeDelegationTokenResponse,
    DescribeGroupsRequest, DescribeGroupsResponse, DescribeLogDirsRequest, DescribeLogDirsResponse,
    DescribeProducersRequest, DescribeProducersResponse, DescribeQuorumRequest,
    DescribeQuorumResponse, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    ElectLeadersRequest, ElectLeadersResponse, ExpireDelegationTokenRequest,
    ExpireDelegationTokenResponse, FetchRequest, FetchResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, InitProducerIdRequest, InitProducerIdResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    ListConfigResourcesRequest, ListConfigResourcesResponse, ListGroupsRequest, ListGroupsResponse,
    ListOffsetsRequest, ListOffsetsResponse, ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse, MetadataRequest, MetadataResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
    OffsetFetchResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, ProduceRequest,
    ProduceResponse, RenewDelegationTokenRequest, RenewDelegationTokenResponse,
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
    SyncGroupRequest, SyncGroupResponse, UpdateFeaturesRequest, UpdateFeaturesResponse,
    alter_configs_request, alter_configs_response, alter_partition_reassignments_request,
    alter_partition_reassignments_response, alter_replica_log_dirs_request,
    alter_replica_log_dirs_response, api_versions_request, api_versions_response,
    create_acls_request, create_acls_response, create_delegation_token_request,
    create_delegation_token_response, create_partitions_request, create_partitions_response,
    create_topics_request, create_topics_response, delete_acls_request, delete_acls_response,
    delete_groups_request, delete_groups_response, delete_records_request, delete_records_response,
    delete_topics_request, delete_topics_response, describe_acls_request, describe_acls_response,
    describe_cluster_request, describe_cluster_response, describe_configs_request,
    describe_configs_response, describe_delegation_token_request,
    describe_delegation_token_response, describe_groups_request, describe_groups_response,
    describe_log_dirs_request, describe_log_dirs_response, describe_producers_request,
    describe_producers_response, describe_quorum_request, describe_quorum_response,
    describe_topic_partitions_request, describe_topic_partitions_response, elect_leaders_request,
    elect_leaders_response, expire_delegation_token_request, expire_delegation_token_response,
    fetch_request, fetch_response, find_coordinator_request, find_coordinator_response,
    heartbeat_request, heartbeat_response, incremental_alter_configs_request,
    incremental_alter_configs_response, init_producer_id_request, init_producer_id_response,
    join_group_request, join_group_response, leave_group_request, leave_group_response,
    list_config_resources_request, list_config_resources_response, list_groups_request,
    list_groups_response, list_offsets_request, list_offsets_response,
    list_partition_reassignments_request, list_partition_reassignments_response, metadata_request,
    metadata_response, offset_commit_request, offset_commit_response, offset_delete_request,
    offset_delete_response, offset_fetch_request, offset_fetch_response,
    offset_for_leader_epoch_request, offset_for_leader_epoch_response, produce_request,
    produce_response, renew_delegation_token_request, renew_delegation_token_response,
    sasl_authenticate_request, sasl_authenticate_response, sasl_handshake_request,
    sasl_handshake_response, sync_group_request, sync_group_response, update_features_request,
    update_features_response,
};
use kafka_wire_core::{ApiVersion, Decoder, KafkaEncode};
pub use kafka_wire_core::{StrBytes, TaggedFields, Uuid};

use crate::ids::TopicId;

/// A message of Kafka's protocol: a request's or an answer's body, or a header.
pub trait Message: KafkaMessage {}

impl<M: KafkaMessage> Message for M {}

/// A structure inside a message, such as the row of one topic.
pub trait Part: KafkaEncode {}

impl<P: KafkaEncode> Part for P {}

/// Bounds on what decoding believes of a length before the bytes are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// The whole message, in bytes.
    pub message_bytes_max: usize,
    /// Elements of one array.
    pub array_elements_max: usize,
    /// Unknown tagged fields of one structure.
    pub tagged_fields_max: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            message_bytes_max: 100 * 1024 * 1024,
            array_elements_max: 100_000,
            tagged_fields_max: 256,
        }
    }
}

/// Why bytes are not the message they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} version {version} can't be read: {reason}")]
pub struct DecodeError {
    /// The message's name.
    pub message: &'static str,
    /// The version that was tried.
    pub version: i16,
    /// What is wrong, and where.
    pub reason: String,
}

/// Why a value can't be written at a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} can't be written at version {version}: {reason}")]
pub struct EncodeError {
    /// The message's name.
    pub message: &'static str,
    /// The version that was tried.
    pub version: i16,
    /// Which field is in the way.
    pub reason: String,
}

/// Reads a body of `version` from all of `body`, in tests and tools: out of proportion to the bytes.
pub fn decode<M: Message>(
    version: i16,
    body: Bytes,
    limits: &DecodeLimits,
) -> Result<M, DecodeError> {
    let error = |reason: String| DecodeError {
        message: M::NAME,
        version,
        reason,
    };
    let mut bounds = kafka_wire_core::DecodeLimits::default();
    bounds.max_frame_bytes = limits.message_bytes_max;
    bounds.max_bytes_bytes = limits.message_bytes_max;
    bounds.max_string_bytes = limits.message_bytes_max;
    bounds.max_array_elements = limits.array_elements_max;
    bounds.max_tagged_fields = limits.tagged_fields_max;
    bounds.max_tag_bytes = TAG_BYTES_MAX;
    bounds.max_total_tag_bytes = TAG_BYTES_MAX;
    let mut decoder = Decoder::new(body, bounds).map_err(|e| error(e.to_string()))?;
    let message =
        M::decode(&mut decoder, ApiVersion::new(version)).map_err(|e| error(e.to_string()))?;
    decoder.finish().map_err(|e| error(e.to_string()))?;
    Ok(message)
}

/// Tagged fields of one structure together, in bytes.
const TAG_BYTES_MAX: usize = 64 * 1024;

/// Appends the body of `version` to `out`. On an error `out` is as it was.
pub fn encode_into<M: Message>(
    message: &M,
    version: i16,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    message
        .encode_into(out, ApiVersion::new(version))
        .map(|_| ())
        .map_err(|error| EncodeError {
            message: M::NAME,
            version,
            reason: error.to_string(),
        })
}

/// Appends one structure of a message `M` of `version`, as it stands in the message's body, to
/// `out`: for bodies that are put together from parts. On an error `out` is as it was.
pub fn encode_part_into<M: Message>(
    part: &impl Part,
    version: i16,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    part.encode_into(out, ApiVersion::new(version))
        .map(|_| ())
        .map_err(|error| EncodeError {
            message: M::NAME,
            version,
            reason: error.to_string(),
        })
}

/// The body of `version` in bytes of its own.
pub fn encode<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut out = BytesMut::new();
    encode_into(message, version, &mut out)?;
    Ok(out.freeze())
}

impl From<Uuid> for TopicId {
    fn from(id: Uuid) -> Self {
        Self::from_bytes(id.to_bytes())
    }
}

impl From<TopicId> for Uuid {
    fn from(id: TopicId) -> Self {
        Self::from_bytes(id.to_bytes())
    }
}
