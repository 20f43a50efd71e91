//! What Kafka 4.3.1 itself writes, for every message and version (`cargo xtask vectors` records it):
//! each vector must decode, whole, and encode to the same bytes again. Headers go through our own
//! module, bodies through the codec, named directly so that messages not served are held too.

use bytes::{Bytes, BytesMut};
use kafka_wire_core::ApiVersion;
use millrace_protocol::messages::{self, DecodeLimits, Message};
use millrace_protocol::{api, header};

const VECTORS: &str = include_str!("../vectors/messages.txt");

/// Decodes and encodes a body; `None` for a message that the codec does not know.
#[expect(clippy::too_many_lines, reason = "one line per message")]
fn recode(name: &str, version: i16, body: &Bytes) -> Option<Result<Bytes, String>> {
    macro_rules! messages {
        ($($message:ident)*) => {
            match name {
                $(stringify!($message) => Some(recode_as::<kafka_wire::$message>(version, body)),)*
                _ => None,
            }
        };
    }
    messages! {
        ProduceRequest ProduceResponse
        FetchRequest FetchResponse
        ListOffsetsRequest ListOffsetsResponse
        MetadataRequest MetadataResponse
        OffsetCommitRequest OffsetCommitResponse
        OffsetFetchRequest OffsetFetchResponse
        FindCoordinatorRequest FindCoordinatorResponse
        JoinGroupRequest JoinGroupResponse
        HeartbeatRequest HeartbeatResponse
        LeaveGroupRequest LeaveGroupResponse
        SyncGroupRequest SyncGroupResponse
        DescribeGroupsRequest DescribeGroupsResponse
        ListGroupsRequest ListGroupsResponse
        SaslHandshakeRequest SaslHandshakeResponse
        ApiVersionsRequest ApiVersionsResponse
        CreateTopicsRequest CreateTopicsResponse
        DeleteTopicsRequest DeleteTopicsResponse
        DeleteRecordsRequest DeleteRecordsResponse
        InitProducerIdRequest InitProducerIdResponse
        OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse
        AddPartitionsToTxnRequest AddPartitionsToTxnResponse
        AddOffsetsToTxnRequest AddOffsetsToTxnResponse
        EndTxnRequest EndTxnResponse
        WriteTxnMarkersRequest WriteTxnMarkersResponse
        TxnOffsetCommitRequest TxnOffsetCommitResponse
        DescribeAclsRequest DescribeAclsResponse
        CreateAclsRequest CreateAclsResponse
        DeleteAclsRequest DeleteAclsResponse
        DescribeConfigsRequest DescribeConfigsResponse
        AlterConfigsRequest AlterConfigsResponse
        AlterReplicaLogDirsRequest AlterReplicaLogDirsResponse
        DescribeLogDirsRequest DescribeLogDirsResponse
        SaslAuthenticateRequest SaslAuthenticateResponse
        CreatePartitionsRequest CreatePartitionsResponse
        CreateDelegationTokenRequest CreateDelegationTokenResponse
        RenewDelegationTokenRequest RenewDelegationTokenResponse
        ExpireDelegationTokenRequest ExpireDelegationTokenResponse
        DescribeDelegationTokenRequest DescribeDelegationTokenResponse
        DeleteGroupsRequest DeleteGroupsResponse
        ElectLeadersRequest ElectLeadersResponse
        IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse
        AlterPartitionReassignmentsRequest AlterPartitionReassignmentsResponse
        ListPartitionReassignmentsRequest ListPartitionReassignmentsResponse
        OffsetDeleteRequest OffsetDeleteResponse
        DescribeClientQuotasRequest DescribeClientQuotasResponse
        AlterClientQuotasRequest AlterClientQuotasResponse
        DescribeUserScramCredentialsRequest DescribeUserScramCredentialsResponse
        AlterUserScramCredentialsRequest AlterUserScramCredentialsResponse
        VoteRequest VoteResponse
        BeginQuorumEpochRequest BeginQuorumEpochResponse
        EndQuorumEpochRequest EndQuorumEpochResponse
        DescribeQuorumRequest DescribeQuorumResponse
        AlterPartitionRequest AlterPartitionResponse
        UpdateFeaturesRequest UpdateFeaturesResponse
        EnvelopeRequest EnvelopeResponse
        FetchSnapshotRequest FetchSnapshotResponse
        DescribeClusterRequest DescribeClusterResponse
        DescribeProducersRequest DescribeProducersResponse
        BrokerRegistrationRequest BrokerRegistrationResponse
        BrokerHeartbeatRequest BrokerHeartbeatResponse
        UnregisterBrokerRequest UnregisterBrokerResponse
        DescribeTransactionsRequest DescribeTransactionsResponse
        ListTransactionsRequest ListTransactionsResponse
        AllocateProducerIdsRequest AllocateProducerIdsResponse
        ConsumerGroupHeartbeatRequest ConsumerGroupHeartbeatResponse
        ConsumerGroupDescribeRequest ConsumerGroupDescribeResponse
        ControllerRegistrationRequest ControllerRegistrationResponse
        GetTelemetrySubscriptionsRequest GetTelemetrySubscriptionsResponse
        PushTelemetryRequest PushTelemetryResponse
        AssignReplicasToDirsRequest AssignReplicasToDirsResponse
        ListConfigResourcesRequest ListConfigResourcesResponse
        DescribeTopicPartitionsRequest DescribeTopicPartitionsResponse
        ShareGroupHeartbeatRequest ShareGroupHeartbeatResponse
        ShareGroupDescribeRequest ShareGroupDescribeResponse
        ShareFetchRequest ShareFetchResponse
        ShareAcknowledgeRequest ShareAcknowledgeResponse
        AddRaftVoterRequest AddRaftVoterResponse
        RemoveRaftVoterRequest RemoveRaftVoterResponse
        UpdateRaftVoterRequest UpdateRaftVoterResponse
        InitializeShareGroupStateRequest InitializeShareGroupStateResponse
        ReadShareGroupStateRequest ReadShareGroupStateResponse
        WriteShareGroupStateRequest WriteShareGroupStateResponse
        DeleteShareGroupStateRequest DeleteShareGroupStateResponse
        ReadShareGroupStateSummaryRequest ReadShareGroupStateSummaryResponse
        StreamsGroupHeartbeatRequest StreamsGroupHeartbeatResponse
        StreamsGroupDescribeRequest StreamsGroupDescribeResponse
        DescribeShareGroupOffsetsRequest DescribeShareGroupOffsetsResponse
        AlterShareGroupOffsetsRequest AlterShareGroupOffsetsResponse
        DeleteShareGroupOffsetsRequest DeleteShareGroupOffsetsResponse
    }
}

