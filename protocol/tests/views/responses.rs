//! Responses.

use bytes::Bytes;
use millrace_protocol::api::{self, Api};
use millrace_protocol::messages;
use millrace_protocol::responses::{self, Fault, ReadError, Request};

use crate::agree::{self, Agree, structures};
use crate::changes;

structures! { responses:
    produce in produce_response {
        ProduceResponse<'a> { responses throttle_time_ms node_endpoints }
        TopicProduceResponse<'a> { name topic_id partition_responses }
        PartitionProduceResponse<'a> {
            index error_code base_offset log_append_time_ms log_start_offset record_errors
            error_message current_leader
        }
        BatchIndexAndErrorMessage<'a> { batch_index batch_index_error_message }
        LeaderIdAndEpoch { leader_id leader_epoch }
        NodeEndpoint<'a> { node_id host port rack }
    }
    fetch in fetch_response {
        FetchResponse<'a> { throttle_time_ms error_code session_id responses node_endpoints }
        FetchableTopicResponse<'a> { topic topic_id partitions }
        PartitionData<'a> {
            partition_index error_code high_watermark last_stable_offset log_start_offset
            aborted_transactions preferred_read_replica records diverging_epoch current_leader
            snapshot_id
        }
        EpochEndOffset { epoch end_offset }
        LeaderIdAndEpoch { leader_id leader_epoch }
        SnapshotId { end_offset epoch }
        AbortedTransaction { producer_id first_offset }
        NodeEndpoint<'a> { node_id host port rack }
    }
    list_offsets in list_offsets_response {
        ListOffsetsResponse<'a> { throttle_time_ms topics }
        ListOffsetsTopicResponse<'a> { name partitions }
        ListOffsetsPartitionResponse { partition_index error_code timestamp offset leader_epoch }
    }
    metadata in metadata_response {
        MetadataResponse<'a> {
            throttle_time_ms brokers cluster_id controller_id topics cluster_authorized_operations
            error_code
        }
        MetadataResponseBroker<'a> { node_id host port rack }
        MetadataResponseTopic<'a> {
            error_code name topic_id is_internal partitions topic_authorized_operations
        }
        MetadataResponsePartition<'a> {
            error_code partition_index leader_id leader_epoch replica_nodes isr_nodes
            offline_replicas
        }
    }
    offset_commit in offset_commit_response {
        OffsetCommitResponse<'a> { throttle_time_ms topics }
        OffsetCommitResponseTopic<'a> { name topic_id partitions }
        OffsetCommitResponsePartition { partition_index error_code }
    }
    offset_fetch in offset_fetch_response {
        OffsetFetchResponse<'a> { throttle_time_ms topics error_code groups }
        OffsetFetchResponseTopic<'a> { name partitions }
        OffsetFetchResponsePartition<'a> { partition_index committed_offset committed_leader_epoch metadata error_code }
        OffsetFetchResponseGroup<'a> { group_id topics error_code }
        OffsetFetchResponseTopics<'a> { name topic_id partitions }
        OffsetFetchResponsePartitions<'a> { partition_index committed_offset committed_leader_epoch metadata error_code }
    }
    join_group in join_group_response {
        JoinGroupResponse<'a> { throttle_time_ms error_code generation_id protocol_type protocol_name leader skip_assignment member_id members }
        JoinGroupResponseMember<'a> { member_id group_instance_id metadata }
    }
    heartbeat in heartbeat_response {
        HeartbeatResponse { throttle_time_ms error_code }
    }
    leave_group in leave_group_response {
        LeaveGroupResponse<'a> { throttle_time_ms error_code members }
        MemberResponse<'a> { member_id group_instance_id error_code }
    }
    sync_group in sync_group_response {
        SyncGroupResponse<'a> { throttle_time_ms error_code protocol_type protocol_name assignment }
    }
    describe_groups in describe_groups_response {
        DescribeGroupsResponse<'a> { throttle_time_ms groups }
        DescribedGroup<'a> { error_code error_message group_id group_state protocol_type protocol_data members authorized_operations }
        DescribedGroupMember<'a> { member_id group_instance_id client_id client_host member_metadata member_assignment }
    }
    list_groups in list_groups_response {
        ListGroupsResponse<'a> { throttle_time_ms error_code groups }
        ListedGroup<'a> { group_id protocol_type group_state group_type }
    }
    delete_groups in delete_groups_response {
        DeleteGroupsResponse<'a> { throttle_time_ms results }
        DeletableGroupResult<'a> { group_id error_code }
    }
    offset_delete in offset_delete_response {
        OffsetDeleteResponse<'a> { error_code throttle_time_ms topics }
        OffsetDeleteResponseTopic<'a> { name partitions }
        OffsetDeleteResponsePartition { partition_index error_code }
    }
    find_coordinator in find_coordinator_response {
        FindCoordinatorResponse<'a> {
            throttle_time_ms error_code error_message node_id host port coordinators
        }
        Coordinator<'a> { key node_id host port error_code error_message }
    }
    api_versions in api_versions_response {
        ApiVersionsResponse<'a> {
            error_code api_keys throttle_time_ms supported_features finalized_features_epoch
            finalized_features zk_migration_ready
        }
        ApiVersion { api_key min_version max_version }
        SupportedFeatureKey<'a> { name min_version max_version }
        FinalizedFeatureKey<'a> { name max_version_level min_version_level }
    }
    create_topics in create_topics_response {
        CreateTopicsResponse<'a> { throttle_time_ms topics }
        CreatableTopicResult<'a> {
            name topic_id error_code error_message num_partitions replication_factor configs
            topic_config_error_code
        }
        CreatableTopicConfigs<'a> { name value read_only config_source is_sensitive }
    }
    delete_topics in delete_topics_response {
        DeleteTopicsResponse<'a> { throttle_time_ms responses }
        DeletableTopicResult<'a> { name topic_id error_code error_message }
    }
    describe_configs in describe_configs_response {
        DescribeConfigsResponse<'a> { throttle_time_ms results }
        DescribeConfigsResult<'a> {
            error_code error_message resource_type resource_name configs
        }
        DescribeConfigsResourceResult<'a> {
            name value read_only config_source is_sensitive synonyms config_type documentation
        }
        DescribeConfigsSynonym<'a> { name value source }
    }
    alter_configs in alter_configs_response {
        AlterConfigsResponse<'a> { throttle_time_ms responses }
        AlterConfigsResourceResponse<'a> { error_code error_message resource_type resource_name }
    }
    incremental_alter_configs in incremental_alter_configs_response {
        IncrementalAlterConfigsResponse<'a> { throttle_time_ms responses }
        AlterConfigsResourceResponse<'a> { error_code error_message resource_type resource_name }
    }
    list_config_resources in list_config_resources_response {
        ListConfigResourcesResponse<'a> { throttle_time_ms error_code config_resources }
        ConfigResource<'a> { resource_name resource_type }
    }
    delete_records in delete_records_response {
        DeleteRecordsResponse<'a> { throttle_time_ms topics }
        DeleteRecordsTopicResult<'a> { name partitions }
        DeleteRecordsPartitionResult { partition_index low_watermark error_code }
    }
    init_producer_id in init_producer_id_response {
        InitProducerIdResponse { throttle_time_ms error_code producer_id producer_epoch }
    }
    offset_for_leader_epoch in offset_for_leader_epoch_response {
        OffsetForLeaderEpochResponse<'a> { throttle_time_ms topics }
        OffsetForLeaderTopicResult<'a> { topic partitions }
        EpochEndOffset { error_code partition leader_epoch end_offset }
    }
    describe_cluster in describe_cluster_response {
        DescribeClusterResponse<'a> {
            throttle_time_ms error_code error_message endpoint_type cluster_id controller_id brokers
            cluster_authorized_operations
        }
        DescribeClusterBroker<'a> { broker_id host port rack is_fenced }
    }
    create_partitions in create_partitions_response {
        CreatePartitionsResponse<'a> { throttle_time_ms results }
        CreatePartitionsTopicResult<'a> { name error_code error_message }
    }
    describe_topic_partitions in describe_topic_partitions_response {
        DescribeTopicPartitionsResponse<'a> { throttle_time_ms topics next_cursor }
        DescribeTopicPartitionsResponseTopic<'a> { error_code name topic_id is_internal partitions topic_authorized_operations }
        DescribeTopicPartitionsResponsePartition<'a> { error_code partition_index leader_id leader_epoch replica_nodes isr_nodes eligible_leader_replicas last_known_elr offline_replicas }
        Cursor<'a> { topic_name partition_index }
    }
    describe_log_dirs in describe_log_dirs_response {
        DescribeLogDirsResponse<'a> { throttle_time_ms error_code results }
        DescribeLogDirsResult<'a> { error_code log_dir topics total_bytes usable_bytes is_cordoned }
        DescribeLogDirsTopic<'a> { name partitions }
        DescribeLogDirsPartition { partition_index partition_size offset_lag is_future_key }
    }
    alter_replica_log_dirs in alter_replica_log_dirs_response {
        AlterReplicaLogDirsResponse<'a> { throttle_time_ms results }
        AlterReplicaLogDirTopicResult<'a> { topic_name partitions }
        AlterReplicaLogDirPartitionResult { partition_index error_code }
    }
    elect_leaders in elect_leaders_response {
        ElectLeadersResponse<'a> { throttle_time_ms error_code replica_election_results }
        ReplicaElectionResult<'a> { topic partition_result }
        PartitionResult<'a> { partition_id error_code error_message }
    }
    alter_partition_reassignments in alter_partition_reassignments_response {
        AlterPartitionReassignmentsResponse<'a> { throttle_time_ms allow_replication_factor_change error_code error_message responses }
        ReassignableTopicResponse<'a> { name partitions }
        ReassignablePartitionResponse<'a> { partition_index error_code error_message }
    }
    list_partition_reassignments in list_partition_reassignments_response {
        ListPartitionReassignmentsResponse<'a> { throttle_time_ms error_code error_message topics }
        OngoingTopicReassignment<'a> { name partitions }
        OngoingPartitionReassignment<'a> { partition_index replicas adding_replicas removing_replicas }
    }
    describe_producers in describe_producers_response {
        DescribeProducersResponse<'a> { throttle_time_ms topics }
        TopicResponse<'a> { name partitions }
        PartitionResponse<'a> { partition_index error_code error_message active_producers }
        ProducerState { producer_id producer_epoch last_sequence last_timestamp coordinator_epoch current_txn_start_offset }
    }
    describe_quorum in describe_quorum_response {
        DescribeQuorumResponse<'a> { error_code error_message topics nodes }
        TopicData<'a> { topic_name partitions }
        PartitionData<'a> { partition_index error_code error_message leader_id leader_epoch high_watermark current_voters observers }
        ReplicaState { replica_id replica_directory_id log_end_offset last_fetch_timestamp last_caught_up_timestamp }
        Node<'a> { node_id listeners }
        Listener<'a> { name host port }
    }
    update_features in update_features_response {
        UpdateFeaturesResponse<'a> { throttle_time_ms error_code error_message results }
        UpdatableFeatureResult<'a> { feature error_code error_message }
    }
    describe_acls in describe_acls_response {
        DescribeAclsResponse<'a> { throttle_time_ms error_code error_message resources }
        DescribeAclsResource<'a> { resource_type resource_name pattern_type acls }
        AclDescription<'a> { principal host operation permission_type }
    }
    create_acls in create_acls_response {
        CreateAclsResponse<'a> { throttle_time_ms results }
        AclCreationResult<'a> { error_code error_message }
    }
    delete_acls in delete_acls_response {
        DeleteAclsResponse<'a> { throttle_time_ms filter_results }
        DeleteAclsFilterResult<'a> { error_code error_message matching_acls }
        DeleteAclsMatchingAcl<'a> { error_code error_message resource_type resource_name pattern_type principal host operation permission_type }
    }
    sasl_handshake in sasl_handshake_response {
        SaslHandshakeResponse<'a> { error_code mechanisms }
    }
    sasl_authenticate in sasl_authenticate_response {
        SaslAuthenticateResponse<'a> { error_code error_message auth_bytes session_lifetime_ms }
    }
    create_delegation_token in create_delegation_token_response {
        CreateDelegationTokenResponse<'a> { error_code principal_type principal_name token_requester_principal_type token_requester_principal_name issue_timestamp_ms expiry_timestamp_ms max_timestamp_ms token_id hmac throttle_time_ms }
    }
    renew_delegation_token in renew_delegation_token_response {
        RenewDelegationTokenResponse { error_code expiry_timestamp_ms throttle_time_ms }
    }
    expire_delegation_token in expire_delegation_token_response {
        ExpireDelegationTokenResponse { error_code expiry_timestamp_ms throttle_time_ms }
    }
    describe_delegation_token in describe_delegation_token_response {
        DescribeDelegationTokenResponse<'a> { error_code tokens throttle_time_ms }
        DescribedDelegationToken<'a> { principal_type principal_name token_requester_principal_type token_requester_principal_name issue_timestamp expiry_timestamp max_timestamp token_id hmac renewers }
        DescribedDelegationTokenRenewer<'a> { principal_type principal_name }
    }
}

