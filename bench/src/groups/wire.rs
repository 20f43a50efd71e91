//! What members and offsets say over the wire.

use bytes::{BufMut, Bytes};
use millrace_client::{Client, Error, Topic};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use millrace_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use millrace_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use millrace_protocol::messages::{
    FindCoordinatorRequest, JoinGroupRequest, OffsetCommitRequest, OffsetFetchRequest,
};

use crate::text;

/// The protocol that all members speak; we assign, so the name says nothing.
pub(super) const PROTOCOL: &str = "range";
/// First versions that name topics by their ids.
const TOPIC_IDS_FROM: i16 = 10;
/// A member that is not asked for its groups' offsets.
const NO_MEMBER_EPOCH: i32 = -1;

/// Asks for the coordinator of groups, whose topic is made by it; a code other than 0 says to try
/// again.
pub(super) async fn find_coordinator(client: &Client, group: &str) -> Result<ErrorCode, String> {
    let mut request = FindCoordinatorRequest::default();
    request.coordinator_keys = vec![group.into()];
    let answer = client.call(&request).await.map_err(text)?;
    let found = answer.read().map_err(text)?.coordinators.into_iter().next();
    code(found.ok_or("no coordinator is named")?.error_code)
}

/// A member that wants to join.
pub(super) fn join(group: &str, member_id: &str, topic: &str, session_ms: i32) -> JoinGroupRequest {
    let mut request = JoinGroupRequest::default();
    request.group_id = group.into();
    request.session_timeout_ms = session_ms;
    request.rebalance_timeout_ms = 300_000;
    request.member_id = member_id.into();
    request.protocol_type = "consumer".into();
    let mut protocol = JoinGroupRequestProtocol::default();
    protocol.name = PROTOCOL.into();
    protocol.metadata = subscription(topic);
    request.protocols = vec![protocol];
    request
}

/// A consumer's subscription, version 0: one topic, no bytes of its own.
fn subscription(topic: &str) -> Bytes {
    let mut bytes = Vec::new();
    bytes.put_i16(0);
    bytes.put_i32(1);
    put_name(&mut bytes, topic);
    bytes.put_i32(-1);
    bytes.into()
}

/// A consumer's assignment, version 0: one partition.
pub(super) fn assignment(topic: &str, partition: i32) -> Bytes {
    let mut bytes = Vec::new();
    bytes.put_i16(0);
    bytes.put_i32(1);
    put_name(&mut bytes, topic);
    bytes.put_i32(1);
    bytes.put_i32(partition);
    bytes.put_i32(-1);
    bytes.into()
}

/// The partition of such an assignment.
pub(super) fn assigned(assignment: &[u8]) -> Result<i32, String> {
    let wrong = || format!("an assignment of {} bytes is not ours", assignment.len());
    let upto = assignment.len().checked_sub(4).ok_or_else(wrong)?;
    let last = assignment[..upto].last_chunk::<4>().ok_or_else(wrong)?;
    Ok(i32::from_be_bytes(*last))
}

fn put_name(bytes: &mut Vec<u8>, name: &str) {
    bytes.put_i16(i16::try_from(name.len()).unwrap_or(i16::MAX));
    bytes.put_slice(name.as_bytes());
}

/// Whose offsets: a member, or nobody with no id and generation -1.
#[derive(Clone, Debug)]
pub(super) struct Owner<'a> {
    pub(super) group: &'a str,
    pub(super) member_id: &'a str,
    pub(super) generation: i32,
}

/// Sets the offset of each partition named.
pub(super) fn commit(
    client: &Client,
    owner: &Owner<'_>,
    topic: &Topic,
    offsets: impl Iterator<Item = (i32, i64)>,
) -> Result<OffsetCommitRequest, Error> {
    let mut of_topic = OffsetCommitRequestTopic::default();
    if client.call_of::<OffsetCommitRequest>()?.api_version >= TOPIC_IDS_FROM {
        of_topic.topic_id = topic.id.into();
    } else {
        of_topic.name = topic.name.as_str().into();
    }
    let partitions = offsets.map(|(partition, offset)| {
        let mut row = OffsetCommitRequestPartition::default();
        row.partition_index = partition;
        row.committed_offset = offset;
        row
    });
    of_topic.partitions = partitions.collect();
    let mut request = OffsetCommitRequest::default();
    request.group_id = owner.group.into();
    request.member_id = owner.member_id.into();
    request.generation_id_or_member_epoch = owner.generation;
    request.topics = vec![of_topic];
    Ok(request)
}

