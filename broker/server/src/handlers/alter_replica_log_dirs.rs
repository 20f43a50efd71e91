//! `AlterReplicaLogDirs` (key 34), versions 1–2: moves replicas between log directories of this
//! broker (KIP-113). Success says that the wish is known: the move runs in the background, and
//! `DescribeLogDirs` shows how far it has come. A wish replaces the one before; that a replica lie
//! where it does ends a move that is under way.
//!
//! - A directory that `log.dirs` doesn't name, as it names it, is 57; one that failed is 56; a
//!   partition that isn't there is 3. Of a partition that is named twice the last counts.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::AlterReplicaLogDirsResponse;
use millrace_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use millrace_protocol::requests::AlterReplicaLogDirsRequest;

use super::{Pace, read, reply, slice};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome};

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: AlterReplicaLogDirsRequest<'_> = read(context, &body).await?;
    let mut pace = Pace::default();
    let mut asked: BTreeMap<&str, BTreeMap<i32, &str>> = BTreeMap::new();
    for dir in request.dirs {
        for topic in dir.topics {
            let partitions = asked.entry(topic.name).or_default();
            for index in topic.partitions {
                partitions.insert(index, dir.path);
                pace.step().await;
            }
            pace.step().await;
        }
        pace.step().await;
    }
    let mut response = AlterReplicaLogDirsResponse::default();
    response.results.reserve_exact(asked.len());
    for (name, partitions) in asked {
        let mut rows = AlterReplicaLogDirTopicResult::default();
        rows.topic_name = slice(&body, name);
        rows.partitions.reserve_exact(partitions.len());
        for (index, path) in partitions {
            let mut row = AlterReplicaLogDirPartitionResult::default();
            row.partition_index = index;
            row.error_code = place(context, name, index, Path::new(path)).await.code();
            rows.partitions.push(row);
            pace.step().await;
        }
        context.count_errors(rows.partitions.iter().map(|row| row.error_code));
        response.results.push(rows);
    }
    reply(context, &response)
}

/// What becomes of the wish that a replica lie at `path`.
async fn place(context: &RequestContext, name: &str, index: i32, path: &Path) -> ErrorCode {
    if !context.authorize(Operation::Alter, Resource::Cluster) {
        return ErrorCode::ClusterAuthorizationFailed;
    }
    let node = &context.node;
    if !node
        .config
        .log
        .dirs
        .iter()
        .any(|dir| dir.as_os_str() == path.as_os_str())
    {
        return ErrorCode::LogDirNotFound;
    }
    let Some(directory) = node.partitions.directory_at(path) else {
        return ErrorCode::KafkaStorageError;
    };
    let image = node.cluster.image();
    let topic = image.topic_named(name);
    let partition = topic.and_then(|topic| topic.partitions.get(&index));
    let Some((topic, _)) = topic.zip(partition) else {
        return ErrorCode::UnknownTopicOrPartition;
    };
    node.partitions.wish(topic, index, directory).await;
    ErrorCode::None
}
