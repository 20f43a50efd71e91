//! `OffsetDelete` (key 47), version 0: removes offsets of a group (KIP-496).
//!
//! - A topic that members read is 86; a topic or partition that isn't there is 3.

use bytes::Bytes;
use millrace_core::group::{Reply, Request, Text};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use millrace_protocol::messages::{OffsetDeleteResponse, StrBytes};
use millrace_protocol::requests::OffsetDeleteRequest;

use super::group_requests::{answer_with, ask_to_write};
use super::{Pace, read, reply};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome};

/// Where in the answer the code of an offset belongs.
type Place = (usize, usize);

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: OffsetDeleteRequest<'_> = read(context, &body).await?;
    let image = context.node.cluster.image();
    let mut response = OffsetDeleteResponse::default();
    let mut places: Vec<Place> = Vec::new();
    let mut offsets: Vec<(Text, i32)> = Vec::new();
    let mut pace = Pace::default();
    for topic in request.topics {
        let may = context.authorize(Operation::Read, Resource::Topic(topic.name));
        let known = image.topic_named(topic.name);
        let mut rows = OffsetDeleteResponseTopic::default();
        rows.name = StrBytes::from(topic.name);
        for partition in topic.partitions {
            let index = partition.partition_index;
            let mut row = OffsetDeleteResponsePartition::default();
            row.partition_index = index;
            if !may {
                row.error_code = ErrorCode::TopicAuthorizationFailed.code();
            } else if known.is_some_and(|topic| topic.partitions.contains_key(&index)) {
                places.push((response.topics.len(), rows.partitions.len()));
                offsets.push((topic.name.into(), index));
            } else {
                row.error_code = ErrorCode::UnknownTopicOrPartition.code();
            }
            rows.partitions.push(row);
            pace.step().await;
        }
        response.topics.push(rows);
    }
    let deletion = Request::DeleteOffsets(offsets);
    match ask_to_write(context, Operation::Delete, request.group_id, deletion).await {
        Ok(answer) => Ok(answer_with(context, answer, move |context, reply| {
            let deleted = match reply {
                Reply::Offsets(deleted) => deleted,
                Reply::Code(_) | Reply::Join(_) | Reply::Sync(_) | Reply::Leave(_) => {
                    Err(ErrorCode::UnknownServerError)
                }
            };
            finished(context, response, &places, deleted)
        })),
        Err(error) => reply(context, &finished(context, response, &places, Err(error))),
    }
}

fn finished(
    context: &RequestContext,
    mut response: OffsetDeleteResponse,
    places: &[Place],
    deleted: Result<Vec<ErrorCode>, ErrorCode>,
) -> OffsetDeleteResponse {
    match deleted {
        Ok(codes) => {
            for ((topic, row), code) in places.iter().zip(codes) {
                response.topics[*topic].partitions[*row].error_code = code.code();
            }
        }
        Err(error) => {
            response.error_code = error.code();
            response.topics.clear();
        }
    }
    context.count_errors([response.error_code]);
    let rows = response.topics.iter().flat_map(|topic| &topic.partitions);
    context.count_errors(rows.map(|row| row.error_code));
    response
}
