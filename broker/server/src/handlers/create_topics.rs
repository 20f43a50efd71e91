//! `CreateTopics` (key 19), versions 2–7: makes topics, each with its own outcome.
//!
//! - All topics of a request that may be made are made in one atomic step (KIP-4).
//! - v4: -1 stands for the broker's default count and factor. v5: the answer says counts and
//!   configuration. v7: and the id.
//! - `validate_only` does all but make them. `timeout_ms` must be above zero, else 7 and nothing is
//!   made: what this broker does by itself is waited for in any case.

use bytes::Bytes;
use millrace_config::{TopicOverrides, TopicsConfig};
use millrace_core::cluster::{CreateTopic, Created, TopicOutcome};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use millrace_protocol::messages::{CreateTopicsResponse, StrBytes};
use millrace_protocol::requests::create_topics::CreatableTopic;
use millrace_protocol::requests::{Array, CreateTopicsRequest};

use super::answers::Texts;
use super::error::metadata_error;
use super::{Pace, fixed, read, reply, slice};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome};

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: CreateTopicsRequest<'_> = read(context, &body).await?;
    let mut response = CreateTopicsResponse::default();
    response.topics.reserve_exact(request.topics.len());
    let mut rows = Rows {
        body: &body,
        texts: Texts::default(),
    };
    let mut pace = Pace::default();
    let node = &context.node;
    let refused = if request.timeout_ms <= 0 {
        let words = "The request has no time.".to_owned();
        Some((ErrorCode::RequestTimedOut, words))
    } else {
        let within = within_one_request(&node.config.topics, request.topics);
        let words = within.err();
        words.map(|words| (ErrorCode::PolicyViolation, words))
    };
    if let Some((code, message)) = refused {
        let message = StrBytes::from(message);
        for topic in request.topics {
            let row = rows.refused(&topic, code, Some(&message));
            response.topics.push(row);
            pace.step().await;
        }
        context.count_errors(response.topics.iter().map(|topic| topic.error_code));
        return reply(context, &response);
    }
    let allowed = |topic: &CreatableTopic<'_>| {
        context.authorize(Operation::Create, Resource::Cluster)
            || context.authorize(Operation::Create, Resource::Topic(topic.name))
    };
    let (wanted, denied): (Vec<_>, Vec<_>) = request.topics.into_iter().partition(allowed);
    for topic in denied {
        let row = rows.refused(&topic, ErrorCode::TopicAuthorizationFailed, None);
        response.topics.push(row);
    }
    let topics: Vec<CreateTopic> = wanted.iter().map(wish).collect();
    let outcomes = node
        .cluster
        .create_topics(
            &node.host,
            &node.live_config(),
            &topics,
            request.validate_only,
        )
        .await;
    match outcomes {
        Ok(outcomes) => {
            for (topic, outcome) in wanted.iter().zip(outcomes) {
                response.topics.push(rows.of(context, topic, outcome));
                pace.step().await;
            }
        }
        Err(error) => {
            let (code, message) = metadata_error(&error);
            let message = StrBytes::from(message);
            let results = wanted
                .iter()
                .map(|topic| rows.refused(topic, code, Some(&message)));
            response.topics.extend(results);
        }
    }
    context.count_errors(response.topics.iter().map(|topic| topic.error_code));
    reply(context, &response)
}

/// How many partitions a request makes, if no more than one may; else why not. All of it is refused
/// then, as in Kafka. A topic counts at least as one.
pub(super) fn within_one_request(
    config: &TopicsConfig,
    topics: Array<'_, CreatableTopic<'_>>,
) -> Result<u64, String> {
    let of_topic = |topic: CreatableTopic<'_>| {
        let assigned = topic.assignments.len() as u64;
        let asked = match topic.num_partitions {
            -1 => u64::from(config.partitions),
            count => u64::try_from(count).unwrap_or(0),
        };
        if assigned > 0 { assigned } else { asked.max(1) }
    };
    within(config, topics.into_iter().map(of_topic).sum())
}

/// `partitions`, if one request may make so many.
pub(super) fn within(config: &TopicsConfig, partitions: u64) -> Result<u64, String> {
    let most = u64::from(config.request_partitions_max);
    if partitions <= most {
        return Ok(partitions);
    }
    Err(format!(
        "{partitions} partitions in one request; {most} are the most \
         (create.partitions.per.request.max)"
    ))
}

fn wish(topic: &CreatableTopic<'_>) -> CreateTopic {
    let configs = topic.configs.into_iter();
    CreateTopic {
        name: topic.name.to_owned(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .into_iter()
            .map(|assignment| {
                (
                    assignment.partition_index,
                    assignment.broker_ids.into_iter().collect(),
                )
            })
            .collect(),
        configs: configs
            .map(|config| (config.name.to_owned(), config.value.map(str::to_owned)))
            .collect(),
    }
}

/// Makes the rows of an answer.
struct Rows<'a> {
    /// The request, of which names are slices.
    body: &'a Bytes,
    texts: Texts,
}

impl Rows<'_> {
    fn refused(
        &mut self,
        topic: &CreatableTopic<'_>,
        code: ErrorCode,
        message: Option<&StrBytes>,
    ) -> CreatableTopicResult {
        let mut result = CreatableTopicResult::default();
        result.name = slice(self.body, topic.name);
        result.error_code = code.code();
        result.error_message = message.filter(|_| self.texts.tell()).cloned();
        result.num_partitions = -1;
        result.replication_factor = -1;
        result
    }

    fn of(
        &mut self,
        context: &RequestContext,
        topic: &CreatableTopic<'_>,
        outcome: TopicOutcome,
    ) -> CreatableTopicResult {
        let created = match outcome {
            Ok(created) => created,
            Err(refusal) => {
                let message = StrBytes::from(refusal.message);
                return self.refused(topic, refusal.code, Some(&message));
            }
        };
        let mut result = CreatableTopicResult::default();
        result.name = slice(self.body, topic.name);
        result.topic_id = created.id.into();
        result.num_partitions = created.partitions;
        result.replication_factor = created.replication_factor;
        if context.authorize(Operation::DescribeConfigs, Resource::Topic(topic.name)) {
            result.configs = Some(described(context, created));
        } else {
            result.topic_config_error_code = ErrorCode::TopicAuthorizationFailed.code();
            result.num_partitions = -1;
            result.replication_factor = -1;
        }
        result
    }
}

fn described(context: &RequestContext, created: Created) -> Vec<CreatableTopicConfigs> {
    let overrides: TopicOverrides = created.configs;
    // Checked before the topic was made.
    let config = context.node.live_config();
    let described = config.describe_topic(&overrides).unwrap_or_default();
    described
        .into_iter()
        .map(|described| {
            let mut config = CreatableTopicConfigs::default();
            config.name = fixed(described.key.name);
            config.value = described.value.as_deref().map(StrBytes::from);
            config.read_only = described.read_only;
            config.config_source = described.origin.kafka_id();
            config
        })
        .collect()
}
