//! Produce (key 0), versions 3–13: appends one batch to each of several partitions.
//!
//! - The effect checks, plans, writes and applies; the wait is for what `acks` asks.
//! - acks=0 has no answer; if anything failed the connection is closed, so that the client notices.
//! - v8: the offending records are named. v10: the present leader. v13: topics by id, in the answer
//!   too.
//! - A transactional batch is refused with 53 at once: there are no transactions yet, and no client
//!   tries again on it. A transactional id says nothing of batches that are none of a transaction.
//! - A batch that breaks a rule is told the log's start, as one that is taken.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_config::TopicConfig;
use millrace_core::cluster::{Image, Topic};
use millrace_core::partition::{Acks, Reject};
use millrace_host::Mono;
use millrace_log::partition::AppendError;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use millrace_protocol::messages::{self, ProduceResponse, StrBytes};
use millrace_protocol::records::{
    self, BatchHeader, ProduceRules, Produced, Refusal, check_produced,
};
use millrace_protocol::requests::ProduceRequest;
use millrace_protocol::requests::produce::{PartitionProduceData, TopicProduceData};

use super::answers::Texts;
use super::error::{append_error, not_served};
use super::metadata::is_internal;
use super::{Pace, read};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome, Reply};
use crate::runtime::partition::{AckResult, AckWait, Appended, OpenPartition, Refused};
use crate::runtime::recompress::{Target, stored, target};
use crate::runtime::settings::produce_rules;

/// First version that names topics by id.
const TOPIC_IDS_FROM: i16 = 13;
/// The client id that may write to internal topics, as in Kafka.
const ADMIN_CLIENT: &str = "__admin_client";
/// An append that takes longer is counted: the machine holds the partition up.
const STALL: Duration = Duration::from_millis(50);
/// How often one append waits for a partition whose end moves to another directory. Each wait is
/// short; a client that is told tries again.
const HOLDS_MAX: u32 = 3;

/// The answer as far as it is known, and what it still waits for.
#[derive(Default)]
struct Answer {
    response: ProduceResponse,
    waits: Vec<Waiting>,
    texts: Texts,
    pace: Pace,
}

/// One partition's part of the answer, and its condition if it isn't met yet.
type Row = (PartitionProduceResponse, Option<AckWait>);

/// A row of the answer whose condition isn't met yet.
struct Waiting {
    /// Its place among the topics.
    topic: usize,
    /// Its place among the topic's partitions.
    row: usize,
    wait: AckWait,
}

/// What a row keeps beside it while it waits: its wait, and the partition's memory of that.
pub(super) const WAIT_BYTES: usize = size_of::<Waiting>() + 128;

/// What holds for all batches of a topic in one request.
struct Terms<'a> {
    /// The request, of which batches are slices.
    body: &'a Bytes,
    acks: Acks,
    rules: ProduceRules,
    /// The codec that the topic wants; `None` leaves it to the producer.
    target: Option<Target>,
    segment_bytes: usize,
}

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: ProduceRequest<'_> = read(context, &body).await?;
    let mut answer = Answer::default();
    let topics = request.topic_data.len();
    answer.response.responses.reserve_exact(topics);
    if let Some(code) = refuse_whole(context, &request) {
        for data in request.topic_data {
            answer.begin(context, &data);
            answer.refuse(&data, code).await;
        }
    } else {
        let acks = match request.acks {
            0 => Acks::None,
            1 => Acks::Leader,
            _ => Acks::All,
        };
        let image = context.node.cluster.image();
        for data in request.topic_data {
            answer.begin(context, &data);
            match writable(context, &image, &data) {
                Ok((topic, config)) => {
                    let terms = Terms::new(context, &config, &body, acks);
                    for partition in data.partition_data {
                        answer.push(append(context, topic, &partition, &terms).await);
                        answer.pace.step().await;
                    }
                }
                Err(code) => answer.refuse(&data, code).await,
            }
        }
    }
    if request.acks == 0 {
        return without_reply(context, &answer.response);
    }
    if answer.waits.is_empty() {
        return Ok(Outcome::Ready(encoded(context, &answer.response)));
    }
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let deadline = (context.received + timeout).min(context.deadline);
    let context = context.clone();
    Ok(Outcome::Wait(Box::pin(async move {
        let clock = &context.node.host.clock;
        for Waiting { topic, row, wait } in answer.waits {
            let row = &mut answer.response.responses[topic].partition_responses[row];
            finish(row, wait, clock.as_ref(), deadline).await;
            limit_texts(row, &mut answer.texts);
        }
        encoded(&context, &answer.response)
    })))
}

