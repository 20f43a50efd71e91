//! Requests, with the rules that hold for every view.

use bytes::{Bytes, BytesMut};
use millrace_protocol::api::Api;
use millrace_protocol::messages;
use millrace_protocol::requests::{self, Fault, ReadError};

use crate::agree::{self, Agree, structures};
use crate::changes;

structures! { requests:
    produce in produce_request {
        ProduceRequest<'a> { transactional_id acks timeout_ms topic_data }
        TopicProduceData<'a> { name topic_id partition_data }
        PartitionProduceData<'a> { index records }
    }
    fetch in fetch_request {
        FetchRequest<'a> {
            replica_id max_wait_ms min_bytes max_bytes isolation_level session_id session_epoch
            topics forgotten_topics_data rack_id cluster_id replica_state
        }
        ReplicaState { replica_id replica_epoch }
        FetchTopic<'a> { topic topic_id partitions }
        FetchPartition {
            partition current_leader_epoch fetch_offset last_fetched_epoch log_start_offset
            partition_max_bytes replica_directory_id high_watermark
        }
        ForgottenTopic<'a> { topic topic_id partitions }
    }
    list_offsets in list_offsets_request {
        ListOffsetsRequest<'a> { replica_id isolation_level topics timeout_ms }
        ListOffsetsTopic<'a> { name partitions }
        ListOffsetsPartition { partition_index current_leader_epoch timestamp }
    }
    metadata in metadata_request {
        MetadataRequest<'a> {
            topics allow_auto_topic_creation include_cluster_authorized_operations
            include_topic_authorized_operations
        }
        MetadataRequestTopic<'a> { topic_id name }
    }
    offset_commit in offset_commit_request {
        OffsetCommitRequest<'a> { group_id generation_id_or_member_epoch member_id group_instance_id retention_time_ms topics }
        OffsetCommitRequestTopic<'a> { name topic_id partitions }
        OffsetCommitRequestPartition<'a> { partition_index committed_offset committed_leader_epoch committed_metadata }
    }
    offset_fetch in offset_fetch_request {
        OffsetFetchRequest<'a> { group_id topics groups require_stable }
        OffsetFetchRequestTopic<'a> { name partition_indexes }
        OffsetFetchRequestGroup<'a> { group_id member_id member_epoch topics }
        OffsetFetchRequestTopics<'a> { name topic_id partition_indexes }
    }
    join_group in join_group_request {
        JoinGroupRequest<'a> { group_id session_timeout_ms rebalance_timeout_ms member_id group_instance_id protocol_type protocols reason }
        JoinGroupRequestProtocol<'a> { name metadata }
    }
    heartbeat in heartbeat_request {
        HeartbeatRequest<'a> { group_id generation_id member_id group_instance_id }
    }
    leave_group in leave_group_request {
        LeaveGroupRequest<'a> { group_id member_id members }
        MemberIdentity<'a> { member_id group_instance_id reason }
    }
    sync_group in sync_group_request {
        SyncGroupRequest<'a> { group_id generation_id member_id group_instance_id protocol_type protocol_name assignments }
        SyncGroupRequestAssignment<'a> { member_id assignment }
    }
    describe_groups in describe_groups_request {
        DescribeGroupsRequest<'a> { groups include_authorized_operations }
    }
    list_groups in list_groups_request {
        ListGroupsRequest<'a> { states_filter types_filter }
    }
    delete_groups in delete_groups_request {
        DeleteGroupsRequest<'a> { groups_names }
    }
    offset_delete in offset_delete_request {
        OffsetDeleteRequest<'a> { group_id topics }
        OffsetDeleteRequestTopic<'a> { name partitions }
        OffsetDeleteRequestPartition { partition_index }
    }
    find_coordinator in find_coordinator_request {
        FindCoordinatorRequest<'a> { key key_type coordinator_keys }
    }
    api_versions in api_versions_request {
        ApiVersionsRequest<'a> { client_software_name client_software_version }
    }
    create_topics in create_topics_request {
        CreateTopicsRequest<'a> { topics timeout_ms validate_only }
        CreatableTopic<'a> { name num_partitions replication_factor assignments configs }
        CreatableReplicaAssignment<'a> { partition_index broker_ids }
        CreatableTopicConfig<'a> { name value }
    }
    delete_topics in delete_topics_request {
        DeleteTopicsRequest<'a> { topics topic_names timeout_ms }
        DeleteTopicState<'a> { name topic_id }
    }
    describe_configs in describe_configs_request {
        DescribeConfigsRequest<'a> { resources include_synonyms include_documentation }
        DescribeConfigsResource<'a> { resource_type resource_name configuration_keys }
    }
    alter_configs in alter_configs_request {
        AlterConfigsRequest<'a> { resources validate_only }
        AlterConfigsResource<'a> { resource_type resource_name configs }
        AlterableConfig<'a> { name value }
    }
    incremental_alter_configs in incremental_alter_configs_request {
        IncrementalAlterConfigsRequest<'a> { resources validate_only }
        AlterConfigsResource<'a> { resource_type resource_name configs }
        AlterableConfig<'a> { name config_operation value }
    }
    list_config_resources in list_config_resources_request {
        ListConfigResourcesRequest<'a> { resource_types }
    }
    delete_records in delete_records_request {
        DeleteRecordsRequest<'a> { topics timeout_ms }
        DeleteRecordsTopic<'a> { name partitions }
        DeleteRecordsPartition { partition_index offset }
    }
    init_producer_id in init_producer_id_request {
        InitProducerIdRequest<'a> {
            transactional_id transaction_timeout_ms producer_id producer_epoch
        }
    }
    offset_for_leader_epoch in offset_for_leader_epoch_request {
        OffsetForLeaderEpochRequest<'a> { replica_id topics }
        OffsetForLeaderTopic<'a> { topic partitions }
        OffsetForLeaderPartition { partition current_leader_epoch leader_epoch }
    }
    describe_cluster in describe_cluster_request {
        DescribeClusterRequest {
            include_cluster_authorized_operations endpoint_type include_fenced_brokers
        }
    }
    create_partitions in create_partitions_request {
        CreatePartitionsRequest<'a> { topics timeout_ms validate_only }
        CreatePartitionsTopic<'a> { name count assignments }
        CreatePartitionsAssignment<'a> { broker_ids }
    }
    describe_topic_partitions in describe_topic_partitions_request {
        DescribeTopicPartitionsRequest<'a> { topics response_partition_limit cursor }
        TopicRequest<'a> { name }
        Cursor<'a> { topic_name partition_index }
    }
    describe_log_dirs in describe_log_dirs_request {
        DescribeLogDirsRequest<'a> { topics }
        DescribableLogDirTopic<'a> { topic partitions }
    }
    alter_replica_log_dirs in alter_replica_log_dirs_request {
        AlterReplicaLogDirsRequest<'a> { dirs }
        AlterReplicaLogDir<'a> { path topics }
        AlterReplicaLogDirTopic<'a> { name partitions }
    }
    elect_leaders in elect_leaders_request {
        ElectLeadersRequest<'a> { election_type topic_partitions timeout_ms }
        TopicPartitions<'a> { topic partitions }
    }
    alter_partition_reassignments in alter_partition_reassignments_request {
        AlterPartitionReassignmentsRequest<'a> { timeout_ms allow_replication_factor_change topics }
        ReassignableTopic<'a> { name partitions }
        ReassignablePartition<'a> { partition_index replicas }
    }
    list_partition_reassignments in list_partition_reassignments_request {
        ListPartitionReassignmentsRequest<'a> { timeout_ms topics }
        ListPartitionReassignmentsTopics<'a> { name partition_indexes }
    }
    describe_producers in describe_producers_request {
        DescribeProducersRequest<'a> { topics }
        TopicRequest<'a> { name partition_indexes }
    }
    describe_quorum in describe_quorum_request {
        DescribeQuorumRequest<'a> { topics }
        TopicData<'a> { topic_name partitions }
        PartitionData { partition_index }
    }
    update_features in update_features_request {
        UpdateFeaturesRequest<'a> { timeout_ms feature_updates validate_only }
        FeatureUpdateKey<'a> { feature max_version_level allow_downgrade upgrade_type }
    }
    describe_acls in describe_acls_request {
        DescribeAclsRequest<'a> { resource_type_filter resource_name_filter pattern_type_filter principal_filter host_filter operation permission_type }
    }
    create_acls in create_acls_request {
        CreateAclsRequest<'a> { creations }
        AclCreation<'a> { resource_type resource_name resource_pattern_type principal host operation permission_type }
    }
    delete_acls in delete_acls_request {
        DeleteAclsRequest<'a> { filters }
        DeleteAclsFilter<'a> { resource_type_filter resource_name_filter pattern_type_filter principal_filter host_filter operation permission_type }
    }
    sasl_handshake in sasl_handshake_request {
        SaslHandshakeRequest<'a> { mechanism }
    }
    sasl_authenticate in sasl_authenticate_request {
        SaslAuthenticateRequest<'a> { auth_bytes }
    }
    create_delegation_token in create_delegation_token_request {
        CreateDelegationTokenRequest<'a> { owner_principal_type owner_principal_name renewers max_lifetime_ms }
        CreatableRenewers<'a> { principal_type principal_name }
    }
    renew_delegation_token in renew_delegation_token_request {
        RenewDelegationTokenRequest<'a> { hmac renew_period_ms }
    }
    expire_delegation_token in expire_delegation_token_request {
        ExpireDelegationTokenRequest<'a> { hmac expiry_time_period_ms }
    }
    describe_delegation_token in describe_delegation_token_request {
        DescribeDelegationTokenRequest<'a> { owners }
        DescribeDelegationTokenOwner<'a> { principal_type principal_name }
    }
}

