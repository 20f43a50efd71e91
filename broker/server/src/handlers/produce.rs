//! Produce (key 0), versions 3–13: appends one batch to each of several partitions.
//!
//! - The effect checks, plans, writes and applies; the wait is for what `acks` asks.
//! - acks=0 has no answer; if anything failed the connection is closed, so that the client notices.
//! - v8: the offending records are named. v10: the present leader. v13: topics by id, in the answer
//!   too.
//! - A transactional id or batch is refused with 53 at once: there are no transactions yet, and no
//!   client tries again on it.

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
use millrace_protocol::records::{
    self, BatchHeader, Codec, ProduceRules, Produced, Refusal, check_produced,
};

use super::decode;
use super::error::{append_error, not_served};
use super::metadata::is_internal;
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome, Reply};
use crate::runtime::partition::{AckResult, AckWait, Refused};
use crate::runtime::recompress::{codec, stored};
use crate::runtime::settings::produce_rules;

/// First version that names topics by id.
const TOPIC_IDS_FROM: i16 = 13;
/// The client id that may write to internal topics, as in Kafka.
const ADMIN_CLIENT: &str = "__admin_client";
/// An append that takes longer is counted: the machine holds the partition up.
const STALL: Duration = Duration::from_millis(50);

/// A partition's row of the answer, and what it still waits for.
struct Row {
    response: PartitionProduceResponse,
    wait: Option<AckWait>,
}

/// What holds for all batches of a topic in one request.
struct Terms {
    acks: Acks,
    rules: ProduceRules,
    /// The codec that the topic wants; `None` leaves it to the producer.
    codec: Option<Codec>,
    segment_bytes: usize,
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
        let rows = topics.into_iter().flat_map(|(_, rows)| rows);
        return without_reply(context, &rows.collect::<Vec<_>>());
    }
    if topics
        .iter()
        .all(|(_, rows)| rows.iter().all(|row| row.wait.is_none()))
    {
        return Ok(Outcome::Ready(encoded(context, topics)));
    }
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let deadline = (context.received + timeout).min(context.deadline);
    let context = context.clone();
    Ok(Outcome::Wait(Box::pin(async move {
        let clock = &context.node.host.clock;
        for row in topics.iter_mut().flat_map(|(_, rows)| rows) {
            if let Some(wait) = row.wait.take() {
                finish(row, wait, clock.as_ref(), deadline).await;
            }
        }
        encoded(&context, topics)
    })))
}

