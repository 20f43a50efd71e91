//! `OffsetForLeaderEpoch` (key 23), versions 2–4: where a leader epoch ended (KIP-101, KIP-320).
//!
//! - v3: a consumer asks with replica id -1. v4 is flexible.
//! - Answers come from the log, so they may lie above the high watermark; an epoch that isn't known
//!   is (-1, -1) without an error.

use bytes::Bytes;
use millrace_core::partition::{EpochEnd as Known, ReadReject, Unserved};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::OffsetForLeaderEpochResponse;
use millrace_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use millrace_protocol::requests::OffsetForLeaderEpochRequest;
use millrace_protocol::requests::offset_for_leader_epoch::OffsetForLeaderPartition;

use super::error::not_served;
use super::{Pace, read, reply, slice};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome};

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: OffsetForLeaderEpochRequest<'_> = read(context, &body).await?;
    let mut response = OffsetForLeaderEpochResponse::default();
    let mut pace = Pace::default();
    response.topics.reserve_exact(request.topics.len());
    for topic in request.topics {
        let mut rows = OffsetForLeaderTopicResult::default();
        rows.topic = slice(&body, topic.topic);
        rows.partitions.reserve_exact(topic.partitions.len());
        for partition in topic.partitions {
            let found = find(context, topic.topic, &partition).await;
            let mut row = EpochEndOffset::default();
            row.partition = partition.partition;
            let known = found.unwrap_or(Known::UNKNOWN);
            row.leader_epoch = known.epoch;
            row.end_offset = known.end_offset;
            row.error_code = found.err().map_or(0, ErrorCode::code);
            rows.partitions.push(row);
            pace.step().await;
        }
        context.count_errors(rows.partitions.iter().map(|row| row.error_code));
        response.topics.push(rows);
        pace.step().await;
    }
    reply(context, &response)
}

async fn find(
    context: &RequestContext,
    topic: &str,
    partition: &OffsetForLeaderPartition,
) -> Result<Known, ErrorCode> {
    if !context.authorize(Operation::Describe, Resource::Topic(topic)) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    let node = &context.node;
    let image = node.cluster.image();
    let topic = image
        .topic_named(topic)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if !topic.partitions.contains_key(&partition.partition) {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    let open = node
        .partitions
        .get(topic, partition.partition)
        .await
        .map_err(|error| not_served(&error).0)?;
    open.look(|core| {
        core.offset_for_leader_epoch(partition.current_leader_epoch, partition.leader_epoch)
    })
    .map_err(Unserved::code)?
    .map_err(|reject: ReadReject| reject.code())
}