impl Answer {
    /// Begins the rows of a topic. Its name is copied: a slice would keep the request's buffer.
    fn begin(&mut self, context: &RequestContext, data: &TopicProduceData<'_>) {
        let mut topic = TopicProduceResponse::default();
        if context.api_version >= TOPIC_IDS_FROM {
            topic.topic_id = data.topic_id.into();
        } else {
            topic.name = StrBytes::from(data.name);
        }
        let count = data.partition_data.len();
        topic.partition_responses.reserve_exact(count);
        self.response.responses.push(topic);
    }

    /// Adds a row to the topic that was begun last.
    fn push(&mut self, (mut row, wait): Row) {
        limit_texts(&mut row, &mut self.texts);
        let last = self.response.responses.len() - 1;
        let rows = &mut self.response.responses[last].partition_responses;
        self.waits.extend(wait.map(|wait| Waiting {
            topic: last,
            row: rows.len(),
            wait,
        }));
        rows.push(row);
    }

    /// Adds rows that refuse each partition of the topic that was begun last.
    async fn refuse(&mut self, data: &TopicProduceData<'_>, code: ErrorCode) {
        for partition in data.partition_data {
            self.push((refused(partition.index, code, None), None));
            self.pace.step().await;
        }
    }
}

/// Leaves out the texts that are too many for one answer.
fn limit_texts(row: &mut PartitionProduceResponse, texts: &mut Texts) {
    row.error_message.take_if(|_| !texts.tell());
    let told = texts.tell_some(row.record_errors.len());
    row.record_errors.truncate(told);
    row.record_errors.shrink_to_fit();
}