/// Reads a body of the API's requests both ways.
fn compare(api: Api, version: i16, body: &Bytes) -> Result<(), ReadError> {
    macro_rules! served {
        ($($api:ident = $message:ident $(<$a:lifetime>)?;)*) => {
            match api {
                $(Api::$api => {
                    let read = requests::read_front::<requests::$message $(<$a>)?>(version, body);
                    // Bytes behind the request are the codec's business only.
                    let len = body.len() - read.as_ref().map_or(0, |(_, left)| *left);
                    agree::compare::<requests::$message $(<$a>)?, messages::$message>(
                        read.map(|(request, _)| request),
                        requests::ELEMENTS_MAX,
                        version,
                        &body.slice(..len),
                    )
                })*
            }
        };
    }
    millrace_protocol::each_request!(served)
}

#[test]
fn every_recorded_request_reads_as_the_codec_reads_it() {
    agree::recorded_bodies_agree("Request", compare, &Ok(()));
}

#[test]
fn changed_requests_are_accepted_and_read_as_the_codec_does() {
    let accepted = changes::changed_bodies_accepted("Request", compare);
    assert!((1_000..19_000).contains(&accepted), "{accepted}");
}

#[test]
fn random_requests_are_accepted_and_read_as_the_codec_does() {
    let accepted = changes::random_bodies_accepted(40, compare);
    assert!((100..19_000).contains(&accepted), "{accepted}");
}

