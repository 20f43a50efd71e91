//! Produce (key 0), versions 3–13: appends one batch to each of several partitions.
//!
//! - The effect checks, plans, writes and applies; the wait is for what `acks` asks.
//! - acks=0 has no answer; if anything failed the connection is closed, so that the client notices.
//! - v8: the offending records are named. v10: the present leader. v13: topics by id, in the answer
//!   too.
//! - A transactional id is refused with 53 at once: there are no transactions yet, and no client
//!   tries again on it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_core::cluster::{Image, Topic};
use millrace_core::partition::Acks;
use millrace_host::Mono;
use millrace_log::partition::AppendError;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;
use millrace_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use millrace_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use millrace_protocol::messages::{self, ProduceRequest, ProduceResponse, StrBytes};
use millrace_protocol::records::{self, ProduceRules, Produced, Refusal, check_produced};

use super::decode;
use super::error::{append_error, not_served};
use super::metadata::is_internal;
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, CloseReason, Outcome, Reply};
use crate::runtime::partition::{AckResult, AckWait, Refused};
use crate::runtime::settings::produce_rules;

/// First version that names topics by id.
const TOPIC_IDS_FROM: i16 = 13;
/// The client id that may write to internal topics, as in Kafka.
const ADMIN_CLIENT: &str = "__admin_client";

/// A partition's row of the answer, and what it still waits for.
struct Row {
    response: PartitionProduceResponse,
    wait: Option<AckWait>,
}

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: ProduceRequest = decode(context, body)?;
    let whole = refuse_whole(context, &request);
    let acks = match request.acks {
        0 => Acks::None,
        1 => Acks::Leader,
        _ => Acks::All,
    };
    let image = context.node.cluster.image();
    let mut topics = Vec::with_capacity(request.topic_data.len());
    for data in &request.topic_data {
        let rows = match whole {
            Some(code) => refuse_topic(data, code, None),
            None => append_topic(context, &image, data, acks).await,
        };
        topics.push(((data.name.clone(), data.topic_id), rows));
    }
    if request.acks == 0 {
        return without_reply(
            &topics
                .into_iter()
                .flat_map(|(_, rows)| rows)
                .collect::<Vec<_>>(),
        );
    }
    let version = context.api_version;
    if topics
        .iter()
        .all(|(_, rows)| rows.iter().all(|row| row.wait.is_none()))
    {
        return Ok(Outcome::Ready(encoded(version, topics)));
    }
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let deadline = (context.received + timeout).min(context.deadline);
    let node = Arc::clone(&context.node);
    Ok(Outcome::Wait(Box::pin(async move {
        let clock = &node.host.clock;
        for row in topics.iter_mut().flat_map(|(_, rows)| rows) {
            if let Some(wait) = row.wait.take() {
                finish(row, wait, clock.as_ref(), deadline).await;
            }
        }
        encoded(version, topics)
    })))
}

