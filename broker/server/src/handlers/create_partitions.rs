//! `CreatePartitions` (key 37), versions 0–3: adds partitions to topics, each with its own outcome
//! (KIP-195).
//!
//! - All topics of a request that may grow do so in one atomic step. `validate_only` does all but
//!   that.
//! - A topic that is named twice is refused once for both. `timeout_ms` must be above zero, else 7:
//!   what this broker does by itself is waited for in any case.
//! - More partitions than `create.partitions.per.request.max` in one request: all of it is refused.

use std::collections::BTreeMap;

use bytes::Bytes;
use millrace_core::cluster::{GrowTopic, Image, Refusal};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use millrace_protocol::messages::{CreatePartitionsResponse, StrBytes};
use millrace_protocol::requests::create_partitions::CreatePartitionsTopic;
use millrace_protocol::requests::{Array, CreatePartitionsRequest};

use super::answers::Texts;
use super::create_topics::within;
use super::error::metadata_error;
use super::{Pace, read, reply, slice};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome};

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: CreatePartitionsRequest<'_> = read(context, &body).await?;
    let mut rows = Rows {
        body: &body,
        texts: Texts::default(),
        results: Vec::with_capacity(request.topics.len()),
    };
    let mut pace = Pace::default();
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in request.topics {
        *times.entry(topic.name).or_default() += 1;
        pace.step().await;
    }
    for (name, _) in times.iter().filter(|(_, times)| **times > 1) {
        rows.refuse(name, ErrorCode::InvalidRequest, "Duplicate topic name.");
    }
    let mut wanted = Vec::new();
    for topic in request.topics.into_iter().filter(|t| times[t.name] == 1) {
        if context.authorize(Operation::Alter, Resource::Topic(topic.name)) {
            wanted.push(topic);
        } else {
            rows.refuse(topic.name, ErrorCode::TopicAuthorizationFailed, "");
        }
        pace.step().await;
    }
    let image = context.node.cluster.image();
    let added = added_in_all(&image, request.topics);
    let refused = if request.timeout_ms <= 0 {
        Some((ErrorCode::RequestTimedOut, String::new()))
    } else {
        let within = within(&context.node.config.topics, added);
        within
            .err()
            .map(|words| (ErrorCode::PolicyViolation, words))
    };
    let outcomes = match refused {
        Some(refused) => Err(refused),
        None => grow(context, &wanted, request.validate_only).await,
    };
    for (at, topic) in wanted.iter().enumerate() {
        match &outcomes {
            Err((code, message)) => rows.refuse(topic.name, *code, message),
            Ok(outcomes) => rows.push(topic.name, &outcomes[at]),
        }
        pace.step().await;
    }
    let mut response = CreatePartitionsResponse::default();
    response.results = rows.results;
    context.count_errors(response.results.iter().map(|topic| topic.error_code));
    reply(context, &response)
}

async fn grow(
    context: &RequestContext,
    wanted: &[CreatePartitionsTopic<'_>],
    validate_only: bool,
) -> Result<Vec<Result<(), Refusal>>, (ErrorCode, String)> {
    let node = &context.node;
    let topics: Vec<GrowTopic> = wanted.iter().map(wish).collect();
    let outcomes = node
        .cluster
        .create_partitions(&node.host, &node.config, &topics, validate_only)
        .await;
    outcomes.map_err(|error| metadata_error(&error))
}

fn wish(topic: &CreatePartitionsTopic<'_>) -> GrowTopic {
    let assignments = topic.assignments.map(|assignments| {
        let assignments = assignments.into_iter();
        assignments
            .map(|assignment| assignment.broker_ids.into_iter().collect())
            .collect()
    });
    GrowTopic {
        name: topic.name.to_owned(),
        count: topic.count,
        assignments,
    }
}

/// How many partitions a request adds.
pub(super) fn added_in_all(image: &Image, topics: Array<'_, CreatePartitionsTopic<'_>>) -> u64 {
    let added = |topic: CreatePartitionsTopic<'_>| {
        let there = image.topic_named(topic.name)?.partitions.size();
        let there = i64::try_from(there).unwrap_or(i64::MAX);
        u64::try_from(i64::from(topic.count) - there).ok()
    };
    topics.into_iter().filter_map(added).sum()
}

/// The rows of an answer.
struct Rows<'a> {
    /// The request, of which names are slices.
    body: &'a Bytes,
    texts: Texts,
    results: Vec<CreatePartitionsTopicResult>,
}

impl Rows<'_> {
    fn push(&mut self, name: &str, outcome: &Result<(), Refusal>) {
        match outcome {
            Ok(()) => self.refuse(name, ErrorCode::None, ""),
            Err(refusal) => self.refuse(name, refusal.code, &refusal.message),
        }
    }

    fn refuse(&mut self, name: &str, code: ErrorCode, message: &str) {
        let mut row = CreatePartitionsTopicResult::default();
        row.name = slice(self.body, name);
        row.error_code = code.code();
        let told = !message.is_empty() && self.texts.tell();
        row.error_message = told.then(|| StrBytes::from(message));
        self.results.push(row);
    }
}
