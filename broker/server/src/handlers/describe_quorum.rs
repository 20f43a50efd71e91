//! `DescribeQuorum` (key 55), versions 0–2: who keeps the metadata log, and how far (KIP-595).
//!
//! - One node is a quorum of one, and leads it. It is asked for partition 0 of
//!   `__cluster_metadata`, alone; a request for anything else or more gets 3 for each partition.
//! - v1: when the voter was last heard of, which is now. v2: directory ids, words, and where the
//!   node listens: there is no listener for controllers, so it is the one that the client came by.

use bytes::Bytes;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use millrace_protocol::messages::{DescribeQuorumResponse, StrBytes};
use millrace_protocol::requests::DescribeQuorumRequest;

use super::{Pace, fixed, read, reply, slice};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome};

/// Name of the topic that the metadata log is of.
const METADATA_TOPIC: &str = "__cluster_metadata";
/// First version that tells when a replica was last heard of.
const TIMES_FROM: i16 = 1;
/// First version with directory ids, words and nodes.
const NODES_FROM: i16 = 2;

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: DescribeQuorumRequest<'_> = read(context, &body).await?;
    let mut response = DescribeQuorumResponse::default();
    if !context.authorize(Operation::Describe, Resource::Cluster) {
        response.error_code = ErrorCode::ClusterAuthorizationFailed.code();
        context.count_errors([response.error_code]);
        return reply(context, &response);
    }
    let has_words = context.api_version >= NODES_FROM;
    response.error_message = has_words.then(|| fixed(""));
    let is_quorum = is_metadata_log(&request);
    let mut pace = Pace::default();
    response.topics.reserve_exact(request.topics.len());
    for topic in request.topics {
        let mut rows = TopicData::default();
        rows.topic_name = slice(&body, topic.topic_name);
        rows.partitions.reserve_exact(topic.partitions.len());
        for partition in topic.partitions {
            let mut row = PartitionData::default();
            row.partition_index = partition.partition_index;
            if is_quorum {
                row.error_message = has_words.then(|| fixed(""));
                describe(context, &mut row);
            } else {
                let words = "This server does not host this topic-partition.";
                row.error_code = ErrorCode::UnknownTopicOrPartition.code();
                row.error_message = has_words.then(|| fixed(words));
            }
            rows.partitions.push(row);
            pace.step().await;
        }
        context.count_errors(rows.partitions.iter().map(|row| row.error_code));
        response.topics.push(rows);
        pace.step().await;
    }
    if is_quorum && context.api_version >= NODES_FROM {
        response.nodes = vec![node(context)];
    }
    reply(context, &response)
}

/// Whether partition 0 of the metadata log is asked for, and nothing else.
fn is_metadata_log(request: &DescribeQuorumRequest<'_>) -> bool {
    let mut topics = request.topics.into_iter();
    let (Some(topic), None) = (topics.next(), topics.next()) else {
        return false;
    };
    let mut partitions = topic.partitions.into_iter();
    let only = partitions.next().map(|partition| partition.partition_index);
    topic.topic_name == METADATA_TOPIC && only == Some(0) && partitions.next().is_none()
}

fn describe(context: &RequestContext, row: &mut PartitionData) {
    let node = &context.node;
    let (committed, end) = node.cluster.ends();
    row.leader_id = node.config.node.id;
    row.leader_epoch = node.cluster.term();
    row.high_watermark = committed;
    let mut voter = ReplicaState::default();
    voter.replica_id = node.config.node.id;
    voter.log_end_offset = end;
    if context.api_version >= TIMES_FROM {
        let now = node.host.clock.now().wall_ms;
        voter.last_fetch_timestamp = now;
        voter.last_caught_up_timestamp = now;
    }
    if context.api_version >= NODES_FROM {
        voter.replica_directory_id = node.metadata_directory.into();
    }
    row.current_voters = vec![voter];
}

fn node(context: &RequestContext) -> Node {
    let connection = &context.connection;
    let mut listener = Listener::default();
    listener.name = StrBytes::from(&*connection.listener);
    listener.host = StrBytes::from(connection.advertised.host.as_str());
    listener.port = connection.advertised.port;
    let mut node = Node::default();
    node.node_id = context.node.config.node.id;
    node.listeners = vec![listener];
    node
}
