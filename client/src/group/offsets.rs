//! A group's offsets: writing and reading them at its coordinator.
//!
//! What always holds: by the names of topics, which every broker takes (versions up to 9).

use std::collections::BTreeMap;

use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use millrace_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use millrace_protocol::messages::{OffsetCommitRequest, OffsetFetchRequest};
use millrace_protocol::responses::OffsetFetchResponse;

use super::member::{Fault, Partitions};
use super::options::OffsetAndMetadata;
use super::requests::Identity;
use crate::client::refuse;
use crate::{Client, Error, TopicPartition};

/// The last version in which topics have names.
const NEWEST: i16 = 9;
/// First version of a fetch that names groups (KIP-709).
const FETCH_GROUPS: i16 = 8;
/// First version that can wait for transactions to end (KIP-447).
const FETCH_STABLE: i16 = 7;
/// First version with the name of a static member.
const COMMIT_STATIC: i16 = 7;

/// Offsets by partition.
pub(crate) type Offsets = BTreeMap<TopicPartition, OffsetAndMetadata>;

/// Writes offsets. Gives those that the coordinator refused for good, each with why; whatever makes
/// sense to try again is a fault of the whole.
pub(super) async fn commit(
    client: &Client,
    identity: &Identity,
    offsets: &Offsets,
) -> Result<Vec<(TopicPartition, Error)>, Fault> {
    let call = client.call_of::<OffsetCommitRequest>().map_err(Fault::of)?;
    let mut request = OffsetCommitRequest::default();
    request.group_id = identity.group.as_str().into();
    request.generation_id_or_member_epoch = identity.generation;
    request.member_id = identity.member_id.as_str().into();
    if call.api_version >= COMMIT_STATIC {
        request.group_instance_id = identity.instance_id.as_deref().map(Into::into);
    }
    request.topics = rows(offsets);
    let answered = async { client.send_at_most(&request, NEWEST).await?.wait().await };
    let answer = answered.await.map_err(Fault::of)?;
    let answer = answer.read().map_err(Fault::of)?;
    let mut refused = Vec::new();
    for topic in answer.topics {
        for told in topic.partitions {
            let partition = TopicPartition::new(topic.name, told.partition_index);
            if !offsets.contains_key(&partition) {
                continue;
            }
            let outcome = refuse(told.error_code, || {
                format!("group {}'s offset of {partition}", identity.group)
            });
            match outcome.map_err(Fault::of) {
                Ok(()) => {}
                Err(Fault::Final(error)) => refused.push((partition, error)),
                // The topic is gone: that its coordinator doesn't know it yet is rare.
                Err(Fault::Again(error)) if is_unknown(&error) => refused.push((partition, error)),
                Err(fault) => return Err(fault),
            }
        }
    }
    Ok(refused)
}

/// What a commit says of these offsets.
pub(crate) fn rows(offsets: &Offsets) -> Vec<OffsetCommitRequestTopic> {
    let of_partition = |(partition, offset): &(&TopicPartition, &OffsetAndMetadata)| {
        let mut asked = OffsetCommitRequestPartition::default();
        asked.partition_index = partition.partition;
        asked.committed_offset = offset.offset;
        asked.committed_leader_epoch = offset.leader_epoch.unwrap_or(-1);
        asked.committed_metadata = Some(offset.metadata.as_str().into());
        asked
    };
    let all: Vec<_> = offsets.iter().collect();
    all.chunk_by(|(one, _), (other, _)| one.topic == other.topic)
        .map(|of_topic| {
            let mut topic = OffsetCommitRequestTopic::default();
            topic.name = of_topic[0].0.topic.as_ref().into();
            topic.partitions = of_topic.iter().map(of_partition).collect();
            topic
        })
        .collect()
}

fn is_unknown(error: &Error) -> bool {
    let unknown = ErrorCode::UnknownTopicOrPartition;
    matches!(error, Error::Broker { code, .. } if *code == unknown)
}

/// Reads offsets; a partition without one is left out. What a transaction is about to write is waited
/// for: until then it is a fault that asks for a retry.
pub(super) async fn fetch(
    client: &Client,
    group: &str,
    partitions: &Partitions,
) -> Result<Offsets, Fault> {
    let call = client.call_of::<OffsetFetchRequest>().map_err(Fault::of)?;
    let all: Vec<_> = partitions.iter().collect();
    let topics = all.chunk_by(|one, other| one.topic == other.topic);
    let indexes = |topic: &[&TopicPartition]| topic.iter().map(|one| one.partition).collect();
    let mut request = OffsetFetchRequest::default();
    request.require_stable = call.api_version >= FETCH_STABLE;
    if call.api_version >= FETCH_GROUPS {
        let topics = topics.map(|topic| {
            let mut asked = OffsetFetchRequestTopics::default();
            asked.name = topic[0].topic.as_ref().into();
            asked.partition_indexes = indexes(topic);
            asked
        });
        let mut asked = OffsetFetchRequestGroup::default();
        asked.group_id = group.into();
        asked.topics = Some(topics.collect());
        request.groups = vec![asked];
    } else {
        let topics = topics.map(|topic| {
            let mut asked = OffsetFetchRequestTopic::default();
            asked.name = topic[0].topic.as_ref().into();
            asked.partition_indexes = indexes(topic);
            asked
        });
        request.group_id = group.into();
        request.topics = Some(topics.collect());
    }
    let answered = async { client.send_at_most(&request, NEWEST).await?.wait().await };
    let answer = answered.await.map_err(Fault::of)?;
    let answer = answer.read().map_err(Fault::of)?;
    let mut offsets = read(group, &answer).map_err(Fault::of)?;
    offsets.retain(|partition, _| partitions.contains(partition));
    Ok(offsets)
}

/// What an answer says of one group, in either of its forms; a partition without an offset is left
/// out.
pub(crate) fn read(group: &str, answer: &OffsetFetchResponse<'_>) -> Result<Offsets, Error> {
    let mut offsets = Offsets::new();
    let what = || format!("to tell the offsets of group {group}");
    refuse(answer.error_code, what)?;
    let mut take = |topic: &str, partition, told: (i64, i32, Option<&str>, i16)| {
        let (offset, epoch, metadata, code) = told;
        refuse(code, what)?;
        if offset >= 0 {
            let kept = OffsetAndMetadata {
                offset,
                leader_epoch: (epoch >= 0).then_some(epoch),
                metadata: metadata.unwrap_or_default().to_owned(),
            };
            offsets.insert(TopicPartition::new(topic, partition), kept);
        }
        Ok::<_, Error>(())
    };
    for topic in answer.topics {
        for p in topic.partitions {
            let epoch = p.committed_leader_epoch;
            let row = (p.committed_offset, epoch, p.metadata, p.error_code);
            take(topic.name, p.partition_index, row)?;
        }
    }
    for of_group in answer.groups {
        refuse(of_group.error_code, what)?;
        for topic in of_group.topics {
            for p in topic.partitions {
                let epoch = p.committed_leader_epoch;
                let row = (p.committed_offset, epoch, p.metadata, p.error_code);
                take(topic.name, p.partition_index, row)?;
            }
        }
    }
    Ok(offsets)
}