/// Checks the answer to a commit of so many partitions; the first code that is not 0.
pub(super) fn committed(
    answer: &millrace_client::Answer<OffsetCommitRequest>,
    partitions: usize,
) -> Result<ErrorCode, String> {
    let view = answer.read().map_err(text)?;
    let rows = view
        .topics
        .into_iter()
        .flat_map(|topic| topic.partitions)
        .map(|row| row.error_code);
    let codes: Vec<i16> = rows.collect();
    if codes.len() != partitions {
        return Err(format!("{} of {partitions} answered", codes.len()));
    }
    code(codes.into_iter().find(|code| *code != 0).unwrap_or(0))
}

/// What is asked of the offsets of one topic.
#[derive(Clone, Debug)]
pub(super) struct Asked<'a> {
    pub(super) topic: &'a Topic,
    pub(super) partitions: Vec<i32>,
}

/// Asks for offsets of several groups at once.
pub(super) fn fetch(
    client: &Client,
    groups: &[String],
    asked: &[Asked<'_>],
) -> Result<OffsetFetchRequest, Error> {
    let by_id = client.call_of::<OffsetFetchRequest>()?.api_version >= TOPIC_IDS_FROM;
    let topics = asked.iter().map(|asked| {
        let mut topic = OffsetFetchRequestTopics::default();
        if by_id {
            topic.topic_id = asked.topic.id.into();
        } else {
            topic.name = asked.topic.name.as_str().into();
        }
        topic.partition_indexes.clone_from(&asked.partitions);
        topic
    });
    let topics: Vec<OffsetFetchRequestTopics> = topics.collect();
    let groups = groups.iter().map(|group| {
        let mut of_group = OffsetFetchRequestGroup::default();
        of_group.group_id = group.as_str().into();
        of_group.member_epoch = NO_MEMBER_EPOCH;
        of_group.topics = Some(topics.clone());
        of_group
    });
    let mut request = OffsetFetchRequest::default();
    request.groups = groups.collect();
    Ok(request)
}

/// Gives each offset of an answer to `take`: group, number of the topic as it was asked, partition,
/// offset. The first code that is not 0 ends it and is given.
pub(super) fn fetched(
    answer: &millrace_client::Answer<OffsetFetchRequest>,
    mut take: impl FnMut(&str, usize, i32, i64) -> Result<(), String>,
) -> Result<ErrorCode, String> {
    let view = answer.read().map_err(text)?;
    for group in view.groups {
        if group.error_code != 0 {
            return code(group.error_code);
        }
        for (number, topic) in group.topics.into_iter().enumerate() {
            for row in topic.partitions {
                if row.error_code != 0 {
                    return code(row.error_code);
                }
                let (partition, offset) = (row.partition_index, row.committed_offset);
                take(group.group_id, number, partition, offset)?;
            }
        }
    }
    Ok(ErrorCode::None)
}

/// The error code that an answer has.
pub(super) fn code(code: i16) -> Result<ErrorCode, String> {
    ErrorCode::from_code(code).ok_or_else(|| format!("{code} is no error code of Kafka"))
}

/// Whether the coordinator is to be asked again in a moment.
pub(super) fn is_passing(code: ErrorCode) -> bool {
    let passing = [
        ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotCoordinator,
    ];
    passing.contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read_as_it_was_written() {
        assert_eq!(assigned(&assignment("a topic", 713)), Ok(713));
        assert!(assigned(b"").is_err());
        assert!(assigned(b"1234567").is_err());
    }
}