fn recode_as<M: Message + PartialEq + std::fmt::Debug>(
    version: i16,
    body: &Bytes,
) -> Result<Bytes, String> {
    let limits = DecodeLimits::default();
    let message: M =
        messages::decode(version, body.clone(), &limits).map_err(|error| error.to_string())?;
    for cut in 0..body.len() {
        if messages::decode::<M>(version, body.slice(..cut), &limits).is_ok() {
            return Err(format!("decodes from its first {cut} bytes"));
        }
    }
    let longer = Bytes::from([body, &[0_u8][..]].concat());
    if messages::decode::<M>(version, longer, &limits).is_ok() {
        return Err("decodes with a byte left over".to_owned());
    }
    let encoded = messages::encode(&message, version).map_err(|error| error.to_string())?;
    let again = messages::decode::<M>(version, encoded.clone(), &limits);
    if again.as_ref() != Ok(&message) {
        return Err(format!("{message:?} reads back as {again:?}"));
    }
    let len = message
        .encoded_len(ApiVersion::new(version))
        .map_err(|error| error.to_string())?;
    assert_eq!(len, encoded.len(), "the size told beforehand is exact");
    Ok(encoded)
}

fn recode_header(name: &str, version: i16, bytes: &Bytes) -> Option<Result<Bytes, String>> {
    let mut rest = bytes.clone();
    let mut out = BytesMut::new();
    match name {
        "RequestHeader" => match header::decode_request(&mut rest, version == 2) {
            Ok(decoded) => header::encode_request(&decoded, version == 2, &mut out),
            Err(error) => return Some(Err(error.to_string())),
        },
        "ResponseHeader" => match header::decode_response(&mut rest, version == 1) {
            Ok(correlation_id) => header::encode_response(correlation_id, version == 1, &mut out),
            Err(error) => return Some(Err(error.to_string())),
        },
        _ => return None,
    }
    assert!(rest.is_empty(), "{name} leaves nothing");
    Some(Ok(out.freeze()))
}

fn unhex(text: &str) -> Bytes {
    let digits = text.as_bytes().chunks_exact(2);
    assert!(digits.remainder().is_empty());
    digits
        .map(|pair| {
            std::str::from_utf8(pair)
                .ok()
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                .expect("two digits")
        })
        .collect()
}

/// Name, version, variant and bytes of each vector.
fn vectors() -> impl Iterator<Item = (&'static str, i16, &'static str, Bytes)> {
    VECTORS.lines().map(|line| {
        // A response header's defaults, and others', may be no bytes at all.
        let mut fields = line.split(' ');
        let mut next = || fields.next().expect("four fields");
        (
            next(),
            next().parse().expect("a version"),
            next(),
            unhex(next()),
        )
    })
}

#[test]
fn every_vector_encodes_to_the_bytes_it_was_decoded_from() {
    let mut checked = 0;
    let mut failures = Vec::new();
    for (name, version, variant, bytes) in vectors() {
        let recoded = recode_header(name, version, &bytes)
            .or_else(|| recode(name, version, &bytes))
            .unwrap_or_else(|| panic!("{name} is not known to the test"));
        match recoded {
            Ok(recoded) if recoded == bytes => {}
            Ok(recoded) => failures.push(format!("{name} {version} {variant}: {recoded:02x?}")),
            Err(error) => failures.push(format!("{name} {version} {variant}: {error}")),
        }
        checked += 1;
    }
    assert!(
        failures.is_empty(),
        "{} of {checked}: {failures:#?}",
        failures.len()
    );
    assert!(checked > 1500, "only {checked} vectors");
}

#[test]
fn every_version_that_is_served_has_its_vectors() {
    let recorded: Vec<_> = vectors()
        .map(|(name, version, variant, _)| (name, version, variant))
        .collect();
    for row in api::TABLE {
        for version in row.served.min..=row.served.max {
            for side in ["Request", "Response"] {
                let name = format!("{}{side}", row.name);
                let has = |variant| recorded.contains(&(name.as_str(), version, variant));
                assert!(has("default") && has("filled"), "{name} {version}");
            }
        }
    }
}
