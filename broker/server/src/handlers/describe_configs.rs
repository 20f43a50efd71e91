//! `DescribeConfigs` (key 32), versions 1–4: configurations with where each value comes from.
//!
//! - A topic's by anyone who may see it; a broker's own by that broker only, and with the empty name
//!   what is set for all brokers. A resource is described once in an answer.
//! - v1: what each value was chosen from, when asked. v3: type and documentation.
//! - A broker's loggers by that broker only: their levels.
//! - Groups and client metrics have Kafka's keys with their defaults, of which nothing else is taken.

use std::collections::BTreeSet;

use bytes::Bytes;
use millrace_config::{Described, Fixed, Origin, Overrides, describe_cluster};
use millrace_core::cluster::{Refusal, check_topic_name};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use millrace_protocol::messages::{DescribeConfigsResponse, StrBytes};
use millrace_protocol::requests::DescribeConfigsRequest;
use millrace_protocol::requests::describe_configs::DescribeConfigsResource;

use super::answers::Texts;
use super::broker_loggers;
use super::config_kinds::{Kind, check_broker, refusal};
use super::{Pace, fixed, read, reply, slice};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome};

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: DescribeConfigsRequest<'_> = read(context, &body).await?;
    let mut response = DescribeConfigsResponse::default();
    response.results.reserve_exact(request.resources.len());
    let mut texts = Texts::default();
    let mut pace = Pace::default();
    let mut seen = BTreeSet::new();
    for resource in request.resources {
        let mut result = DescribeConfigsResult::default();
        result.error_message = None;
        result.resource_type = resource.resource_type;
        result.resource_name = slice(&body, resource.resource_name);
        let described = if seen.insert((resource.resource_type, resource.resource_name)) {
            describe(context, &request, &resource)
        } else {
            let words = "Each resource must appear at most once.";
            Err(refusal(ErrorCode::InvalidRequest, words))
        };
        match described {
            Ok(described) => {
                result.configs = described;
            }
            Err(refusal) => {
                result.error_code = refusal.code.code();
                result.error_message = texts.tell().then(|| StrBytes::from(refusal.message));
            }
        }
        response.results.push(result);
        pace.step().await;
    }
    context.count_errors(response.results.iter().map(|result| result.error_code));
    reply(context, &response)
}

/// The rows that are asked for of one resource.
fn describe(
    context: &RequestContext,
    request: &DescribeConfigsRequest<'_>,
    resource: &DescribeConfigsResource<'_>,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    // As in Kafka, no keys are all keys.
    let keys = resource.configuration_keys.filter(|keys| !keys.is_empty());
    let asked = |name: &str| keys.is_none_or(|keys| keys.into_iter().any(|key| key == name));
    let kind = Kind::from_kafka(resource.resource_type)?;
    if kind == Kind::BrokerLogger {
        authorized(context)?;
        check_broker(resource.resource_name, context.node.config.node.id)?;
        let mut rows = broker_loggers::describe(context);
        rows.retain(|row| asked(&row.name));
        return Ok(rows);
    }
    let described = keys_of(context, kind, resource.resource_name)?;
    let described = described.into_iter().filter(|one| asked(one.key.name));
    Ok(described.map(|one| row(request, one)).collect())
}

fn authorized(context: &RequestContext) -> Result<(), Refusal> {
    if context.authorize(Operation::DescribeConfigs, Resource::Cluster) {
        return Ok(());
    }
    let words = "Cluster authorization failed.";
    Err(refusal(ErrorCode::ClusterAuthorizationFailed, words))
}

/// Every key of a resource, with its value.
fn keys_of(context: &RequestContext, kind: Kind, name: &str) -> Result<Vec<Described>, Refusal> {
    if kind == Kind::Topic {
        return describe_topic(context, name);
    }
    authorized(context)?;
    let empty = |words| Err(refusal(ErrorCode::InvalidRequest, words));
    let node = &context.node;
    match kind {
        Kind::Broker if name.is_empty() => {
            let image = node.cluster.image();
            let set = image.broker_config("");
            let set: Overrides = set
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect();
            Ok(describe_cluster(&set))
        }
        Kind::Broker => {
            check_broker(name, node.config.node.id)?;
            Ok(node.live_config().describe())
        }
        Kind::ClientMetrics if name.is_empty() => {
            empty("Client metrics subscription name must not be empty")
        }
        Kind::Group if name.is_empty() => empty("Group name must not be empty"),
        Kind::ClientMetrics => Ok(Fixed::ClientMetrics.describe()),
        Kind::Group => Ok(Fixed::Group.describe()),
        Kind::Topic | Kind::BrokerLogger => Ok(Vec::new()),
    }
}

fn describe_topic(context: &RequestContext, name: &str) -> Result<Vec<Described>, Refusal> {
    if !context.authorize(Operation::DescribeConfigs, Resource::Topic(name)) {
        let words = "Topic authorization failed.";
        return Err(refusal(ErrorCode::TopicAuthorizationFailed, words));
    }
    check_topic_name(name)
        .map_err(|error| refusal(ErrorCode::InvalidTopicException, &error.to_string()))?;
    let node = &context.node;
    let image = node.cluster.image();
    if image.topic_named(name).is_none() {
        let words = "This server does not host this topic-partition.";
        return Err(refusal(ErrorCode::UnknownTopicOrPartition, words));
    }
    let own = image.topic_config(name);
    let own: Overrides = own
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let config = node.partitions.broker_config(&image);
    config
        .describe_topic(&own)
        .map_err(|error| refusal(ErrorCode::UnknownServerError, &error.to_string()))
}

fn row(
    request: &DescribeConfigsRequest<'_>,
    described: Described,
) -> DescribeConfigsResourceResult {
    let key = described.key;
    let shown = |value: String| (!key.is_sensitive()).then(|| StrBytes::from(value));
    let mut row = DescribeConfigsResourceResult::default();
    row.name = fixed(key.name);
    row.value = described.value.and_then(shown);
    row.read_only = described.read_only;
    row.config_source = described.origin.kafka_id();
    row.is_sensitive = key.is_sensitive();
    row.config_type = key.kind.kafka_id();
    row.documentation = request.include_documentation.then(|| fixed(key.doc));
    if request.include_synonyms {
        // As in Kafka, what stands before the key that a topic's comes from (hours, where it is in
        // milliseconds) isn't told, though its value counts.
        let first = key.synonyms().first().map(|first| first.key);
        let mut begun = first.is_none();
        let mut told = described.synonyms;
        told.retain(|synonym| {
            begun |= Some(synonym.name) == first;
            begun || synonym.origin == Origin::Topic
        });
        let synonyms = told.into_iter().map(|synonym| {
            let mut told = DescribeConfigsSynonym::default();
            told.name = fixed(synonym.name);
            told.value = shown(synonym.value);
            told.source = synonym.origin.kafka_id();
            told
        });
        row.synonyms = synonyms.collect();
    }
    debug_assert!(
        described.origin != Origin::Topic || !row.read_only,
        "topics' keys change"
    );
    row
}
