//! `CreateTopics` (key 19), versions 2–7: makes topics, each with its own outcome.
//!
//! - All topics of a request that may be made are made in one atomic step (KIP-4).
//! - v4: -1 stands for the broker's default count and factor. v5: the answer says counts and
//!   configuration. v7: and the id.
//! - `validate_only` does all but make them.

use bytes::Bytes;
use millrace_config::{TopicOverrides, TopicsConfig};
use millrace_core::cluster::{CreateTopic, Created, TopicOutcome};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use millrace_protocol::messages::{CreateTopicsResponse, StrBytes};
use millrace_protocol::requests::CreateTopicsRequest;
use millrace_protocol::requests::create_topics::CreatableTopic;

use super::error::metadata_error;
use super::{read, reply};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome};

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: CreateTopicsRequest<'_> = read(context, &body)?;
    let mut response = CreateTopicsResponse::default();
    let allowed = |topic: &CreatableTopic<'_>| {
        context.authorize(Operation::Create, Resource::Cluster)
            || context.authorize(Operation::Create, Resource::Topic(topic.name))
    };
    let (wanted, denied): (Vec<_>, Vec<_>) = request.topics.into_iter().partition(allowed);
    for topic in denied {
        response
            .topics
            .push(refused(&topic, ErrorCode::TopicAuthorizationFailed, None));
    }
    let topics: Vec<CreateTopic> = wanted.iter().map(wish).collect();
    let node = &context.node;
    if let Err(message) = within_one_request(&node.config.topics, &topics) {
        let results = wanted
            .iter()
            .map(|topic| refused(topic, ErrorCode::PolicyViolation, Some(&message)));
        response.topics.extend(results);
        context.count_errors(response.topics.iter().map(|topic| topic.error_code));
        return reply(context, &response);
    }
    let outcomes = node
        .cluster
        .create_topics(&node.host, &node.config, &topics, request.validate_only)
        .await;
    match outcomes {
        Ok(outcomes) => {
            let results = wanted
                .iter()
                .zip(outcomes)
                .map(|(topic, o)| result(context, topic, o));
            response.topics.extend(results);
        }
        Err(error) => {
            let (code, message) = metadata_error(&error);
            let results = wanted
                .iter()
                .map(|topic| refused(topic, code, Some(message.as_str())));
            response.topics.extend(results);
        }
    }
    context.count_errors(response.topics.iter().map(|topic| topic.error_code));
    reply(context, &response)
}

/// Whether a request makes no more partitions than one may; else why not. All of it is refused
/// then, as in Kafka.
pub(super) fn within_one_request(
    config: &TopicsConfig,
    topics: &[CreateTopic],
) -> Result<(), String> {
    let of_topic = |topic: &CreateTopic| {
        let assigned = topic.assignments.len() as u64;
        let asked = match topic.partitions {
            -1 => u64::from(config.partitions),
            count => u64::try_from(count).unwrap_or(0),
        };
        if assigned > 0 { assigned } else { asked }
    };
    let total: u64 = topics.iter().map(of_topic).sum();
    let most = u64::from(config.request_partitions_max);
    if total <= most {
        return Ok(());
    }
    Err(format!(
        "{total} partitions in one request; {most} are the most (create.partitions.per.request.max)"
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

fn refused(
    topic: &CreatableTopic<'_>,
    code: ErrorCode,
    message: Option<&str>,
) -> CreatableTopicResult {
    let mut result = CreatableTopicResult::default();
    result.name = StrBytes::from(topic.name);
    result.error_code = code.code();
    result.error_message = message.map(StrBytes::from);
    result.num_partitions = -1;
    result.replication_factor = -1;
    result
}

fn result(
    context: &RequestContext,
    topic: &CreatableTopic<'_>,
    outcome: TopicOutcome,
) -> CreatableTopicResult {
    match outcome {
        Err(refusal) => refused(topic, refusal.code, Some(&refusal.message)),
        Ok(created) => {
            let mut result = CreatableTopicResult::default();
            result.name = StrBytes::from(topic.name);
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
}

fn described(context: &RequestContext, created: Created) -> Vec<CreatableTopicConfigs> {
    let overrides: TopicOverrides = created.configs;
    // Checked before the topic was made.
    let described = context
        .node
        .config
        .describe_topic(&overrides)
        .unwrap_or_default();
    described
        .into_iter()
        .map(|described| {
            let mut config = CreatableTopicConfigs::default();
            config.name = StrBytes::from(described.key.name);
            config.value = described.value.as_deref().map(StrBytes::from);
            config.read_only = described.read_only;
            config.config_source = described.origin.kafka_id();
            config
        })
        .collect()
}