/// Why no partition of the request may be written.
fn refuse_whole(context: &RequestContext, request: &ProduceRequest) -> Option<ErrorCode> {
    if let Some(id) = &request.transactional_id {
        context.authorize(Operation::Write, Resource::TransactionalId(id));
        return Some(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    (!matches!(request.acks, -1..=1)).then_some(ErrorCode::InvalidRequiredAcks)
}

fn refuse_topic(data: &TopicProduceData, code: ErrorCode, message: Option<&str>) -> Vec<Row> {
    data.partition_data
        .iter()
        .map(|partition| refused(partition.index, code, message))
        .collect()
}

fn refused(index: i32, code: ErrorCode, message: Option<&str>) -> Row {
    let mut response = PartitionProduceResponse::default();
    response.index = index;
    response.error_code = code.code();
    response.error_message = message.map(StrBytes::from);
    response.base_offset = -1;
    response.log_append_time_ms = -1;
    response.log_start_offset = -1;
    Row {
        response,
        wait: None,
    }
}

async fn append_topic(
    context: &RequestContext,
    image: &Image,
    data: &TopicProduceData,
    acks: Acks,
) -> Vec<Row> {
    let topic = if context.api_version >= TOPIC_IDS_FROM {
        image
            .topic(TopicId::from(data.topic_id))
            .ok_or(ErrorCode::UnknownTopicId)
    } else if context.authorize(Operation::Write, Resource::Topic(&data.name)) {
        image
            .topic_named(&data.name)
            .ok_or(ErrorCode::UnknownTopicOrPartition)
    } else {
        Err(ErrorCode::TopicAuthorizationFailed)
    };
    let topic = match topic {
        Ok(topic) => topic,
        Err(code) => return refuse_topic(data, code, None),
    };
    if !context.authorize(Operation::Write, Resource::Topic(&topic.name)) {
        return refuse_topic(data, ErrorCode::TopicAuthorizationFailed, None);
    }
    if is_internal(&topic.name) && &*context.client_id != ADMIN_CLIENT {
        return refuse_topic(data, ErrorCode::InvalidTopicException, None);
    }
    let Some(config) = context.node.partitions.topic_config(image, &topic.name) else {
        return refuse_topic(data, ErrorCode::UnknownServerError, None);
    };
    let now_ms = context.node.host.clock.now().wall_ms;
    let rules = produce_rules(&context.node.config, &config, context.api_version, now_ms);
    let segment_bytes = config.segment_bytes as usize;
    let mut rows = Vec::with_capacity(data.partition_data.len());
    for partition in &data.partition_data {
        rows.push(append(context, topic, partition, acks, (&rules, segment_bytes)).await);
    }
    rows
}

async fn append(
    context: &RequestContext,
    topic: &Topic,
    data: &PartitionProduceData,
    acks: Acks,
    (rules, segment_bytes): (&ProduceRules, usize),
) -> Row {
    let node = &context.node;
    if !topic.partitions.contains_key(&data.index) {
        return refused(data.index, ErrorCode::UnknownTopicOrPartition, None);
    }
    let bytes = data.records.clone().unwrap_or_default();
    let checked = node
        .scratches
        .with(|scratch| check_produced(&bytes, rules, scratch));
    let produced = match checked {
        Ok(produced) if produced.header.size() > segment_bytes => {
            let code = ErrorCode::RecordListTooLarge;
            return refused(
                data.index,
                code,
                Some("the batch is larger than segment.bytes"),
            );
        }
        Ok(produced) => produced,
        Err(refusal) => {
            node.metrics.produce.rejected.inc();
            return bad_batch(data.index, &refusal);
        }
    };
    let open = match node.partitions.get(&node.cluster, topic, data.index).await {
        Ok(open) => open,
        Err(error) => {
            let (code, message) = not_served(&error);
            return refused(data.index, code, Some(message));
        }
    };
    let bytes = match produced.finish(bytes) {
        Ok(bytes) => bytes,
        Err(error) => {
            let message = error.to_string();
            return refused(data.index, ErrorCode::CorruptMessage, Some(&message));
        }
    };
    match open.append(&bytes, &produced, acks) {
        Ok(appended) => {
            count(
                context,
                &produced,
                bytes.len(),
                appended.duplicate_of_ms.is_some(),
            );
            let log_append_time = rules.timestamp_type == records::TimestampType::LogAppendTime;
            let mut response = PartitionProduceResponse::default();
            response.index = data.index;
            response.base_offset = appended.base_offset;
            response.log_start_offset = appended.log_start;
            response.log_append_time_ms = if log_append_time {
                appended.duplicate_of_ms.unwrap_or(rules.now_ms)
            } else {
                -1
            };
            Row {
                response,
                wait: appended.wait,
            }
        }
        Err(error) => {
            node.metrics.produce.rejected.inc();
            if let Refused::Log(AppendError::Failed(reason)) = &error {
                tracing::error!(
                    topic = &*topic.name,
                    partition = data.index,
                    reason,
                    "append failed"
                );
            }
            let (code, message) = append_error(&error);
            refused(data.index, code, Some(&message))
        }
    }
}

fn count(context: &RequestContext, produced: &Produced, bytes: usize, duplicate: bool) {
    let metrics = &context.node.metrics.produce;
    if duplicate {
        metrics.duplicates.inc();
        return;
    }
    metrics.batches.inc();
    metrics.bytes.inc_by(bytes as u64);
    metrics
        .records
        .inc_by(u64::try_from(produced.header.record_count).unwrap_or(0));
}

/// The row for a batch that breaks a rule, naming the records that do.
fn bad_batch(index: i32, refusal: &Refusal) -> Row {
    let mut row = refused(index, refusal.error_code(), Some(&refusal.to_string()));
    row.response.record_errors = refusal
        .record_faults()
        .iter()
        .map(|fault| {
            let mut error = BatchIndexAndErrorMessage::default();
            error.batch_index = fault.index;
            error.batch_index_error_message = Some(StrBytes::from(&*fault.message));
            error
        })
        .collect();
    row
}

/// Waits for one partition's condition, at most until the deadline of all.
async fn finish(
    row: &mut Row,
    mut wait: AckWait,
    clock: &dyn millrace_host::Clock,
    deadline: Mono,
) {
    let result: Option<AckResult> = tokio::select! {
        biased;
        result = wait.end() => Some(result),
        () = clock.sleep_until(deadline) => None,
    };
    let rejected = match result {
        Some(Ok(outcome)) => {
            row.response.log_start_offset = outcome.log_start;
            return;
        }
        Some(Err(reject)) => (reject.code(), reject.to_string()),
        None => (
            ErrorCode::RequestTimedOut,
            "written, but not acknowledged within the request's timeout".to_owned(),
        ),
    };
    *row = refused(row.response.index, rejected.0, Some(&rejected.1));
}

fn without_reply(rows: &[Row]) -> Result<Outcome, Close> {
    match rows.iter().find(|row| row.response.error_code != 0) {
        None => Ok(Outcome::NoReply),
        Some(row) => Err(Close::new(
            CloseReason::FailedWithoutReply,
            format!(
                "partition {}: error {}",
                row.response.index, row.response.error_code
            ),
        )),
    }
}

fn encoded(version: i16, topics: Vec<((StrBytes, messages::Uuid), Vec<Row>)>) -> Reply {
    let mut response = ProduceResponse::default();
    response.responses = topics
        .into_iter()
        .map(|((name, id), rows)| {
            let mut topic = TopicProduceResponse::default();
            if version >= TOPIC_IDS_FROM {
                topic.topic_id = id;
            } else {
                topic.name = name;
            }
            topic.partition_responses = rows.into_iter().map(|row| row.response).collect();
            topic
        })
        .collect();
    let body = messages::encode(&response, version)
        .expect("every field that isn't in a version is at its default there");
    Reply::bytes(body)
}