#[test]
fn bytes_behind_a_request_are_not_looked_at() {
    // All topics, as librdkafka 2.16 asks for them in version 13.
    let body = [0, 0, 0, 0, 1, 0, 0];
    let read = requests::read_front::<requests::MetadataRequest<'_>>(13, &body);
    let (request, left) = read.expect("Kafka reads it");
    assert!(request.topics.is_none());
    assert_eq!(left, 3);
}

#[test]
fn only_served_versions_are_read() {
    let api_versions = |version| requests::read::<requests::ApiVersionsRequest<'_>>(version, b"");
    let produce = |version| requests::read::<requests::ProduceRequest<'_>>(version, b"");
    for version in [i16::MIN, -1, 5, i16::MAX] {
        let fault = api_versions(version).map_err(|error| error.fault);
        assert_eq!(fault.err(), Some(Fault::Version(version)));
    }
    for version in [-1, 0, 2, 14] {
        let fault = produce(version).map_err(|error| error.fault);
        assert_eq!(fault.err(), Some(Fault::Version(version)));
    }
    assert!(api_versions(0).is_ok());
}

#[test]
fn text_longer_than_kafkas_is_refused_in_compact_form_too() {
    let mut body = BytesMut::from(&[0x80, 0x80, 0x02][..]);
    body.resize(3 + 32_767, b'a');
    body.extend_from_slice(&[1, 0]);
    let longest = body.freeze();
    assert_eq!(compare(Api::ApiVersions, 3, &longest), Ok(()));
    let mut longer = BytesMut::from(&longest[..]);
    longer[0] = 0x81;
    longer[4] = b'a';
    longer.extend_from_slice(&[0]);
    longer[3 + 32_767] = b'a';
    longer[3 + 32_768] = 1;
    let refused = compare(Api::ApiVersions, 3, &longer.freeze());
    assert_eq!(
        refused.map_err(|error| error.fault),
        Err(Fault::TextLength(32_768))
    );
}

