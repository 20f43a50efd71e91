//! Metadata (key 3), versions 0–13: brokers, topics, partitions and who leads them.
//!
//! - v0: an empty list asks for all topics; from v1 null does, and an empty list for none.
//! - v4: the client says whether a missing topic may be made; before, it may. A topic that is made
//!   on the way is in the same answer.
//! - v10: topic ids in the answer; v12: and in the request, unknown ids get 100. Ids win over names.
//! - v5: offline replicas; v7: leader epochs; v8–10: the cluster's authorised operations.
//! - Addresses are those of the listener that the request came by.
//! - The rows of all topics are encoded once and shared ([`rows`], [`kept`]).

mod kept;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use millrace_core::cluster::{CreateTopic, Image, Partition, Topic, check_topic_name};
use millrace_core::group::OFFSETS_TOPIC;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;
use millrace_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use millrace_protocol::messages::{MetadataResponse, StrBytes};
use millrace_protocol::requests::metadata::MetadataRequestTopic;
use millrace_protocol::requests::{Array, MetadataRequest};

use super::create_topics::within;
use super::error::metadata_error;
use super::{Pace, cluster_operations, read, reply, slice, topic_operations};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, CloseReason, Outcome};
pub(crate) use kept::KeptRows;
use kept::Key;
use rows::{Rows, Seen};

/// First version in which an empty list of topics means none.
const EMPTY_IS_NONE_FROM: i16 = 1;
/// First version that tells which replicas are offline.
const OFFLINE_REPLICAS_FROM: i16 = 5;
/// What stands for operations that nobody asked for.
const NOT_ASKED: i32 = i32::MIN;
/// First version in which a request may name topics by id.
const TOPIC_IDS_FROM: i16 = 12;

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: MetadataRequest<'_> = read(context, &body).await?;
    let Some(asked) = asked(context.api_version, &request) else {
        return all_topics(context, &request).await;
    };
    if context.api_version < TOPIC_IDS_FROM && asked.into_iter().any(|topic| is_by_id(&topic)) {
        return refuse_ids(context, &body, asked).await;
    }
    let topics = topics(context, &body, &request, asked).await?;
    context.count_errors(topics.iter().map(|topic| topic.error_code));
    let mut response = around(context, &request, &context.node.cluster.image());
    response.topics = topics;
    reply(context, &response)
}

/// Whether a topic is asked for by its id, or by nothing.
fn is_by_id(topic: &MetadataRequestTopic<'_>) -> bool {
    topic.name.is_none() || !topic.topic_id.is_zero()
}

/// Answers who names topics by ids before they could be: with nothing of the cluster, as Kafka does.
async fn refuse_ids(
    context: &RequestContext,
    body: &Bytes,
    asked: Array<'_, MetadataRequestTopic<'_>>,
) -> Result<Outcome, Close> {
    let mut response = MetadataResponse::default();
    let mut pace = Pace::default();
    for topic in asked {
        let name = slice(body, topic.name.unwrap_or_default());
        let row = absent(Some(name), topic.topic_id, ErrorCode::InvalidRequest);
        response.topics.push(row);
        pace.step().await;
    }
    context.count_errors(response.topics.iter().map(|topic| topic.error_code));
    reply(context, &response)
}

/// Everything of an answer but its topics.
fn around(
    context: &RequestContext,
    request: &MetadataRequest<'_>,
    image: &Image,
) -> MetadataResponse {
    let mut response = MetadataResponse::default();
    response.brokers = brokers(context, image);
    response.cluster_id = Some(StrBytes::from(&*context.node.cluster_id));
    response.controller_id = context.node.config.node.id;
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = cluster_operations(context);
    }
    response
}

async fn all_topics(
    context: &RequestContext,
    request: &MetadataRequest<'_>,
) -> Result<Outcome, Close> {
    let version = context.api_version;
    let image = context.node.cluster.image();
    let asker = Asker {
        context,
        with_operations: request.include_topic_authorized_operations,
    };
    let key = Key {
        version,
        with_operations: asker.with_operations,
        principal: Arc::clone(&context.connection.principal.name),
    };
    let encode = Rows::encode(&image, version, &asker);
    let rows = context
        .node
        .metadata_rows
        .get(key, image.topology_offset(), encode)
        .await;
    let reply = rows.and_then(|rows| rows.reply(&around(context, request, &image), version));
    reply
        .map(Outcome::Ready)
        .map_err(|error| Close::new(CloseReason::Internal, error.to_string()))
}

/// Who wants to see all topics.
struct Asker<'a> {
    context: &'a RequestContext,
    with_operations: bool,
}