/// Why no partition of the request may be written.
fn refuse_whole(context: &RequestContext, request: &ProduceRequest<'_>) -> Option<ErrorCode> {
    let topics = request.topic_data.into_iter();
    let mut partitions = topics.flat_map(|topic| topic.partition_data);
    if partitions.any(|partition| is_transactional(partition.records)) {
        let id = request.transactional_id.unwrap_or_default();
        context.authorize(Operation::Write, Resource::TransactionalId(id));
        return Some(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    (!matches!(request.acks, -1..=1)).then_some(ErrorCode::InvalidRequiredAcks)
}

/// Whether a batch says to belong to a transaction; one that can't be read is refused later.
fn is_transactional(records: Option<&[u8]>) -> bool {
    let header = records.and_then(|bytes| BatchHeader::parse(bytes).ok());
    header.is_some_and(|header| header.is_transactional())
}

/// The row of a partition that isn't written.
fn refused(index: i32, code: ErrorCode, message: Option<&str>) -> PartitionProduceResponse {
    let mut row = PartitionProduceResponse::default();
    row.index = index;
    row.error_code = code.code();
    row.error_message = message.map(StrBytes::from);
    row.base_offset = -1;
    row.log_append_time_ms = -1;
    row.log_start_offset = -1;
    row
}

/// The topic and its configuration, if the client may write to it.
fn writable<'i>(
    context: &RequestContext,
    image: &'i Image,
    data: &TopicProduceData<'_>,
) -> Result<(&'i Topic, Arc<TopicConfig>), ErrorCode> {
    let topic = if context.api_version >= TOPIC_IDS_FROM {
        image
            .topic(data.topic_id)
            .ok_or(ErrorCode::UnknownTopicId)?
    } else if context.authorize(Operation::Write, Resource::Topic(data.name)) {
        image
            .topic_named(data.name)
            .ok_or(ErrorCode::UnknownTopicOrPartition)?
    } else {
        return Err(ErrorCode::TopicAuthorizationFailed);
    };
    if !context.authorize(Operation::Write, Resource::Topic(&topic.name)) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    if is_internal(&topic.name) && &*context.client_id != ADMIN_CLIENT {
        return Err(ErrorCode::InvalidTopicException);
    }
    let config = context.node.partitions.topic_config(image, topic);
    Ok((topic, config.ok_or(ErrorCode::UnknownServerError)?))
}

impl<'a> Terms<'a> {
    fn new(context: &RequestContext, config: &TopicConfig, body: &'a Bytes, acks: Acks) -> Self {
        let now_ms = context.node.host.clock.now().wall_ms;
        Self {
            body,
            acks,
            rules: produce_rules(&context.node.config, config, context.api_version, now_ms),
            target: target(config),
            segment_bytes: config.segment_bytes as usize,
        }
    }
}

async fn append(
    context: &RequestContext,
    topic: &Topic,
    data: &PartitionProduceData<'_>,
    terms: &Terms<'_>,
) -> Row {
    match try_append(context, topic, data, terms).await {
        Ok(row) => row,
        Err(row) => (*row, None),
    }
}

/// The row of one partition; an error is the row of one that was refused.
async fn try_append(
    context: &RequestContext,
    topic: &Topic,
    data: &PartitionProduceData<'_>,
    terms: &Terms<'_>,
) -> Result<Row, Box<PartitionProduceResponse>> {
    let node = &context.node;
    let refuse = |code, message: Option<&str>| Box::new(refused(data.index, code, message));
    if !topic.partitions.contains_key(&data.index) {
        return Err(refuse(ErrorCode::UnknownTopicOrPartition, None));
    }
    let (bytes, produced) = match checked(context, data, terms) {
        Ok(checked) => checked,
        Err(mut refusal) => {
            if refusal.read {
                refusal.row.log_start_offset = log_start(context, topic, data.index).await;
            }
            return Err(refusal.row);
        }
    };
    let open = node.partitions.get(topic, data.index).await;
    let open = open.map_err(|error| {
        let (code, message) = not_served(&error);
        refuse(code, Some(message))
    })?;
    let appended = append_when_free(context, &open, (&bytes, &produced), terms.acks).await;
    let appended = appended.map_err(|error| {
        node.metrics.produce.rejected.inc();
        if let Refused::Log(AppendError::Failed(reason)) = &error {
            let partition = data.index;
            tracing::error!(topic = &*topic.name, partition, reason, "append failed");
        }
        let (code, message) = append_error(&error);
        let mut row = refuse(code, Some(&message));
        if matches!(&error, Refused::Reject(reject) if !matches!(reject, Reject::Unserved(_))) {
            row.log_start_offset = open.measure().map_or(-1, |shown| shown.log_start);
        }
        row
    })?;
    let duplicate_of_ms = appended.duplicate_of_ms;
    count(context, &produced, bytes.len(), duplicate_of_ms.is_some());
    let log_append_time = terms.rules.timestamp_type == records::TimestampType::LogAppendTime;
    let mut row = PartitionProduceResponse::default();
    row.index = data.index;
    row.base_offset = appended.base_offset;
    row.log_start_offset = appended.log_start;
    row.log_append_time_ms = match duplicate_of_ms {
        Some(ms) => ms,
        None if log_append_time => terms.rules.now_ms,
        None => -1,
    };
    Ok((row, appended.wait))
}

/// Where the log of a partition starts, of which a batch is refused; -1 if that can't be said.
async fn log_start(context: &RequestContext, topic: &Topic, partition: i32) -> i64 {
    let open = context.node.partitions.get(topic, partition).await;
    let shown = open.ok().and_then(|open| open.measure().ok());
    shown.map_or(-1, |shown| shown.log_start)
}

/// Appends once the directory takes more, and the end of the log does not move to another one.
async fn append_when_free(
    context: &RequestContext,
    open: &Arc<OpenPartition>,
    (bytes, produced): (&Bytes, &Produced),
    acks: Acks,
) -> Result<Appended, Refused> {
    let node = &context.node;
    let clock = &node.host.clock;
    let mut holds = 0;
    loop {
        open.below_unflushed_limit().await;
        let start = clock.now().mono;
        let appended = open.append(bytes, produced, acks);
        if clock.now().mono.since(start) > STALL {
            node.metrics.produce.stalls.inc();
        }
        if !matches!(appended, Err(Refused::Held)) || holds == HOLDS_MAX {
            return appended;
        }
        holds += 1;
        open.until_released().await;
    }
}

/// Why a batch isn't stored.
struct NotStored {
    row: Box<PartitionProduceResponse>,
    /// It was read as one batch and is refused for what it says: Kafka's log tells its start then.
    read: bool,
}

/// The batch as it is to be stored, if it may be.
fn checked(
    context: &RequestContext,
    data: &PartitionProduceData<'_>,
    terms: &Terms<'_>,
) -> Result<(Bytes, Produced), NotStored> {
    let node = &context.node;
    let rejected = |row: PartitionProduceResponse| {
        node.metrics.produce.rejected.inc();
        let row = Box::new(row);
        NotStored { row, read: false }
    };
    let judged = |refusal: &Refusal| NotStored {
        read: matches!(
            refusal,
            Refusal::Invalid(_)
                | Refusal::Unreadable(_)
                | Refusal::Records(_)
                | Refusal::Timestamps(_)
        ),
        ..rejected(bad_batch(data.index, refusal))
    };
    let bytes = data.records.map(|records| terms.body.slice_ref(records));
    let bytes = bytes.unwrap_or_default();
    let stored = node.scratches.with(|scratch| {
        let produced =
            check_produced(&bytes, &terms.rules, scratch).map_err(|refusal| judged(&refusal))?;
        stored(bytes, &produced, terms.target, scratch).map_err(|error| {
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
fn bad_batch(index: i32, refusal: &Refusal) -> PartitionProduceResponse {
    let mut row = refused(index, refusal.error_code(), Some(&refusal.to_string()));
    row.record_errors = refusal
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
    row: &mut PartitionProduceResponse,
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
            row.log_start_offset = outcome.log_start;
            return;
        }
        Some(Err(reject)) => (reject.code(), reject.to_string()),
        None => (
            ErrorCode::RequestTimedOut,
            "written, but not acknowledged within the request's timeout".to_owned(),
        ),
    };
    *row = refused(row.index, rejected.0, Some(&rejected.1));
}

/// All rows of an answer.
fn rows(response: &ProduceResponse) -> impl Iterator<Item = &PartitionProduceResponse> {
    let topics = response.responses.iter();
    topics.flat_map(|topic| &topic.partition_responses)
}

fn without_reply(context: &RequestContext, response: &ProduceResponse) -> Result<Outcome, Close> {
    context.count_errors(rows(response).map(|row| row.error_code));
    match rows(response).find(|row| row.error_code != 0) {
        None => Ok(Outcome::NoReply),
        Some(row) => Err(Close::failed_without_reply(format!(
            "acks=0 to partition {}: error {}",
            row.index, row.error_code
        ))),
    }
}

fn encoded(context: &RequestContext, response: &ProduceResponse) -> Reply {
    context.count_errors(rows(response).map(|row| row.error_code));
    let body = messages::encode(response, context.api_version)
        .expect("every field that isn't in a version is at its default there");
    Reply::bytes(body)
}
