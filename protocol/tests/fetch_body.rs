//! The law of the hand-written Fetch response: byte for byte the codec's own encoding, for every
//! version and every combination of what may be absent.

use bytes::{Bytes, BytesMut};
use millrace_protocol::fetch_body::{
    AbortedTransactionPart, Chunk, EpochEnd, FetchBody, FetchBodyError, FetchPartitionPart,
    FetchParts, FetchTopicPart, LeaderAndEpoch, NodeEndpointPart,
};
use millrace_protocol::ids::TopicId;
use millrace_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint,
    PartitionData, SnapshotId,
};
use millrace_protocol::messages::{self, FetchResponse};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

/// Owned form of what the parts borrow.
type Topic = (String, [u8; 16], Vec<FetchPartitionPart>);
type Node = (i32, String, i32, Option<String>);

fn epoch_end() -> impl Strategy<Value = EpochEnd> {
    // -1, -1 is the schema's default, which is not written.
    let any = (any::<i32>(), any::<i64>());
    prop_oneof![any, Just((-1, -1))].prop_map(|(epoch, end_offset)| EpochEnd { epoch, end_offset })
}

fn partition() -> impl Strategy<Value = FetchPartitionPart> {
    let numbers = (
        any::<i32>(),
        any::<i16>(),
        any::<i64>(),
        any::<i64>(),
        any::<i64>(),
        any::<i32>(),
    );
    let leader = (-1..3_i32, -1..3_i32).prop_map(|(leader_id, leader_epoch)| LeaderAndEpoch {
        leader_id,
        leader_epoch,
    });
    let tags = (of(epoch_end()), of(leader), of(epoch_end()));
    let aborted = (any::<i64>(), any::<i64>()).prop_map(|(producer_id, first_offset)| {
        AbortedTransactionPart {
            producer_id,
            first_offset,
        }
    });
    // Lengths on both sides of where a varint grows.
    let len = prop_oneof![0..3_u32, 120..135_u32, 16_380..16_390_u32];
    (numbers, tags, of(vec(aborted, 0..3)), len).prop_map(
        |(numbers, tags, aborted, records_len)| FetchPartitionPart {
            partition_index: numbers.0,
            error_code: numbers.1,
            high_watermark: numbers.2,
            last_stable_offset: numbers.3,
            log_start_offset: numbers.4,
            diverging_epoch: tags.0,
            current_leader: tags.1,
            snapshot_id: tags.2,
            aborted_transactions: aborted,
            preferred_read_replica: numbers.5,
            records_len,
        },
    )
}

fn topics() -> impl Strategy<Value = Vec<Topic>> {
    vec(
        ("[a-z.]{0,140}", any::<[u8; 16]>(), vec(partition(), 0..4)),
        0..4,
    )
}

fn nodes() -> impl Strategy<Value = Vec<Node>> {
    vec(
        (
            any::<i32>(),
            "[a-z.]{0,140}",
            any::<i32>(),
            of("[a-z]{0,9}"),
        ),
        0..4,
    )
}

fn parts<'a>(numbers: (i32, i16, i32), topics: &'a [Topic], nodes: &'a [Node]) -> FetchParts<'a> {
    let topic = |(name, id, partitions): &'a Topic| FetchTopicPart {
        name,
        id: TopicId::from_bytes(*id),
        partitions: partitions.clone(),
    };
    let node = |(node_id, host, port, rack): &'a Node| NodeEndpointPart {
        node_id: *node_id,
        host,
        port: *port,
        rack: rack.as_deref(),
    };
    FetchParts {
        throttle_time_ms: numbers.0,
        error_code: numbers.1,
        session_id: numbers.2,
        topics: topics.iter().map(topic).collect(),
        node_endpoints: nodes.iter().map(node).collect(),
    }
}

/// The records of a slot: of the right length, different from every other slot's.
fn records(slot: usize, len: u32) -> Bytes {
    (0..len)
        .map(|at| (at as u8) ^ (slot as u8).wrapping_mul(37))
        .collect::<Vec<_>>()
        .into()
}