/// Reads a body of the API's responses both ways.
fn compare(api: Api, version: i16, body: &Bytes) -> Result<(), ReadError> {
    macro_rules! served {
        ($($api:ident = $message:ident $(<$a:lifetime>)?;)*) => {
            match api {
                $(Api::$api => agree::compare::<responses::$message $(<$a>)?, messages::$message>(
                    responses::read(version, body),
                    usize::MAX,
                    version,
                    body,
                ),)*
            }
        };
    }
    millrace_protocol::each_response!(served)
}

#[test]
fn every_recorded_response_reads_as_the_codec_reads_it() {
    agree::recorded_bodies_agree("Response", compare, &Err(Fault::LeftOver(1)));
}

#[test]
fn changed_responses_are_accepted_and_read_as_the_codec_does() {
    let accepted = changes::changed_bodies_accepted("Response", compare);
    assert!((1_000..19_000).contains(&accepted), "{accepted}");
}

#[test]
fn random_responses_are_accepted_and_read_as_the_codec_does() {
    let accepted = changes::random_bodies_accepted(60, compare);
    assert!((20..19_000).contains(&accepted), "{accepted}");
}

#[test]
fn only_versions_that_we_speak_are_read() {
    for row in api::TABLE {
        for version in [i16::MIN, row.served.min - 1, row.served.max + 1, i16::MAX] {
            let refused = compare(row.api, version, &Bytes::new());
            assert_eq!(
                refused.map_err(|error| error.fault),
                Err(Fault::Version(version)),
                "{}",
                row.name
            );
        }
    }
}

