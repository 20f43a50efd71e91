//! `OffsetCommit` (key 8), versions 2–10: keeps offsets of a group.
//!
//! - v2–4: how long to keep them. v6: leader epochs. v7: static members. v9: a group that isn't there
//!   is 69 instead of 22. v10: topics by id; an unknown one is 100.
//! - A topic or partition that isn't there is 3, and the others are kept, or say what is wrong with
//!   the group or member.

use std::sync::Arc;

use bytes::Bytes;
use millrace_core::cluster::{Image, Topic};
use millrace_core::group::{Commit, CommitPartition, Reply, Request, Text};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use millrace_protocol::messages::{OffsetCommitResponse, StrBytes};
use millrace_protocol::requests::OffsetCommitRequest;
use millrace_protocol::requests::offset_commit::OffsetCommitRequestTopic;

use super::group_requests::{answer_with, ask_to_write, may, membership};
use super::{Pace, read, reply};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome};

/// First version with topics by id.
const TOPIC_IDS_FROM: i16 = 10;
/// First version in which a group that isn't there is one.
const GROUP_ID_NOT_FOUND_FROM: i16 = 9;
/// Last version that says how long to keep offsets.
const RETENTION_UPTO: i16 = 4;

/// Where in the answer the code of an offset belongs that the shard is asked to keep.
type Place = (usize, usize);

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: OffsetCommitRequest<'_> = read(context, &body).await?;
    let mut response = OffsetCommitResponse::default();
    let mut places: Vec<Place> = Vec::new();
    let mut offsets = Vec::new();
    let image = context.node.cluster.image();
    let mut pace = Pace::default();
    for topic in request.topics {
        let found = topic_of(context, &image, &topic);
        let mut rows = OffsetCommitResponseTopic::default();
        if context.api_version >= TOPIC_IDS_FROM {
            rows.topic_id = topic.topic_id.into();
        } else {
            rows.name = StrBytes::from(topic.name);
        }
        for partition in topic.partitions {
            let mut row = OffsetCommitResponsePartition::default();
            row.partition_index = partition.partition_index;
            match &found {
                Ok(known) if known.partitions.contains_key(&partition.partition_index) => {
                    places.push((response.topics.len(), rows.partitions.len()));
                    offsets.push(CommitPartition {
                        topic: Arc::clone(&known.name),
                        topic_id: known.id,
                        partition: partition.partition_index,
                        offset: partition.committed_offset,
                        leader_epoch: partition.committed_leader_epoch,
                        metadata: metadata(partition.committed_metadata),
                    });
                }
                Ok(_) => row.error_code = ErrorCode::UnknownTopicOrPartition.code(),
                Err(code) => row.error_code = code.code(),
            }
            rows.partitions.push(row);
            pace.step().await;
        }
        response.topics.push(rows);
    }
    if let Err(error) = may(context, Operation::Read, request.group_id) {
        refuse(&mut response, error);
        offsets.clear();
    }
    if offsets.is_empty() {
        finish(context, &mut response, &[], &Ok(Vec::new()));
        return reply(context, &response);
    }
    let commit = Request::Commit(commit(context, &request, offsets));
    match ask_to_write(context, Operation::Read, request.group_id, commit).await {
        Ok(answer) => Ok(answer_with(context, answer, move |context, reply| {
            let kept = match reply {
                Reply::Offsets(kept) => kept,
                Reply::Code(_) | Reply::Join(_) | Reply::Sync(_) | Reply::Leave(_) => {
                    Err(ErrorCode::UnknownServerError)
                }
            };
            finish(context, &mut response, &places, &kept);
            response
        })),
        Err(error) => {
            finish(context, &mut response, &places, &Err(error));
            reply(context, &response)
        }
    }
}

/// What is written beside an offset; mostly nothing, which all offsets share.
fn metadata(said: Option<&str>) -> Text {
    said.filter(|said| !said.is_empty())
        .map_or_else(Text::default, Text::from)
}

/// The topic that is meant, if the client may read it.
fn topic_of<'i>(
    context: &RequestContext,
    image: &'i Image,
    asked: &OffsetCommitRequestTopic<'_>,
) -> Result<&'i Topic, ErrorCode> {
    let by_id = context.api_version >= TOPIC_IDS_FROM;
    let topic = if by_id {
        image
            .topic(asked.topic_id)
            .ok_or(ErrorCode::UnknownTopicId)?
    } else if context.authorize(Operation::Read, Resource::Topic(asked.name)) {
        let topic = image.topic_named(asked.name);
        topic.ok_or(ErrorCode::UnknownTopicOrPartition)?
    } else {
        return Err(ErrorCode::TopicAuthorizationFailed);
    };
    if !context.authorize(Operation::Read, Resource::Topic(&topic.name)) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    Ok(topic)
}

fn commit(
    context: &RequestContext,
    request: &OffsetCommitRequest<'_>,
    offsets: Vec<CommitPartition>,
) -> Commit {
    let version = context.api_version;
    let generation = request.generation_id_or_member_epoch;
    let retention_ms = request.retention_time_ms;
    Commit {
        member: membership(request.member_id, request.group_instance_id, generation),
        absent: if version >= GROUP_ID_NOT_FOUND_FROM {
            ErrorCode::GroupIdNotFound
        } else {
            ErrorCode::IllegalGeneration
        },
        retention_ms: (version <= RETENTION_UPTO && retention_ms >= 0).then_some(retention_ms),
        offsets,
    }
}

/// What is wrong with the group is wrong with all of its offsets.
fn refuse(response: &mut OffsetCommitResponse, error: ErrorCode) {
    let topics = response.topics.iter_mut();
    for row in topics.flat_map(|topic| &mut topic.partitions) {
        row.error_code = error.code();
    }
}

fn finish(
    context: &RequestContext,
    response: &mut OffsetCommitResponse,
    places: &[Place],
    kept: &Result<Vec<ErrorCode>, ErrorCode>,
) {
    for (at, (topic, row)) in places.iter().enumerate() {
        let code = match kept {
            Ok(codes) => codes
                .get(at)
                .copied()
                .unwrap_or(ErrorCode::UnknownServerError),
            Err(error) => *error,
        };
        response.topics[*topic].partitions[*row].error_code = code.code();
    }
    let rows = response.topics.iter().flat_map(|topic| &topic.partitions);
    context.count_errors(rows.map(|row| row.error_code));
}
