//! `OffsetFetch` (key 9), versions 1–10: the offsets that groups keep.
//!
//! - v2: null topics are all. v5: leader epochs. v7: `require_stable` (KIP-447): there are no
//!   transactions yet, so every offset is stable. v8: several groups. v9: member and epoch, of the
//!   new group protocol alone. v10: topics by id; an unknown one is 100.
//! - A group that isn't there has no offsets: -1, and no error.

use std::sync::Arc;

use bytes::Bytes;
use millrace_core::cluster::Image;
use millrace_core::group::{Committed, Groups};
use millrace_probe::{Bug, planted};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;
use millrace_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use millrace_protocol::messages::{OffsetFetchResponse, StrBytes};
use millrace_protocol::requests::OffsetFetchRequest;
use millrace_protocol::requests::offset_fetch::OffsetFetchRequestGroup;

use super::answers::Answered;
use super::group_requests::{may, told_bytes};
use super::{Pace, fixed, parse, reply, take_room};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome};

/// First version with several groups.
const GROUPS_FROM: i16 = 8;
/// First version with a code for the group.
const GROUP_CODE_FROM: i16 = 2;
/// First version with leader epochs.
const EPOCHS_FROM: i16 = 5;
/// First version with topics by id.
const TOPIC_IDS_FROM: i16 = 10;

/// One topic of an answer.
struct Rows {
    name: StrBytes,
    id: TopicId,
    partitions: Vec<OffsetFetchResponsePartitions>,
}

/// Partitions that are asked for.
struct Asked<'a> {
    name: &'a str,
    id: TopicId,
    partitions: Vec<i32>,
}

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: OffsetFetchRequest<'_> = parse(context, &body)?;
    take_room(context, bytes(context, &request).await).await?;
    let version = context.api_version;
    let mut response = OffsetFetchResponse::default();
    let mut pace = Pace::default();
    if context.api_version >= GROUPS_FROM {
        response.groups.reserve_exact(request.groups.len());
        for group in request.groups {
            let topics = group.topics.map(|_| of_group(&group));
            let mut row = OffsetFetchResponseGroup::default();
            row.group_id = StrBytes::from(group.group_id);
            match fetch(context, group.group_id, topics).await {
                Ok(found) => {
                    let rows = found.into_iter().map(|rows| topics_row(version, rows));
                    row.topics = rows.collect();
                }
                Err(error) => row.error_code = error.code(),
            }
            response.groups.push(row);
            pace.step().await;
        }
    } else {
        let topics = request.topics.map(|topics| {
            let asked = topics.into_iter().map(|topic| Asked {
                name: topic.name,
                id: TopicId::ZERO,
                partitions: topic.partition_indexes.into_iter().collect(),
            });
            asked.collect::<Vec<_>>()
        });
        match fetch(context, request.group_id, topics).await {
            Ok(found) => {
                let rows = found.into_iter().map(|rows| topic_row(version, rows));
                response.topics = rows.collect();
            }
            Err(error) => refuse(context, &request, &mut response, error),
        }
    }
    let (of, all) = (&response.topics, &response.groups);
    context.count_errors([response.error_code]);
    context.count_errors(
        of.iter()
            .flat_map(|t| &t.partitions)
            .map(|row| row.error_code),
    );
    context.count_errors(all.iter().map(|group| group.error_code));
    let rows = all
        .iter()
        .flat_map(|group| &group.topics)
        .flat_map(|topic| &topic.partitions);
    context.count_errors(rows.map(|row| row.error_code));
    reply(context, &response)
}

/// What the answer takes: rows that are asked for, and all of the groups of which all is.
async fn bytes(context: &RequestContext, request: &OffsetFetchRequest<'_>) -> u64 {
    let mut bytes = request.answer_bytes(context);
    if context.api_version < GROUPS_FROM && request.topics.is_none() {
        bytes = bytes.saturating_add(told_bytes(context, request.group_id).await);
    }
    let mut pace = Pace::default();
    for group in request.groups {
        pace.step().await;
        if group.topics.is_none() {
            bytes = bytes.saturating_add(told_bytes(context, group.group_id).await);
        }
    }
    bytes
}

fn of_group<'a>(group: &OffsetFetchRequestGroup<'a>) -> Vec<Asked<'a>> {
    let topics = group.topics.into_iter().flatten();
    topics
        .map(|topic| Asked {
            name: topic.name,
            id: topic.topic_id,
            partitions: topic.partition_indexes.into_iter().collect(),
        })
        .collect()
}

/// The group can't be asked: the code is the answer's, or before it had one that of each partition.
fn refuse(
    context: &RequestContext,
    request: &OffsetFetchRequest<'_>,
    response: &mut OffsetFetchResponse,
    error: ErrorCode,
) {
    if context.api_version >= GROUP_CODE_FROM {
        response.error_code = error.code();
        return;
    }
    let topics = request.topics.into_iter().flatten();
    let rows = topics.map(|topic| {
        let rows = topic
            .partition_indexes
            .into_iter()
            .map(|index| nothing(index, error));
        topic_row(
            context.api_version,
            Rows {
                name: StrBytes::from(topic.name),
                id: TopicId::ZERO,
                partitions: rows.collect(),
            },
        )
    });
    response.topics = rows.collect();
}