fn codec_partition(version: i16, slot: usize, part: &FetchPartitionPart) -> PartitionData {
    let mut data = PartitionData::default();
    data.partition_index = part.partition_index;
    data.error_code = part.error_code;
    data.high_watermark = part.high_watermark;
    data.last_stable_offset = part.last_stable_offset;
    data.log_start_offset = part.log_start_offset;
    data.aborted_transactions = part.aborted_transactions.as_ref().map(|aborted| {
        let one = |part: &AbortedTransactionPart| {
            let mut one = AbortedTransaction::default();
            one.producer_id = part.producer_id;
            one.first_offset = part.first_offset;
            one
        };
        aborted.iter().map(one).collect()
    });
    data.records = Some(records(slot, part.records_len));
    // The codec refuses what a version does not have; the hand-written body leaves it out.
    if version >= 11 {
        data.preferred_read_replica = part.preferred_read_replica;
    }
    if version >= 12 {
        if let Some(part) = part.diverging_epoch {
            let mut value = EpochEndOffset::default();
            (value.epoch, value.end_offset) = (part.epoch, part.end_offset);
            data.diverging_epoch = value;
        }
        if let Some(part) = part.current_leader {
            let mut value = LeaderIdAndEpoch::default();
            (value.leader_id, value.leader_epoch) = (part.leader_id, part.leader_epoch);
            data.current_leader = value;
        }
        if let Some(part) = part.snapshot_id {
            let mut value = SnapshotId::default();
            (value.epoch, value.end_offset) = (part.epoch, part.end_offset);
            data.snapshot_id = value;
        }
    }
    data
}

fn codec(version: i16, parts: &FetchParts<'_>) -> FetchResponse {
    let mut response = FetchResponse::default();
    response.throttle_time_ms = parts.throttle_time_ms;
    if version >= 7 {
        response.error_code = parts.error_code;
        response.session_id = parts.session_id;
    }
    let mut slot = 0;
    for part in &parts.topics {
        let mut topic = FetchableTopicResponse::default();
        topic.topic = part.name.into();
        topic.topic_id = part.id.into();
        for part in &part.partitions {
            topic.partitions.push(codec_partition(version, slot, part));
            slot += 1;
        }
        response.responses.push(topic);
    }
    for part in parts.node_endpoints.iter().filter(|_| version >= 16) {
        let mut node = NodeEndpoint::default();
        node.node_id = part.node_id;
        node.host = part.host.into();
        node.port = part.port;
        node.rack = part.rack.map(Into::into);
        response.node_endpoints.push(node);
    }
    response
}

fn filled(body: &FetchBody) -> Bytes {
    let mut out = BytesMut::new();
    for chunk in &body.chunks {
        match chunk {
            Chunk::Bytes(bytes) => out.extend_from_slice(bytes),
            Chunk::Records {
                partition_slot,
                len,
            } => {
                assert_ne!(*len, 0, "an empty place is no place");
                out.extend_from_slice(&records(*partition_slot, *len));
            }
        }
    }
    out.freeze()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_body_is_the_codecs_encoding_at_every_version(
        numbers in any::<(i32, i16, i32)>(),
        topics in topics(),
        nodes in nodes(),
    ) {
        let parts = parts(numbers, &topics, &nodes);
        for version in 4..=18 {
            let body = FetchBody::write(version, &parts).unwrap();
            let expected = messages::encode(&codec(version, &parts), version).unwrap();
            let actual = filled(&body);
            prop_assert_eq!(body.len, actual.len(), "version {}", version);
            prop_assert_eq!(actual, expected, "version {}", version);
        }
    }
}

#[test]
fn a_version_that_does_not_exist_is_refused() {
    for version in [-1, 3, 19] {
        let refused = FetchBody::write(version, &FetchParts::default());
        assert_eq!(refused, Err(FetchBodyError::Version(version)));
    }
}

#[test]
fn a_body_longer_than_a_frame_can_be_is_refused() {
    let partition = FetchPartitionPart {
        records_len: i32::MAX as u32,
        ..Default::default()
    };
    let two = FetchTopicPart {
        partitions: vec![partition.clone(); 2],
        ..Default::default()
    };
    let parts = FetchParts {
        topics: vec![two],
        ..Default::default()
    };
    assert!(matches!(
        FetchBody::write(4, &parts),
        Err(FetchBodyError::TooLong { .. })
    ));

    let one = FetchPartitionPart {
        records_len: i32::MAX as u32 + 1,
        ..partition
    };
    let topic = FetchTopicPart {
        partitions: vec![one],
        ..Default::default()
    };
    let parts = FetchParts {
        topics: vec![topic],
        ..Default::default()
    };
    let error = FetchBodyError::TooLong {
        what: "records",
        len: i32::MAX as usize + 1,
    };
    assert_eq!(FetchBody::write(18, &parts), Err(error));
}