#[test]
fn tags_are_skipped_in_rising_order_and_known_ones_fill_their_size() {
    let read = |tags: &[u8]| {
        let body = Bytes::from([&[1, 1], tags].concat());
        compare(Api::ApiVersions, 3, &body).map_err(|error| error.fault)
    };
    assert_eq!(read(&[2, 5, 1, 0xaa, 9, 0]), Ok(()));
    assert_eq!(read(&[2, 9, 0, 5, 1, 0xaa]), Err(Fault::TagOrder(5)));
    assert_eq!(read(&[2, 5, 0, 5, 0]), Err(Fault::TagOrder(5)));
    assert_eq!(read(&[1, 5, 2, 0xaa]), Err(Fault::Short));
    // A fetch of nothing by a follower: 12 bytes of replica id and epoch, and a tag section.
    let fetch = |size: u8, value: &[u8]| {
        let fields = [[0; 4], [0; 4], [0; 4]].concat();
        let session = [&[0][..], &[0; 4], &[0xff; 4], &[1, 1, 1]].concat();
        let body = [&fields[..], &session, &[1, 1, size], value].concat();
        compare(Api::Fetch, 15, &Bytes::from(body)).map_err(|error| error.fault)
    };
    let state = [&[0, 0, 0, 7][..], &[0; 8], &[0]].concat();
    assert_eq!(fetch(13, &state), Ok(()));
    let larger = [&state[..], &[0]].concat();
    assert_eq!(fetch(14, &larger), Err(Fault::LeftOver(1)));
    assert_eq!(fetch(12, &state[..12]), Err(Fault::Short));
}

/// What becomes of a body, without the place of the fault.
fn fault(api: Api, version: i16, body: Vec<u8>) -> Result<(), Fault> {
    compare(api, version, &Bytes::from(body)).map_err(|error| error.fault)
}

#[test]
fn null_is_refused_in_the_versions_that_have_none() {
    assert_eq!(fault(Api::Metadata, 0, vec![0xff; 4]), Err(Fault::Null));
    assert_eq!(fault(Api::Metadata, 1, vec![0xff; 4]), Ok(()));
    // One topic without a name, then flags and tags.
    let asked = |id: &[u8], flags: &[u8]| [&[2], id, &[0, 0], flags, &[0]].concat();
    let nine = asked(&[], &[1, 0, 0]);
    assert_eq!(fault(Api::Metadata, 9, nine), Err(Fault::Null));
    assert_eq!(
        fault(Api::Metadata, 10, asked(&[7; 16], &[1, 0, 0])),
        Ok(())
    );
}

#[test]
fn a_tag_of_a_later_version_is_unknown_before() {
    // A fetch of one partition with tag 1, which is an int64 from version 18, of one byte.
    let partition = [&[0; 4 + 4 + 8 + 4 + 8 + 4][..], &[1, 1, 1, 0xaa]].concat();
    let topics = [&[2][..], &[0; 16], &[2], &partition, &[0], &[1, 1, 0]].concat();
    let body = [&[0; 3 * 4 + 1 + 2 * 4][..], &topics].concat();
    assert_eq!(fault(Api::Fetch, 17, body.clone()), Ok(()));
    assert_eq!(fault(Api::Fetch, 18, body), Err(Fault::Short));
}

/// A compact count, of three bytes.
fn count(count: usize) -> [u8; 3] {
    let encoded = count + 1;
    let low = [encoded as u8 | 0x80, (encoded >> 7) as u8 | 0x80];
    [low[0], low[1], (encoded >> 14) as u8]
}

#[test]
fn an_array_has_only_elements_that_fit() {
    // Empty keys.
    let keys = |told: usize, present: usize| {
        let body = [&[0], &count(told)[..], &vec![1; present], &[0]].concat();
        fault(Api::FindCoordinator, 4, body)
    };
    assert_eq!(keys(20_000, 20_000), Ok(()));
    assert_eq!(keys(20_000, 10_000), Err(Fault::Elements(20_000)));
    let most = requests::ELEMENTS_MAX;
    assert_eq!(keys(most, most), Ok(()));
    assert_eq!(keys(most + 1, most + 1), Err(Fault::Elements(most + 1)));
}

#[test]
fn the_elements_of_all_arrays_are_bounded_together() {
    // Four topics with one partition fewer than a quarter of what is allowed, and a fifth with some.
    let topic = |partitions: usize| {
        let rows = vec![0; (12 + 1) * partitions];
        [&[1][..], &count(partitions), &rows, &[0]].concat()
    };
    let quarter = vec![topic(requests::ELEMENTS_MAX / 4 - 2); 4].concat();
    let forget = |some: usize| {
        let topics = [&[6][..], &quarter, &topic(some)].concat();
        let body = [&[0xff; 4][..], &topics, &[0]].concat();
        fault(Api::OffsetForLeaderEpoch, 4, body)
    };
    assert_eq!(forget(3), Ok(()));
    assert_eq!(forget(4), Err(Fault::Elements(4)));
}