#[test]
fn a_response_has_as_many_elements_as_its_bytes_hold() {
    // A partition with a third of a million replicas, more than a request may have elements.
    let nodes = 333_333;
    let partition = [
        &[0; 2 + 3 * 4][..],
        &i32::to_be_bytes(nodes),
        &vec![7; 4 * 333_333],
    ]
    .concat();
    let isr = [0; 4];
    let topic = [&[0; 2 + 2][..], &[0, 0, 0, 1], &partition[4..], &isr].concat();
    let body = [&[0, 0, 0, 0, 0, 0, 0, 1][..], &topic].concat();
    assert_eq!(compare(Api::Metadata, 0, &body.clone().into()), Ok(()));
    let cut = compare(Api::Metadata, 0, &body[..body.len() - 8].to_vec().into());
    let fault = cut.map_err(|error| error.fault);
    assert_eq!(fault, Err(Fault::Elements(333_333)));
}

#[test]
fn a_response_is_that_of_the_request_of_its_api() {
    use millrace_protocol::messages::{FetchRequest, InitProducerIdRequest, ProduceRequest};
    assert_eq!(ProduceRequest::API, Api::Produce);
    assert_eq!(FetchRequest::API, Api::Fetch);
    assert_eq!(InitProducerIdRequest::API, Api::InitProducerId);
}
