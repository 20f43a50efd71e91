//! One file per API: read in place, take room for the answer, authorise, run what core decides,
//! encode. No handler decides itself.

pub(crate) mod alter_configs;
pub(crate) mod alter_partition_reassignments;
pub(crate) mod alter_replica_log_dirs;
mod answers;
pub(crate) mod api_versions;
mod broker_loggers;
mod config_kinds;
mod config_resources;
pub(crate) mod create_acls;
pub(crate) mod create_delegation_token;
pub(crate) mod create_partitions;
pub(crate) mod create_topics;
pub(crate) mod delete_acls;
pub(crate) mod delete_groups;
pub(crate) mod delete_records;
pub(crate) mod delete_topics;
pub(crate) mod describe_acls;
pub(crate) mod describe_cluster;
pub(crate) mod describe_configs;
pub(crate) mod describe_delegation_token;
pub(crate) mod describe_groups;
pub(crate) mod describe_log_dirs;
pub(crate) mod describe_producers;
pub(crate) mod describe_quorum;
pub(crate) mod describe_topic_partitions;
pub(crate) mod elect_leaders;
mod error;
pub(crate) mod expire_delegation_token;
pub(crate) mod fetch;
pub(crate) mod find_coordinator;
mod group_requests;
pub(crate) mod heartbeat;
pub(crate) mod incremental_alter_configs;
pub(crate) mod init_producer_id;
pub(crate) mod join_group;
pub(crate) mod leave_group;
pub(crate) mod list_config_resources;
pub(crate) mod list_groups;
pub(crate) mod list_offsets;
pub(crate) mod list_partition_reassignments;
pub(crate) mod metadata;
pub(crate) mod offset_commit;
pub(crate) mod offset_delete;
pub(crate) mod offset_fetch;
pub(crate) mod offset_for_leader_epoch;
mod pace;
pub(crate) mod produce;
pub(crate) mod renew_delegation_token;
pub(crate) mod sasl_authenticate;
pub(crate) mod sasl_handshake;
pub(crate) mod sync_group;
pub(crate) mod update_features;

use bytes::Bytes;
use millrace_protocol::messages::{self, Message, StrBytes};
use millrace_protocol::requests::{self, Request};

use answers::Answered;
pub(crate) use pace::Pace;

use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, CloseReason, Outcome};

/// Reads the body of a request in the version it speaks, where it lies, and takes room for its
/// answer. What cannot be read ends the connection, as in Kafka.
pub(crate) async fn read<'a, R: Request<'a> + Answered>(
    context: &RequestContext,
    body: &'a [u8],
) -> Result<R, Close> {
    let request: R = parse(context, body)?;
    take_room(context, request.answer_bytes(context)).await?;
    Ok(request)
}

/// Reads the body, and takes no room: for answers whose size is told by more than the request. Room
/// is taken once, before the answer is begun.
fn parse<'a, R: Request<'a>>(context: &RequestContext, body: &'a [u8]) -> Result<R, Close> {
    let version = context.api_version;
    requests::read(version, body).map_err(|error| {
        let name = context.api.name;
        Close::unparsable(format_args!(
            "{name} version {version} can't be read: {error}"
        ))
    })
}

/// Takes room for an answer of `bytes` in memory, within the request's time.
async fn take_room(context: &RequestContext, bytes: u64) -> Result<(), Close> {
    let node = &context.node;
    tokio::select! {
        biased;
        () = context.room.take(bytes) => Ok(()),
        () = node.stopping.cancelled() => {
            Err(Close::new(CloseReason::Stopping, "the broker stops"))
        }
        () = node.host.clock.sleep_until(context.deadline) => {
            let name = context.api.name;
            let detail = format!(
                "no room for the answer to {name}, {bytes} bytes, within request.wait.max.ms: other \
                 answers hold queued.response.bytes.max"
            );
            Err(Close::new(CloseReason::NoAnswerRoom, detail))
        }
    }
}

/// A part of the request's text, as a slice of its body: for answers that are encoded at once.
pub(crate) fn slice(body: &Bytes, text: &str) -> StrBytes {
    let slice = body.slice_ref(text.as_bytes());
    StrBytes::try_from(slice).expect("the same bytes are text already")
}

/// A text that is part of the program.
pub(crate) fn fixed(text: &'static str) -> StrBytes {
    let bytes = Bytes::from_static(text.as_bytes());
    StrBytes::try_from(bytes).expect("the same bytes are text already")
}

/// Writes a reply in the version that was asked.
pub(crate) fn reply<M: Message>(context: &RequestContext, message: &M) -> Result<Outcome, Close> {
    reply_in(context.api_version, message)
}

/// Writes a reply in `version`.
pub(crate) fn reply_in<M: Message>(version: i16, message: &M) -> Result<Outcome, Close> {
    let body = messages::encode(message, version)
        .map_err(|error| Close::new(CloseReason::Internal, error.to_string()))?;
    Ok(Outcome::bytes(body))
}

/// What Kafka lets a principal do to the cluster.
const CLUSTER_OPERATIONS: [Operation; 7] = [
    Operation::Create,
    Operation::Alter,
    Operation::Describe,
    Operation::ClusterAction,
    Operation::DescribeConfigs,
    Operation::AlterConfigs,
    Operation::IdempotentWrite,
];

/// What Kafka lets a principal do to a topic.
const TOPIC_OPERATIONS: [Operation; 8] = [
    Operation::Read,
    Operation::Write,
    Operation::Create,
    Operation::Delete,
    Operation::Alter,
    Operation::Describe,
    Operation::DescribeConfigs,
    Operation::AlterConfigs,
];

/// What the principal may do to the cluster, as replies say it: bit n stands for the operation with
/// Kafka's number n. Nothing, where it may not even describe it.
pub(crate) fn cluster_operations(context: &RequestContext) -> i32 {
    if !context.authorize(Operation::Describe, Resource::Cluster) {
        return 0;
    }
    operations(context, &CLUSTER_OPERATIONS, Resource::Cluster)
}

/// What the principal may do to a topic.
pub(crate) fn topic_operations(context: &RequestContext, topic: &str) -> i32 {
    operations(context, &TOPIC_OPERATIONS, Resource::Topic(topic))
}

/// What Kafka lets a principal do to a group.
const GROUP_OPERATIONS: [Operation; 5] = [
    Operation::Read,
    Operation::Delete,
    Operation::Describe,
    Operation::DescribeConfigs,
    Operation::AlterConfigs,
];

/// What the principal may do to a group.
pub(crate) fn group_operations(context: &RequestContext, group: &str) -> i32 {
    operations(context, &GROUP_OPERATIONS, Resource::Group(group))
}

fn operations(context: &RequestContext, all: &[Operation], resource: Resource<'_>) -> i32 {
    all.iter()
        .filter(|operation| context.authorize(**operation, resource))
        .fold(0, |bits, operation| bits | 1 << operation.code())
}
