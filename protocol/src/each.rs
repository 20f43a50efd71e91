//! The views of all APIs that are served, for who checks something of each: tests and fuzz targets.
//!
//! What always holds: [`each_request!`](crate::each_request) and
//! [`each_response!`](crate::each_response) name the same APIs; whoever matches on
//! [`Api`](crate::api::Api) by them fails to compile while one is missing.

/// Calls the macro `$with` with rows `Api = Request<'_>;`, one for each API that is served: the variant
/// of [`Api`](crate::api::Api) and the type in [`requests`](crate::requests). What stands behind the
/// name of the macro comes before the rows.
#[macro_export]
macro_rules! each_request {
    ($with:ident $($before:tt)*) => {
        $with! {
            $($before)*
            Produce = ProduceRequest<'_>;
            Fetch = FetchRequest<'_>;
            ListOffsets = ListOffsetsRequest<'_>;
            Metadata = MetadataRequest<'_>;
            FindCoordinator = FindCoordinatorRequest<'_>;
            OffsetCommit = OffsetCommitRequest<'_>;
            OffsetFetch = OffsetFetchRequest<'_>;
            JoinGroup = JoinGroupRequest<'_>;
            Heartbeat = HeartbeatRequest<'_>;
            LeaveGroup = LeaveGroupRequest<'_>;
            SyncGroup = SyncGroupRequest<'_>;
            DescribeGroups = DescribeGroupsRequest<'_>;
            ListGroups = ListGroupsRequest<'_>;
            DeleteGroups = DeleteGroupsRequest<'_>;
            OffsetDelete = OffsetDeleteRequest<'_>;
            SaslHandshake = SaslHandshakeRequest<'_>;
            ApiVersions = ApiVersionsRequest<'_>;
            CreateTopics = CreateTopicsRequest<'_>;
            DeleteTopics = DeleteTopicsRequest<'_>;
            DeleteRecords = DeleteRecordsRequest<'_>;
            InitProducerId = InitProducerIdRequest<'_>;
            OffsetForLeaderEpoch = OffsetForLeaderEpochRequest<'_>;
            DescribeAcls = DescribeAclsRequest<'_>;
            CreateAcls = CreateAclsRequest<'_>;
            DeleteAcls = DeleteAclsRequest<'_>;
            DescribeConfigs = DescribeConfigsRequest<'_>;
            AlterConfigs = AlterConfigsRequest<'_>;
            AlterReplicaLogDirs = AlterReplicaLogDirsRequest<'_>;
            DescribeLogDirs = DescribeLogDirsRequest<'_>;
            SaslAuthenticate = SaslAuthenticateRequest<'_>;
            CreatePartitions = CreatePartitionsRequest<'_>;
            CreateDelegationToken = CreateDelegationTokenRequest<'_>;
            RenewDelegationToken = RenewDelegationTokenRequest<'_>;
            ExpireDelegationToken = ExpireDelegationTokenRequest<'_>;
            DescribeDelegationToken = DescribeDelegationTokenRequest<'_>;
            ElectLeaders = ElectLeadersRequest<'_>;
            IncrementalAlterConfigs = IncrementalAlterConfigsRequest<'_>;
            AlterPartitionReassignments = AlterPartitionReassignmentsRequest<'_>;
            ListPartitionReassignments = ListPartitionReassignmentsRequest<'_>;
            DescribeQuorum = DescribeQuorumRequest<'_>;
            UpdateFeatures = UpdateFeaturesRequest<'_>;
            DescribeCluster = DescribeClusterRequest;
            DescribeProducers = DescribeProducersRequest<'_>;
            ListConfigResources = ListConfigResourcesRequest<'_>;
            DescribeTopicPartitions = DescribeTopicPartitionsRequest<'_>;
        }
    };
}

/// The same with the types in [`responses`](crate::responses).
#[macro_export]
macro_rules! each_response {
    ($with:ident $($before:tt)*) => {
        $with! {
            $($before)*
            Produce = ProduceResponse<'_>;
            Fetch = FetchResponse<'_>;
            ListOffsets = ListOffsetsResponse<'_>;
            Metadata = MetadataResponse<'_>;
            FindCoordinator = FindCoordinatorResponse<'_>;
            OffsetCommit = OffsetCommitResponse<'_>;
            OffsetFetch = OffsetFetchResponse<'_>;
            JoinGroup = JoinGroupResponse<'_>;
            Heartbeat = HeartbeatResponse;
            LeaveGroup = LeaveGroupResponse<'_>;
            SyncGroup = SyncGroupResponse<'_>;
            DescribeGroups = DescribeGroupsResponse<'_>;
            ListGroups = ListGroupsResponse<'_>;
            DeleteGroups = DeleteGroupsResponse<'_>;
            OffsetDelete = OffsetDeleteResponse<'_>;
            SaslHandshake = SaslHandshakeResponse<'_>;
            ApiVersions = ApiVersionsResponse<'_>;
            CreateTopics = CreateTopicsResponse<'_>;
            DeleteTopics = DeleteTopicsResponse<'_>;
            DeleteRecords = DeleteRecordsResponse<'_>;
            InitProducerId = InitProducerIdResponse;
            OffsetForLeaderEpoch = OffsetForLeaderEpochResponse<'_>;
            DescribeAcls = DescribeAclsResponse<'_>;
            CreateAcls = CreateAclsResponse<'_>;
            DeleteAcls = DeleteAclsResponse<'_>;
            DescribeConfigs = DescribeConfigsResponse<'_>;
            AlterConfigs = AlterConfigsResponse<'_>;
            AlterReplicaLogDirs = AlterReplicaLogDirsResponse<'_>;
            DescribeLogDirs = DescribeLogDirsResponse<'_>;
            SaslAuthenticate = SaslAuthenticateResponse<'_>;
            CreatePartitions = CreatePartitionsResponse<'_>;
            CreateDelegationToken = CreateDelegationTokenResponse<'_>;
            RenewDelegationToken = RenewDelegationTokenResponse;
            ExpireDelegationToken = ExpireDelegationTokenResponse;
            DescribeDelegationToken = DescribeDelegationTokenResponse<'_>;
            ElectLeaders = ElectLeadersResponse<'_>;
            IncrementalAlterConfigs = IncrementalAlterConfigsResponse<'_>;
            AlterPartitionReassignments = AlterPartitionReassignmentsResponse<'_>;
            ListPartitionReassignments = ListPartitionReassignmentsResponse<'_>;
            DescribeQuorum = DescribeQuorumResponse<'_>;
            UpdateFeatures = UpdateFeaturesResponse<'_>;
            DescribeCluster = DescribeClusterResponse<'_>;
            DescribeProducers = DescribeProducersResponse<'_>;
            ListConfigResources = ListConfigResourcesResponse<'_>;
            DescribeTopicPartitions = DescribeTopicPartitionsResponse<'_>;
        }
    };
}
