//! Target: our codec against a second, independent one.
//!
//! Held: what ours reads and writes, the other reads whole and writes to the same bytes.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, Message as Theirs};
use millrace_protocol::api::Api;
use millrace_protocol::messages::{self as ours, DecodeLimits, Message};

use crate::input::Input;
use crate::messages::named;
use crate::progress;

/// One input: request or answer, which at which version, then its body.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let request = input.byte() % 2 == 0;
    let (api, version) = named(&mut input);
    let body = Bytes::copy_from_slice(input.0);
    macro_rules! compared {
        ($($api:ident: $request:ident, $response:ident;)*) => {
            match api {
                $(Api::$api if request => {
                    alike::<ours::$request, theirs::$request>(version, body);
                }
                Api::$api => alike::<ours::$response, theirs::$response>(version, body),)*
            }
        };
    }
    compared! {
        Produce: ProduceRequest, ProduceResponse;
        Fetch: FetchRequest, FetchResponse;
        ListOffsets: ListOffsetsRequest, ListOffsetsResponse;
        Metadata: MetadataRequest, MetadataResponse;
        FindCoordinator: FindCoordinatorRequest, FindCoordinatorResponse;
        OffsetCommit: OffsetCommitRequest, OffsetCommitResponse;
        OffsetFetch: OffsetFetchRequest, OffsetFetchResponse;
        JoinGroup: JoinGroupRequest, JoinGroupResponse;
        Heartbeat: HeartbeatRequest, HeartbeatResponse;
        LeaveGroup: LeaveGroupRequest, LeaveGroupResponse;
        SyncGroup: SyncGroupRequest, SyncGroupResponse;
        DescribeGroups: DescribeGroupsRequest, DescribeGroupsResponse;
        ListGroups: ListGroupsRequest, ListGroupsResponse;
        DeleteGroups: DeleteGroupsRequest, DeleteGroupsResponse;
        OffsetDelete: OffsetDeleteRequest, OffsetDeleteResponse;
        SaslHandshake: SaslHandshakeRequest, SaslHandshakeResponse;
        ApiVersions: ApiVersionsRequest, ApiVersionsResponse;
        CreateTopics: CreateTopicsRequest, CreateTopicsResponse;
        DeleteTopics: DeleteTopicsRequest, DeleteTopicsResponse;
        DeleteRecords: DeleteRecordsRequest, DeleteRecordsResponse;
        InitProducerId: InitProducerIdRequest, InitProducerIdResponse;
        OffsetForLeaderEpoch: OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse;
        DescribeAcls: DescribeAclsRequest, DescribeAclsResponse;
        CreateAcls: CreateAclsRequest, CreateAclsResponse;
        DeleteAcls: DeleteAclsRequest, DeleteAclsResponse;
        DescribeConfigs: DescribeConfigsRequest, DescribeConfigsResponse;
        AlterConfigs: AlterConfigsRequest, AlterConfigsResponse;
        AlterReplicaLogDirs: AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse;
        DescribeLogDirs: DescribeLogDirsRequest, DescribeLogDirsResponse;
        SaslAuthenticate: SaslAuthenticateRequest, SaslAuthenticateResponse;
        CreatePartitions: CreatePartitionsRequest, CreatePartitionsResponse;
        CreateDelegationToken: CreateDelegationTokenRequest, CreateDelegationTokenResponse;
        RenewDelegationToken: RenewDelegationTokenRequest, RenewDelegationTokenResponse;
        ExpireDelegationToken: ExpireDelegationTokenRequest, ExpireDelegationTokenResponse;
        DescribeDelegationToken: DescribeDelegationTokenRequest, DescribeDelegationTokenResponse;
        ElectLeaders: ElectLeadersRequest, ElectLeadersResponse;
        IncrementalAlterConfigs: IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse;
        AlterPartitionReassignments: AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse;
        ListPartitionReassignments: ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse;
        DescribeQuorum: DescribeQuorumRequest, DescribeQuorumResponse;
        UpdateFeatures: UpdateFeaturesRequest, UpdateFeaturesResponse;
        DescribeCluster: DescribeClusterRequest, DescribeClusterResponse;
        DescribeProducers: DescribeProducersRequest, DescribeProducersResponse;
        ListConfigResources: ListConfigResourcesRequest, ListConfigResourcesResponse;
        DescribeTopicPartitions: DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse;
    }
}

fn alike<Ours, Other>(version: i16, body: Bytes)
where
    Ours: Message,
    Other: Decodable + Encodable + Theirs,
{
    let Ok(read) = ours::decode::<Ours>(version, body, &DecodeLimits::default()) else {
        return;
    };
    progress::past_the_header();
    if !(Other::VERSIONS.min..=Other::VERSIONS.max).contains(&version) {
        return;
    }
    let written = ours::encode(&read, version).expect("what was read can be written");
    let mut rest = written.clone();
    let other = match Other::decode(&mut rest, version) {
        Ok(other) => other,
        // A tag of a later version is an unknown one to Kafka, and skipped; to the other codec an error.
        Err(error) if error.to_string().contains("is not valid for version") => return,
        Err(error) => panic!("the other codec must read it: {error}"),
    };
    assert!(rest.is_empty(), "the other codec reads all of it");
    let mut rewritten = BytesMut::new();
    other
        .encode(&mut rewritten, version)
        .expect("the other codec writes it");
    assert_eq!(rewritten, written);
}