/// What a group keeps of the partitions that are asked for, or of all.
async fn fetch(
    context: &RequestContext,
    group: &str,
    asked: Option<Vec<Asked<'_>>>,
) -> Result<Vec<Rows>, ErrorCode> {
    may(context, Operation::Describe, group)?;
    let image = context.node.cluster.image();
    let Some(asked) = asked else {
        return all(context, &image, group).await;
    };
    let mut pace = Pace::default();
    let mut answers: Vec<Rows> = Vec::with_capacity(asked.len());
    let mut known: Vec<Option<Arc<str>>> = Vec::with_capacity(asked.len());
    for topic in &asked {
        let (name, refused) = named(context, &image, topic);
        let rows = topic
            .partitions
            .iter()
            .map(|index| nothing(*index, refused));
        answers.push(Rows {
            name: StrBytes::from(topic.name),
            id: topic.id,
            partitions: rows.collect(),
        });
        known.push(name);
        pace.steps(1 + topic.partitions.len()).await;
    }
    let look = |groups: &Groups| {
        for (answer, name) in answers.iter_mut().zip(&known) {
            let Some(name) = name else { continue };
            for row in &mut answer.partitions {
                let kept = groups.offset(group, name, row.partition_index);
                if let Some(kept) = kept.filter(|kept| is_of(&image, name, kept)) {
                    fill(row, kept);
                }
            }
        }
        ((), groups.newest_offset(group))
    };
    context.node.look_at_group(group, look).await?;
    Ok(answers)
}

/// The name of a topic that is asked for, and the code of its rows.
fn named(
    context: &RequestContext,
    image: &Image,
    asked: &Asked<'_>,
) -> (Option<Arc<str>>, ErrorCode) {
    let name: Arc<str> = if context.api_version >= TOPIC_IDS_FROM {
        match image.topic(asked.id) {
            Some(topic) => Arc::clone(&topic.name),
            None => return (None, ErrorCode::UnknownTopicId),
        }
    } else {
        asked.name.into()
    };
    if context.authorize(Operation::Describe, Resource::Topic(&name)) {
        (Some(name), ErrorCode::None)
    } else {
        (None, ErrorCode::TopicAuthorizationFailed)
    }
}

async fn all(context: &RequestContext, image: &Image, group: &str) -> Result<Vec<Rows>, ErrorCode> {
    let may = |topic: &str| context.authorize(Operation::Describe, Resource::Topic(topic));
    let look = |groups: &Groups| {
        let mut answers: Vec<Rows> = Vec::new();
        let mut last: Option<Arc<str>> = None;
        for (topic, partition, kept) in groups.offsets(group) {
            if !may(topic) || !is_of(image, topic, kept) {
                continue;
            }
            if last.as_ref() != Some(topic) {
                last = Some(Arc::clone(topic));
                let id = image
                    .topic_named(topic)
                    .map_or(TopicId::ZERO, |topic| topic.id);
                answers.push(Rows {
                    name: StrBytes::from(&**topic),
                    id,
                    partitions: Vec::new(),
                });
            }
            if let Some(answer) = answers.last_mut() {
                let mut row = nothing(partition, ErrorCode::None);
                fill(&mut row, kept);
                answer.partitions.push(row);
            }
        }
        (answers, groups.newest_offset(group))
    };
    context.node.look_at_group(group, look).await
}

/// Whether an offset is one of the topic that has the name now, and not of an earlier one.
fn is_of(image: &Image, topic: &str, kept: &Committed) -> bool {
    let now = image.topic_named(topic);
    let is_its_own = kept.topic_id.is_zero() || now.is_none_or(|now| now.id == kept.topic_id);
    is_its_own || planted(Bug::OffsetsInherited)
}

fn nothing(index: i32, error: ErrorCode) -> OffsetFetchResponsePartitions {
    let mut row = OffsetFetchResponsePartitions::default();
    row.partition_index = index;
    row.committed_offset = -1;
    row.committed_leader_epoch = -1;
    row.metadata = Some(fixed(""));
    row.error_code = error.code();
    row
}

fn fill(row: &mut OffsetFetchResponsePartitions, kept: &Committed) {
    row.committed_offset = kept.offset;
    row.committed_leader_epoch = kept.leader_epoch;
    row.metadata = Some(StrBytes::from(&*kept.metadata));
}

fn topics_row(version: i16, rows: Rows) -> OffsetFetchResponseTopics {
    let mut row = OffsetFetchResponseTopics::default();
    if version >= TOPIC_IDS_FROM {
        row.topic_id = rows.id.into();
    } else {
        row.name = rows.name;
    }
    row.partitions = rows.partitions;
    row
}

fn topic_row(version: i16, rows: Rows) -> OffsetFetchResponseTopic {
    let mut row = OffsetFetchResponseTopic::default();
    row.name = rows.name;
    let partitions = rows.partitions.into_iter().map(|found| {
        let mut row = OffsetFetchResponsePartition::default();
        row.partition_index = found.partition_index;
        row.committed_offset = found.committed_offset;
        if version >= EPOCHS_FROM {
            row.committed_leader_epoch = found.committed_leader_epoch;
        }
        row.metadata = found.metadata;
        row.error_code = found.error_code;
        row
    });
    row.partitions = partitions.collect();
    row
}