/// Why no partition of the request may be written.
fn refuse_whole(context: &RequestContext, request: &ProduceRequest) -> Option<ErrorCode> {
    if let Some(id) = &request.transactional_id {
        context.authorize(Operation::Write, Resource::TransactionalId(id));
        return Some(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    let mut partitions = request.topic_data.iter().flat_map(|t| &t.partition_data);
    if partitions.any(|partition| is_transactional(partition.records.as_deref())) {
        return Some(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    (!matches!(request.acks, -1..=1)).then_some(ErrorCode::InvalidRequiredAcks)
}

/// Whether a batch says to belong to a transaction; one that can't be read is refused later.
fn is_transactional(records: Option<&[u8]>) -> bool {
    let header = records.and_then(|bytes| BatchHeader::parse(bytes).ok());
    header.is_some_and(|header| header.is_transactional())
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
    let Some(config) = context.node.partitions.topic_config(image, topic) else {
        return refuse_topic(data, ErrorCode::UnknownServerError, None);
    };
    let now_ms = context.node.host.clock.now().wall_ms;
    let terms = Terms {
        acks,
        rules: produce_rules(&context.node.config, &config, context.api_version, now_ms),
        codec: codec(config.compression),
        segment_bytes: config.segment_bytes as usize,
    };
    let mut rows = Vec::with_capacity(data.partition_data.len());
    for partition in &data.partition_data {
        rows.push(append(context, topic, partition, &terms).await);
    }
    rows
}

async fn append(
    context: &RequestContext,
    topic: &Topic,
    data: &PartitionProduceData,
    terms: &Terms,
) -> Row {
    match try_append(context, topic, data, terms).await {
        Ok(row) => row,
        Err(row) => *row,
    }
}

/// The row of one partition; an error is the row of one that was refused.
async fn try_append(
    context: &RequestContext,
    topic: &Topic,
    data: &PartitionProduceData,
    terms: &Terms,
) -> Result<Row, Box<Row>> {
    let node = &context.node;
    let refuse = |code, message: Option<&str>| Box::new(refused(data.index, code, message));
    if !topic.partitions.contains_key(&data.index) {
        return Err(refuse(ErrorCode::UnknownTopicOrPartition, None));
    }
    let (bytes, produced) = checked(context, data, terms)?;
    let open = node.partitions.get(&node.cluster, topic, data.index).await;
    let open = open.map_err(|error| {
        let (code, message) = not_served(&error);
        refuse(code, Some(message))
    })?;
    open.below_unflushed_limit().await;
    let clock = &node.host.clock;
    let start = clock.now().mono;
    let appended = open.append(&bytes, &produced, terms.acks);
    if clock.now().mono.since(start) > STALL {
        node.metrics.produce.stalls.inc();
    }
    let appended = appended.map_err(|error| {
        node.metrics.produce.rejected.inc();
        if let Refused::Log(AppendError::Failed(reason)) = &error {
            let partition = data.index;
            tracing::error!(topic = &*topic.name, partition, reason, "append failed");
        }
        let (code, message) = append_error(&error);
        refuse(code, Some(&message))
    })?;
    let duplicate_of_ms = appended.duplicate_of_ms;
    count(context, &produced, bytes.len(), duplicate_of_ms.is_some());
    let log_append_time = terms.rules.timestamp_type == records::TimestampType::LogAppendTime;
    let mut response = PartitionProduceResponse::default();
    response.index = data.index;
    response.base_offset = appended.base_offset;
    response.log_start_offset = appended.log_start;
    response.log_append_time_ms = if log_append_time {
        duplicate_of_ms.unwrap_or(terms.rules.now_ms)
    } else {
        -1
    };
    Ok(Row {
        response,
        wait: appended.wait,
    })
}

/// The batch as it is to be stored, if it may be.
fn checked(
    context: &RequestContext,
    data: &PartitionProduceData,
    terms: &Terms,
) -> Result<(Bytes, Produced), Box<Row>> {
    let node = &context.node;
    let rejected = |row: Row| {
        node.metrics.produce.rejected.inc();
        Box::new(row)
    };
    let bytes = data.records.clone().unwrap_or_default();
    let stored = node.scratches.with(|scratch| {
        let produced = check_produced(&bytes, &terms.rules, scratch)
            .map_err(|refusal| rejected(bad_batch(data.index, &refusal)))?;
        stored(bytes, &produced, terms.codec, scratch).map_err(|error| {
            let message = error.to_string();
            rejected(refused(
                data.index,
                ErrorCode::CorruptMessage,
                Some(&message),
            ))
        })
    });
    let (bytes, produced) = stored?;
    let limit = terms.rules.batch_bytes_max;
    if bytes.len() > limit {
        let size = bytes.len();
        let refusal = Refusal::TooLarge { size, limit };
        return Err(rejected(bad_batch(data.index, &refusal)));
    }
    if bytes.len() > terms.segment_bytes {
        let message = "the batch is larger than segment.bytes";
        let code = ErrorCode::RecordListTooLarge;
        return Err(rejected(refused(data.index, code, Some(message))));
    }
    Ok((bytes, produced))
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

fn without_reply(context: &RequestContext, rows: &[Row]) -> Result<Outcome, Close> {
    context.count_errors(rows.iter().map(|row| row.response.error_code));
    match rows.iter().find(|row| row.response.error_code != 0) {
        None => Ok(Outcome::NoReply),
        Some(row) => Err(Close::failed_without_reply(format!(
            "acks=0 to partition {}: error {}",
            row.response.index, row.response.error_code
        ))),
    }
}

fn encoded(context: &RequestContext, topics: Vec<((StrBytes, messages::Uuid), Vec<Row>)>) -> Reply {
    let version = context.api_version;
    let rows = topics.iter().flat_map(|(_, rows)| rows);
    context.count_errors(rows.map(|row| row.response.error_code));
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
