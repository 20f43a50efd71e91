//! `DeleteRecords` (key 21), versions 0–2: moves the log start of partitions (KIP-107).
//!
//! - Offset -1 stands for the high watermark; one above it is 1, and so is any other below zero. One
//!   at or below the log start changes nothing. The answer tells the log start that came of it.
//! - A topic that is only compacted is 44, one of the broker's own 17.
//! - The new start is durable before it is told or shown. Whole segments before it go afterwards.
//! - `timeout_ms` bounds the wait, if it is above zero: then 7, and the deletion goes on. What this
//!   broker does by itself is waited for within the request's own time in any case: Kafka's timeout
//!   is for the other replicas.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_host::{Mono, Pool};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::DeleteRecordsResponse;
use millrace_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use millrace_protocol::requests::DeleteRecordsRequest;
use millrace_protocol::requests::delete_records::DeleteRecordsPartition;
use tokio::sync::oneshot;

use super::error::{not_deleted, not_served};
use super::metadata::is_internal;
use super::{Pace, read, reply, slice};
use crate::context::{Node, Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome};
use crate::runtime::partition::{Deleted, OpenPartition};
use crate::runtime::upkeep::remove_segments;

/// Partitions of one request whose log starts move side by side: their marks share a commit.
const AT_ONCE: usize = 256;

/// What becomes of one partition, told by the task that sees to it.
type Told = oneshot::Receiver<Result<i64, ErrorCode>>;

/// A partition's row that waits for its outcome.
struct Waiting {
    /// Its place among the topics.
    topic: usize,
    /// Its place among the topic's partitions.
    row: usize,
    told: Told,
}

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: DeleteRecordsRequest<'_> = read(context, &body).await?;
    let deadline = deadline(context, request.timeout_ms);
    let mut response = DeleteRecordsResponse::default();
    let mut pace = Pace::default();
    let mut waiting: VecDeque<Waiting> = VecDeque::new();
    response.topics.reserve_exact(request.topics.len());
    for (at, topic) in request.topics.into_iter().enumerate() {
        let mut rows = DeleteRecordsTopicResult::default();
        rows.name = slice(&body, topic.name);
        rows.partitions.reserve_exact(topic.partitions.len());
        response.topics.push(rows);
        for (row, partition) in topic.partitions.into_iter().enumerate() {
            if waiting.len() == AT_ONCE {
                end_one(context, &mut response, &mut waiting, deadline).await;
            }
            let mut result = DeleteRecordsPartitionResult::default();
            result.partition_index = partition.partition_index;
            result.low_watermark = -1;
            match begin(context, topic.name, &partition, deadline).await {
                Ok(told) => waiting.push_back(Waiting {
                    topic: at,
                    row,
                    told,
                }),
                Err(code) => result.error_code = code.code(),
            }
            response.topics[at].partitions.push(result);
            pace.step().await;
        }
        pace.step().await;
    }
    while !waiting.is_empty() {
        end_one(context, &mut response, &mut waiting, deadline).await;
    }
    for topic in &response.topics {
        context.count_errors(topic.partitions.iter().map(|row| row.error_code));
    }
    reply(context, &response)
}

/// Until when the outcome is waited for.
fn deadline(context: &RequestContext, timeout_ms: i32) -> Mono {
    match u64::try_from(timeout_ms) {
        Ok(ms) if ms > 0 => (context.received + Duration::from_millis(ms)).min(context.deadline),
        _ => context.deadline,
    }
}

/// Begins the deletion in one partition. It goes on in a task of its own: a client that waits no
/// longer doesn't leave it half done.
async fn begin(
    context: &RequestContext,
    topic: &str,
    asked: &DeleteRecordsPartition,
    deadline: Mono,
) -> Result<Told, ErrorCode> {
    let open = partition(context, topic, asked.partition_index).await?;
    let clock = &context.node.host.clock;
    let turn = tokio::select! {
        biased;
        turn = open.start_move() => turn,
        () = clock.sleep_until(deadline) => return Err(ErrorCode::RequestTimedOut),
    };
    let (tell, told) = oneshot::channel();
    let node = Arc::clone(&context.node);
    let offset = asked.offset;
    let deleting = async move {
        let outcome = match turn.delete_records(offset).await {
            Ok(deleted) => Ok(finish(&node, &open, deleted)),
            Err(error) => {
                let incarnation = open.incarnation();
                tracing::debug!(%incarnation, offset, %error, "records are not deleted");
                Err(not_deleted(&error))
            }
        };
        // Whoever no longer waits needs no answer.
        tell.send(outcome).ok();
    };
    let spawn = &context.node.host.spawn;
    drop(spawn.spawn(Pool::Data, "delete records", Box::pin(deleting)));
    Ok(told)
}

/// The partition, if the client may delete records of it.
async fn partition(
    context: &RequestContext,
    topic: &str,
    index: i32,
) -> Result<Arc<OpenPartition>, ErrorCode> {
    if !context.authorize(Operation::Delete, Resource::Topic(topic)) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    let node = &context.node;
    let image = node.cluster.image();
    let topic = image
        .topic_named(topic)
        .filter(|topic| topic.partitions.contains_key(&index))
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if is_internal(&topic.name) {
        return Err(ErrorCode::InvalidTopicException);
    }
    let config = node.partitions.topic_config(&image, topic);
    let config = config.ok_or(ErrorCode::UnknownServerError)?;
    if config.cleanup.compact && !config.cleanup.delete {
        return Err(ErrorCode::PolicyViolation);
    }
    let open = node.partitions.get(topic, index).await;
    open.map_err(|error| not_served(&error).0)
}

/// The log start is shown: its files go. Gives the low watermark.
fn finish(node: &Node, open: &OpenPartition, deleted: Deleted) -> i64 {
    let low_watermark = deleted.low_watermark;
    if let Some(removal) = deleted.removal {
        let incarnation = open.incarnation();
        let segments = removal.segments();
        tracing::info!(%incarnation, low_watermark, segments, "a client deleted records");
        remove_segments(node, incarnation, removal);
    }
    low_watermark
}

/// Waits for the row that was begun first, and puts its outcome into the answer.
async fn end_one(
    context: &RequestContext,
    response: &mut DeleteRecordsResponse,
    waiting: &mut VecDeque<Waiting>,
    deadline: Mono,
) {
    let Some(Waiting { topic, row, told }) = waiting.pop_front() else {
        return;
    };
    let outcome = tokio::select! {
        biased;
        // Nobody tells any more when the node ends.
        told = told => told.unwrap_or(Err(ErrorCode::KafkaStorageError)),
        () = context.node.host.clock.sleep_until(deadline) => Err(ErrorCode::RequestTimedOut),
    };
    let row = &mut response.topics[topic].partitions[row];
    match outcome {
        Ok(low_watermark) => row.low_watermark = low_watermark,
        Err(code) => row.error_code = code.code(),
    }
}