impl Seen for Asker<'_> {
    fn is_told(&self, topic: &Topic) -> bool {
        self.context
            .authorize(Operation::Describe, Resource::Topic(&topic.name))
    }

    fn operations(&self, topic: &Topic) -> i32 {
        if self.with_operations {
            topic_operations(self.context, &topic.name)
        } else {
            NOT_ASKED
        }
    }
}

/// The brokers that the client can reach by the listener it came by.
pub(super) fn brokers(context: &RequestContext, image: &Image) -> Vec<MetadataResponseBroker> {
    let own = context.node.config.node.id;
    let listener = &*context.connection.listener;
    image
        .brokers()
        .filter(|broker| !broker.fenced)
        .filter_map(|broker| {
            let mut row = MetadataResponseBroker::default();
            row.node_id = broker.id;
            if broker.id == own {
                row.host = StrBytes::from(context.connection.advertised.host.as_str());
                row.port = i32::from(context.connection.advertised.port);
            } else {
                let end_point = broker.end_points.iter().find(|e| e.name == listener)?;
                row.host = StrBytes::from(end_point.host.as_str());
                row.port = i32::from(end_point.port);
            }
            row.rack = broker.rack.as_deref().map(StrBytes::from);
            Some(row)
        })
        .collect()
}

/// The topics that are asked for; `None` for all.
pub(super) fn asked<'a>(
    version: i16,
    request: &MetadataRequest<'a>,
) -> Option<Array<'a, MetadataRequestTopic<'a>>> {
    let names_some = |asked: &Array<'_, _>| !asked.is_empty() || version >= EMPTY_IS_NONE_FROM;
    request.topics.filter(names_some)
}

async fn topics(
    context: &RequestContext,
    body: &Bytes,
    request: &MetadataRequest<'_>,
    asked: Array<'_, MetadataRequestTopic<'_>>,
) -> Result<Vec<MetadataResponseTopic>, Close> {
    let with_operations = request.include_topic_authorized_operations;
    let describe = |name: &str| context.authorize(Operation::Describe, Resource::Topic(name));
    let mut pace = Pace::default();
    let ids: BTreeSet<TopicId> = asked
        .into_iter()
        .map(|topic| topic.topic_id)
        .filter(|id| !id.is_zero())
        .collect();
    if !ids.is_empty() {
        return by_id(context, &ids, with_operations).await;
    }
    let mut names = Vec::new();
    let mut seen = BTreeSet::new();
    for topic in asked {
        let name = topic
            .name
            .ok_or_else(|| Close::unparsable("a topic has neither a name nor an id"))?;
        if seen.insert(name) {
            names.push(name);
        }
        pace.step().await;
    }
    let (allowed, denied): (Vec<&str>, Vec<&str>) = names.into_iter().partition(|n| describe(n));
    let mut rows = by_name(context, body, request, &allowed).await;
    let code = ErrorCode::TopicAuthorizationFailed;
    rows.extend(
        denied
            .into_iter()
            .map(|name| absent(Some(slice(body, name)), TopicId::ZERO, code)),
    );
    Ok(rows)
}

async fn by_id(
    context: &RequestContext,
    ids: &BTreeSet<TopicId>,
    with_operations: bool,
) -> Result<Vec<MetadataResponseTopic>, Close> {
    let image = context.node.cluster.image();
    let mut pace = Pace::default();
    let mut rows = Vec::with_capacity(ids.len());
    for id in ids {
        let topic = image
            .topic(*id)
            .filter(|t| context.authorize(Operation::Describe, Resource::Topic(&t.name)));
        rows.push(match topic {
            Some(topic) => described(context, &image, topic, with_operations),
            None => absent(None, *id, ErrorCode::UnknownTopicId),
        });
        pace.steps(elements(topic)).await;
    }
    Ok(rows)
}

async fn by_name(
    context: &RequestContext,
    body: &Bytes,
    request: &MetadataRequest<'_>,
    names: &[&str],
) -> Vec<MetadataResponseTopic> {
    let with_operations = request.include_topic_authorized_operations;
    let before = context.node.cluster.image();
    let missing: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| before.topic_named(name).is_none())
        .collect();
    let mut refused = BTreeMap::new();
    if !missing.is_empty()
        && request.allow_auto_topic_creation
        && context.node.config.topics.auto_create
    {
        refused = create(context, &missing).await;
    }
    let image = context.node.cluster.image();
    let mut pace = Pace::default();
    let mut rows = Vec::with_capacity(names.len());
    for name in names {
        let topic = image.topic_named(name);
        rows.push(if let Some(topic) = topic {
            described(context, &image, topic, with_operations)
        } else {
            let known = refused.get(name).copied();
            let code = known.unwrap_or_else(|| unknown(name));
            absent(Some(slice(body, name)), TopicId::ZERO, code)
        });
        pace.steps(elements(topic)).await;
    }
    rows
}

