//! `DescribeTopicPartitions` (key 75), version 0: topics and who leads their partitions, a page at a
//! time (KIP-966).
//!
//! - Topics come in order of their names, each once; an empty list asks for all. A page has as many
//!   partitions as the client asks for, at least one and at most
//!   `max.request.partition.size.limit` (2000); where there is more, the answer says where the next
//!   one begins.
//! - The cursor's topic must be among those that are asked for, and its partition not below zero:
//!   else every topic gets 42.
//! - A topic that the client may not describe is left out of all topics, and is 29 by name.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use millrace_core::cluster::{Image, Partition, Topic, check_topic_name};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use millrace_protocol::messages::{DescribeTopicPartitionsResponse, StrBytes};
use millrace_protocol::requests::DescribeTopicPartitionsRequest;

use super::metadata::is_internal;
use super::{Pace, read, reply, slice, topic_operations};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome};

/// Most partitions of a page, Kafka's default of `max.request.partition.size.limit`.
const PAGE_PARTITIONS_MAX: i32 = 2000;

/// How many partitions a page has at most.
pub(super) fn page_partitions(request: &DescribeTopicPartitionsRequest<'_>) -> usize {
    let asked = request
        .response_partition_limit
        .clamp(1, PAGE_PARTITIONS_MAX);
    usize::try_from(asked).unwrap_or(1)
}

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: DescribeTopicPartitionsRequest<'_> = read(context, &body).await?;
    let (mut pace, mut names) = (Pace::default(), BTreeSet::new());
    for topic in request.topics {
        names.insert(topic.name);
        pace.step().await;
    }
    let from = request.cursor.map_or("", |cursor| cursor.topic_name);
    let in_list = names.is_empty() || names.contains(from);
    if request
        .cursor
        .is_some_and(|cursor| cursor.partition_index < 0 || !in_list)
    {
        let mut response = DescribeTopicPartitionsResponse::default();
        response.topics.reserve_exact(request.topics.len());
        for topic in request.topics {
            let name = slice(&body, topic.name);
            let row = absent(name, ErrorCode::InvalidRequest);
            response.topics.push(row);
            pace.step().await;
        }
        return answer(context, &response);
    }
    let mut page = Page {
        context,
        image: context.node.cluster.image(),
        response: DescribeTopicPartitionsResponse::default(),
        left: page_partitions(&request),
        begin: request.cursor.map(|at| (at.topic_name, at.partition_index)),
    };
    let image = Arc::clone(&page.image);
    let may = |name: &str| context.authorize(Operation::Describe, Resource::Topic(name));
    if names.is_empty() {
        let mut topics = image.topics_from(from).filter(|topic| may(&topic.name));
        while let Some(topic) = topics.next().filter(|topic| page.is_open(&topic.name)) {
            let described = page.describe(StrBytes::from(&*topic.name), topic);
            pace.steps(described).await;
        }
        return answer(context, &page.response);
    }
    page.response.topics.reserve_exact(names.len());
    let mut allowed = names.range(from..).filter(|name| may(name));
    while let Some(name) = allowed.next().filter(|name| page.is_open(name)) {
        let described = page.describe_named(&body, name);
        pace.steps(described).await;
    }
    for name in names.range(from..).filter(|name| !may(name)) {
        let row = absent(slice(&body, name), ErrorCode::TopicAuthorizationFailed);
        page.response.topics.push(row);
        pace.step().await;
    }
    answer(context, &page.response)
}

fn answer(
    context: &RequestContext,
    response: &DescribeTopicPartitionsResponse,
) -> Result<Outcome, Close> {
    context.count_errors(response.topics.iter().map(|topic| topic.error_code));
    reply(context, response)
}

fn absent(name: StrBytes, code: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    let mut row = DescribeTopicPartitionsResponseTopic::default();
    row.name = Some(name);
    row.error_code = code.code();
    row
}

/// A page that is being filled.
struct Page<'a> {
    context: &'a RequestContext,
    image: Arc<Image>,
    response: DescribeTopicPartitionsResponse,
    /// How many partitions still fit.
    left: usize,
    /// Where the client wants it to begin.
    begin: Option<(&'a str, i32)>,
}

impl Page<'_> {
    /// Whether the topic's row still fits; the next page begins with it else.
    fn is_open(&mut self, name: &str) -> bool {
        if self.response.next_cursor.is_some() {
            return false;
        }
        if self.left == 0 {
            self.goes_on_at(name, 0);
        }
        self.left > 0
    }

    fn goes_on_at(&mut self, name: &str, partition: i32) {
        let mut cursor = Cursor::default();
        cursor.topic_name = StrBytes::from(name);
        cursor.partition_index = partition;
        self.response.next_cursor = Some(cursor);
    }

    /// Adds a topic that may be missing; gives how many elements that are.
    fn describe_named(&mut self, body: &Bytes, name: &str) -> usize {
        let image = Arc::clone(&self.image);
        if let Some(topic) = image.topic_named(name) {
            return self.describe(slice(body, name), topic);
        }
        let code = match check_topic_name(name) {
            Ok(()) => ErrorCode::UnknownTopicOrPartition,
            Err(_) => ErrorCode::InvalidTopicException,
        };
        let mut row = absent(slice(body, name), code);
        row.topic_authorized_operations = topic_operations(self.context, name);
        self.response.topics.push(row);
        1
    }

    /// Adds a topic with the partitions that fit; gives how many elements that are.
    fn describe(&mut self, name: StrBytes, topic: &Topic) -> usize {
        let first = match self.begin {
            Some((begin, partition)) if *begin == *topic.name => partition,
            _ => 0,
        };
        let mut row = DescribeTopicPartitionsResponseTopic::default();
        row.name = Some(name);
        row.topic_id = topic.id.into();
        row.is_internal = is_internal(&topic.name);
        row.topic_authorized_operations = topic_operations(self.context, &topic.name);
        for (index, partition) in topic.partitions.range(first..) {
            if self.left == 0 {
                self.goes_on_at(&topic.name, *index);
                break;
            }
            self.left -= 1;
            row.partitions
                .push(described(&self.image, *index, partition));
        }
        let elements = 1 + row.partitions.len();
        self.response.topics.push(row);
        elements
    }
}

fn described(
    image: &Image,
    index: i32,
    partition: &Partition,
) -> DescribeTopicPartitionsResponsePartition {
    let mut row = DescribeTopicPartitionsResponsePartition::default();
    row.partition_index = index;
    row.leader_id = partition.leader;
    row.leader_epoch = partition.leader_epoch;
    row.replica_nodes.clone_from(&partition.replicas);
    row.isr_nodes.clone_from(&partition.isr);
    row.eligible_leader_replicas = Some(Vec::new());
    row.last_known_elr = Some(Vec::new());
    row.offline_replicas = image.offline_replicas(partition).collect();
    if partition.leader < 0 {
        row.error_code = ErrorCode::LeaderNotAvailable.code();
    }
    row
}
