//! `DescribeProducers` (key 61), version 0: the producers that partitions remember (KIP-664).
//!
//! Of each its epoch, its last sequence and when that came, and where the transaction begins that is
//! open; -1 where there is none. What is remembered can be far more than what is asked: room for the
//! answer is taken once it is known how much there is.

use std::sync::Arc;

use bytes::Bytes;
use millrace_core::cluster::check_topic_name;
use millrace_core::partition::Partition;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use millrace_protocol::messages::{DescribeProducersResponse, StrBytes};
use millrace_protocol::producer::ProducerEntry;
use millrace_protocol::requests::DescribeProducersRequest;

use super::answers::{Texts, described_producers_bytes};
use super::error::not_served;
use super::{Pace, read, reply, slice, take_room};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome};
use crate::runtime::partition::OpenPartition;

/// A partition that may be described, or why not.
type Found = Result<Arc<OpenPartition>, (ErrorCode, String)>;

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: DescribeProducersRequest<'_> = read(context, &body).await?;
    let mut pace = Pace::default();
    let mut producers = 0_usize;
    for topic in request.topics {
        for index in topic.partition_indexes {
            if let Ok(open) = find(context, topic.name, index).await {
                let there = open.look(Partition::producers_len).unwrap_or(0);
                producers = producers.saturating_add(there);
            }
            pace.step().await;
        }
        pace.step().await;
    }
    take_room(context, described_producers_bytes(&request, producers)).await?;
    let (mut texts, mut left) = (Texts::default(), producers);
    let mut response = DescribeProducersResponse::default();
    response.topics.reserve_exact(request.topics.len());
    for topic in request.topics {
        let mut rows = TopicResponse::default();
        rows.name = slice(&body, topic.name);
        rows.partitions.reserve_exact(topic.partition_indexes.len());
        for index in topic.partition_indexes {
            let found = find(context, topic.name, index).await;
            let row = row(index, found, &mut left, &mut texts);
            pace.steps(1 + row.active_producers.len()).await;
            rows.partitions.push(row);
        }
        context.count_errors(rows.partitions.iter().map(|row| row.error_code));
        response.topics.push(rows);
        pace.step().await;
    }
    reply(context, &response)
}

/// The row of a partition, with no more than `left` producers: what came since they were counted has
/// no room.
fn row(index: i32, found: Found, left: &mut usize, texts: &mut Texts) -> PartitionResponse {
    let mut row = PartitionResponse::default();
    row.partition_index = index;
    row.error_message = None;
    let described = found.and_then(|open| {
        open.producers()
            .map_err(|unserved| (unserved.code(), String::new()))
    });
    match described {
        Ok(entries) => {
            let there = entries.iter().take(*left);
            row.active_producers = there.map(state).collect();
            *left -= row.active_producers.len();
        }
        Err((code, message)) => {
            row.error_code = code.code();
            let told = !message.is_empty() && texts.tell();
            row.error_message = told.then(|| StrBytes::from(message));
        }
    }
    row
}

fn state(entry: &ProducerEntry) -> ProducerState {
    let mut state = ProducerState::default();
    state.producer_id = entry.producer_id;
    state.producer_epoch = i32::from(entry.producer_epoch);
    let last = entry.batches.last();
    state.last_sequence = last.map_or(-1, |batch| batch.last_sequence);
    state.last_timestamp = last.map_or(entry.last_seen_ms, |batch| batch.timestamp_ms);
    state.coordinator_epoch = entry.coordinator_epoch;
    state.current_txn_start_offset = entry.open_txn_first_offset.unwrap_or(-1);
    state
}

async fn find(context: &RequestContext, name: &str, index: i32) -> Found {
    let refused = |code, message: &str| Err((code, message.to_owned()));
    if let Err(error) = check_topic_name(name) {
        return refused(ErrorCode::InvalidTopicException, &error.to_string());
    }
    if !context.authorize(Operation::Read, Resource::Topic(name)) {
        return refused(ErrorCode::TopicAuthorizationFailed, "");
    }
    let node = &context.node;
    let image = node.cluster.image();
    let unknown = ErrorCode::UnknownTopicOrPartition;
    let Some(topic) = image.topic_named(name) else {
        return refused(unknown, "This server does not host this topic-partition.");
    };
    if !topic.partitions.contains_key(&index) {
        return refused(unknown, "");
    }
    let open = node.partitions.get(topic, index).await;
    open.map_err(|error| {
        let (code, message) = not_served(&error);
        (code, message.to_owned())
    })
}