/// What describing a topic counts for in an effect's pace.
fn elements(topic: Option<&Topic>) -> usize {
    1 + topic.map_or(0, |topic| topic.partitions.size())
}

/// Why a topic isn't there: its name can't be a topic's, or nobody made it.
fn unknown(name: &str) -> ErrorCode {
    match check_topic_name(name) {
        Ok(()) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    }
}

/// Makes topics with the broker's defaults; gives back those that weren't made, and why.
async fn create<'n>(context: &RequestContext, names: &[&'n str]) -> BTreeMap<&'n str, ErrorCode> {
    let allowed = |name: &str| {
        context.authorize(Operation::Create, Resource::Cluster)
            || context.authorize(Operation::Create, Resource::Topic(name))
    };
    let (wanted, denied): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| allowed(name));
    let wish = |name: &&str| CreateTopic {
        name: (*name).to_owned(),
        partitions: -1,
        replication_factor: -1,
        ..CreateTopic::default()
    };
    let node = &context.node;
    let mut refused: BTreeMap<_, _> = denied
        .into_iter()
        .map(|name| (name, ErrorCode::TopicAuthorizationFailed))
        .collect();
    let config = &node.config.topics;
    if let Err(message) = within(config, wanted.len() as u64 * u64::from(config.partitions)) {
        tracing::warn!(message, "topics were not made");
        // Nobody made them: that is what the answer says.
        return refused;
    }
    let wishes: Vec<CreateTopic> = wanted.iter().map(wish).collect();
    match node
        .cluster
        .create_topics(&node.host, &node.live_config(), &wishes, false)
        .await
    {
        Ok(outcomes) => {
            for (name, outcome) in wanted.into_iter().zip(outcomes) {
                match outcome {
                    // Another connection may have made it in between; the metadata log's name is
                    // no topic's, and one that collides with another's is not made: Kafka calls
                    // both unknown here.
                    Ok(_)
                    | Err(millrace_core::cluster::Refusal {
                        code:
                            ErrorCode::TopicAlreadyExists
                            | ErrorCode::InvalidRequest
                            | ErrorCode::InvalidTopicException,
                        ..
                    }) => {}
                    Err(refusal) => {
                        refused.insert(name, refusal.code);
                    }
                }
            }
        }
        Err(error) => {
            tracing::warn!(%error, "topics were not made");
            let code = metadata_error(&error).0;
            refused.extend(wanted.into_iter().map(|name| (name, code)));
        }
    }
    refused
}

fn absent(name: Option<StrBytes>, id: TopicId, code: ErrorCode) -> MetadataResponseTopic {
    let mut row = MetadataResponseTopic::default();
    row.error_code = code.code();
    row.name = name;
    row.topic_id = id.into();
    row
}

fn described(
    context: &RequestContext,
    image: &Image,
    topic: &Topic,
    with_operations: bool,
) -> MetadataResponseTopic {
    let operations = if with_operations {
        topic_operations(context, &topic.name)
    } else {
        NOT_ASKED
    };
    let mut row = topic_row(topic, operations);
    let partitions = topic.partitions.iter();
    row.partitions = partitions
        .map(|(index, partition)| partition_row(image, context.api_version, *index, partition))
        .collect();
    row
}

/// A topic's row without its partitions.
fn topic_row(topic: &Topic, operations: i32) -> MetadataResponseTopic {
    let mut row = MetadataResponseTopic::default();
    row.name = Some(StrBytes::from(&*topic.name));
    row.topic_id = topic.id.into();
    row.is_internal = is_internal(&topic.name);
    row.topic_authorized_operations = operations;
    row
}

fn partition_row(
    image: &Image,
    version: i16,
    index: i32,
    partition: &Partition,
) -> MetadataResponsePartition {
    let mut row = MetadataResponsePartition::default();
    row.partition_index = index;
    row.leader_id = partition.leader;
    row.leader_epoch = partition.leader_epoch;
    row.replica_nodes.clone_from(&partition.replicas);
    row.isr_nodes.clone_from(&partition.isr);
    if version >= OFFLINE_REPLICAS_FROM {
        row.offline_replicas = image.offline_replicas(partition).collect();
    }
    if partition.leader < 0 {
        row.error_code = ErrorCode::LeaderNotAvailable.code();
    }
    row
}

/// Topics that the broker keeps for itself; clients may read and not write them.
pub(crate) fn is_internal(name: &str) -> bool {
    matches!(
        name,
        OFFSETS_TOPIC | "__transaction_state" | "__share_group_state"
    )
}
