//! Our messages held against a second, independent codec: what ours writes, the other reads and
//! writes back to the same bytes. Values are those of Kafka's recorded vectors, changed at random.
//! And whatever bytes come, ours gives an error or a value, never a panic.

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable};
use millrace_protocol::messages::{self, DecodeLimits, Message};
use proptest::prelude::*;

const VECTORS: &str = include_str!("../vectors/messages.txt");

/// What became of one body.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// Both codecs wrote the same bytes.
    Same,
    /// Ours refuses the body.
    Refused,
    /// The second codec does not have this version.
    NotHad,
}

fn compare<M, Other>(version: i16, body: &Bytes) -> Result<Verdict, String>
where
    M: Message,
    Other: Decodable + Encodable + kafka_protocol::protocol::Message,
{
    let Ok(ours) = messages::decode::<M>(version, body.clone(), &DecodeLimits::default()) else {
        return Ok(Verdict::Refused);
    };
    let ours = messages::encode(&ours, version).map_err(|error| error.to_string())?;
    if !(Other::VERSIONS.min..=Other::VERSIONS.max).contains(&version) {
        return Ok(Verdict::NotHad);
    }
    let mut rest = ours.clone();
    let other = Other::decode(&mut rest, version).map_err(|e| format!("other reads: {e}"))?;
    let mut theirs = BytesMut::new();
    other
        .encode(&mut theirs, version)
        .map_err(|e| format!("other writes: {e}"))?;
    if !rest.is_empty() || theirs != ours {
        return Err(format!(
            "ours {ours:02x?}, theirs {theirs:02x?}, {} left",
            rest.len()
        ));
    }
    Ok(Verdict::Same)
}

/// Compares the body of a served message; `None` for one that is not served.
fn compare_named(name: &str, version: i16, body: &Bytes) -> Option<Result<Verdict, String>> {
    macro_rules! served {
        ($($message:ident)*) => {
            match name {
                $(stringify!($message) => Some(
                    compare::<messages::$message, kafka_protocol::messages::$message>(version, body)
                ),)*
                _ => None,
            }
        };
    }
    served! {
        ProduceRequest ProduceResponse
        FetchRequest FetchResponse
        ListOffsetsRequest ListOffsetsResponse
        MetadataRequest MetadataResponse
        FindCoordinatorRequest FindCoordinatorResponse
        SaslHandshakeRequest SaslHandshakeResponse
        ApiVersionsRequest ApiVersionsResponse
        CreateTopicsRequest CreateTopicsResponse
        DeleteTopicsRequest DeleteTopicsResponse
        DeleteRecordsRequest DeleteRecordsResponse
        InitProducerIdRequest InitProducerIdResponse
        OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse
        DescribeAclsRequest DescribeAclsResponse
        CreateAclsRequest CreateAclsResponse
        DeleteAclsRequest DeleteAclsResponse
        AlterReplicaLogDirsRequest AlterReplicaLogDirsResponse
        DescribeConfigsRequest DescribeConfigsResponse
        AlterConfigsRequest AlterConfigsResponse
        IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse
        ListConfigResourcesRequest ListConfigResourcesResponse
        DescribeLogDirsRequest DescribeLogDirsResponse
        SaslAuthenticateRequest SaslAuthenticateResponse
        CreatePartitionsRequest CreatePartitionsResponse
        CreateDelegationTokenRequest CreateDelegationTokenResponse
        RenewDelegationTokenRequest RenewDelegationTokenResponse
        ExpireDelegationTokenRequest ExpireDelegationTokenResponse
        DescribeDelegationTokenRequest DescribeDelegationTokenResponse
        ElectLeadersRequest ElectLeadersResponse
        AlterPartitionReassignmentsRequest AlterPartitionReassignmentsResponse
        ListPartitionReassignmentsRequest ListPartitionReassignmentsResponse
        DescribeQuorumRequest DescribeQuorumResponse
        UpdateFeaturesRequest UpdateFeaturesResponse
        DescribeClusterRequest DescribeClusterResponse
        DescribeProducersRequest DescribeProducersResponse
        DescribeTopicPartitionsRequest DescribeTopicPartitionsResponse
    }
}

/// Name, version and body of each recorded vector of a served message.
fn served_vectors() -> Vec<(&'static str, i16, Vec<u8>)> {
    let vector = |line: &'static str| {
        let fields: Vec<_> = line.split(' ').collect();
        let digits: Vec<_> = fields[3]
            .bytes()
            .filter_map(|c| char::from(c).to_digit(16))
            .collect();
        let body: Vec<_> = digits
            .chunks(2)
            .map(|pair| (pair[0] * 16 + pair[1]) as u8)
            .collect();
        (fields[0], fields[1].parse().expect("a version"), body)
    };
    let is_served = |(name, version, _): &(&str, i16, Vec<u8>)| {
        compare_named(name, *version, &Bytes::new()).is_some()
    };
    VECTORS.lines().map(vector).filter(is_served).collect()
}

#[test]
fn both_codecs_write_every_vector_alike() {
    let (mut same, mut not_had) = (0, 0);
    for (name, version, body) in served_vectors() {
        let verdict = compare_named(name, version, &Bytes::from(body)).expect("served");
        match verdict.unwrap_or_else(|difference| panic!("{name} {version}: {difference}")) {
            Verdict::Same => same += 1,
            Verdict::NotHad => not_had += 1,
            Verdict::Refused => panic!("{name} {version} does not decode"),
        }
    }
    assert!(
        same > 300 && not_had < 20,
        "{same} the same, {not_had} not had"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn both_codecs_write_changed_values_alike(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        thread_local!(static SERVED: Vec<(&'static str, i16, Vec<u8>)> = served_vectors());
        let (name, version, mut body) = SERVED.with(|served| which.get(served).clone());
        for (at, byte) in changes {
            if !body.is_empty() {
                let at = at.index(body.len());
                body[at] = byte;
            }
        }
        let verdict = compare_named(name, version, &Bytes::from(body)).expect("served");
        prop_assert!(verdict.is_ok(), "{} {}: {:?}", name, version, verdict);
    }

    #[test]
    fn no_bytes_make_ours_panic(
        which in any::<prop::sample::Index>(),
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        thread_local!(static SERVED: Vec<(&'static str, i16, Vec<u8>)> = served_vectors());
        let (name, version, _) = SERVED.with(|served| which.get(served).clone());
        let verdict = compare_named(name, version, &Bytes::from(body)).expect("served");
        prop_assert!(verdict.is_ok(), "{} {}: {:?}", name, version, verdict);
    }
}
