//! `DescribeLogDirs` (key 35), versions 1–5: what lies in the log directories (KIP-113, KIP-827).
//!
//! - Every directory of `log.dirs` has a row; one that failed, or that the start could not use, has
//!   56 and nothing else. Null asks for all topics; of others the partitions that are named and
//!   there. A partition that can't be opened is left out.
//! - The size is that of the segments. A current log lags behind nothing: 0. A replica that is to
//!   move has a second row, the future log in the other directory, and how far its end lags behind.
//! - v3: an outcome of the whole. v4: the volume's bytes and those that are free. v5: whether the
//!   directory is cordoned, which none is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;
use millrace_core::cluster::{Directory, Topic};
use millrace_log::mark::Incarnation;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use millrace_protocol::messages::{DescribeLogDirsResponse, StrBytes};
use millrace_protocol::requests::DescribeLogDirsRequest;

use super::{Pace, read, reply};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome};
use crate::runtime::moving::Future;

/// First version with an outcome of the whole.
const OUTCOME_FROM: i16 = 3;
/// First version that tells how large the volume is.
const VOLUME_FROM: i16 = 4;

/// What is found of the partitions that are asked for.
struct Lying {
    /// The topics of each directory, in order of their names.
    topics: BTreeMap<Directory, Vec<DescribeLogDirsTopic>>,
    /// Copies that are being made.
    futures: BTreeMap<Incarnation, Future>,
}

impl Lying {
    fn push(&mut self, directory: Directory, topic: &Topic, row: DescribeLogDirsPartition) {
        let topics = self.topics.entry(directory).or_default();
        match topics.last_mut() {
            Some(last) if last.name.as_str() == &*topic.name => last.partitions.push(row),
            _ => {
                let mut first = DescribeLogDirsTopic::default();
                first.name = StrBytes::from(&*topic.name);
                first.partitions = vec![row];
                topics.push(first);
            }
        }
    }
}

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: DescribeLogDirsRequest<'_> = read(context, &body).await?;
    let mut response = DescribeLogDirsResponse::default();
    if !context.authorize(Operation::Describe, Resource::Cluster) {
        let code = ErrorCode::ClusterAuthorizationFailed.code();
        if context.api_version >= OUTCOME_FROM {
            response.error_code = code;
        }
        context.count_errors([code]);
        return reply(context, &response);
    }
    let node = &context.node;
    let mut lying = lying(context, &request).await;
    for path in &node.config.log.dirs {
        let mut row = DescribeLogDirsResult::default();
        row.log_dir = StrBytes::from(&*path.to_string_lossy());
        match node.partitions.directory_at(path) {
            Some(directory) => {
                row.topics = lying.topics.remove(&directory).unwrap_or_default();
                describe_volume(context, path, &mut row);
            }
            None => row.error_code = ErrorCode::KafkaStorageError.code(),
        }
        response.results.push(row);
    }
    context.count_errors(response.results.iter().map(|row| row.error_code));
    reply(context, &response)
}

fn describe_volume(context: &RequestContext, path: &Path, row: &mut DescribeLogDirsResult) {
    if context.api_version < VOLUME_FROM {
        return;
    }
    // The volume that doesn't say is told as unknown.
    if let Ok(space) = context.node.host.disk.space(path) {
        row.total_bytes = i64::try_from(space.total).unwrap_or(i64::MAX);
        row.usable_bytes = i64::try_from(space.available).unwrap_or(i64::MAX);
    }
}

/// Where each of the partitions lies that are asked for.
async fn lying(context: &RequestContext, request: &DescribeLogDirsRequest<'_>) -> Lying {
    let image = context.node.cluster.image();
    let mut pace = Pace::default();
    let mut lying = Lying {
        topics: BTreeMap::new(),
        futures: context.node.partitions.moves().futures(),
    };
    let Some(topics) = request.topics else {
        for topic in image.topics_by_name() {
            for index in topic.partitions.keys() {
                describe(context, topic, *index, &mut lying).await;
                pace.step().await;
            }
            pace.step().await;
        }
        return lying;
    };
    let mut asked: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
    for topic in topics {
        let indexes = asked.entry(topic.topic).or_default();
        for index in topic.partitions {
            indexes.insert(index);
            pace.step().await;
        }
        pace.step().await;
    }
    for (name, indexes) in asked {
        let Some(topic) = image.topic_named(name) else {
            continue;
        };
        for index in indexes {
            describe(context, topic, index, &mut lying).await;
            pace.step().await;
        }
    }
    lying
}

/// Adds a partition, if it is there, to those of its directory.
async fn describe(context: &RequestContext, topic: &Topic, index: i32, lying: &mut Lying) {
    let node = &context.node;
    let own = node.config.node.id;
    let place = topic.partitions.get(&index);
    let Some(directory) = place.and_then(|partition| partition.directory_of(own)) else {
        return;
    };
    let Some(bytes) = node.partitions.size_bytes(topic, index).await else {
        return;
    };
    let mut row = DescribeLogDirsPartition::default();
    row.partition_index = index;
    row.partition_size = i64::try_from(bytes).unwrap_or(i64::MAX);
    lying.push(directory, topic, row);
    let incarnation = Incarnation {
        topic_id: topic.id.to_bytes(),
        partition: index,
    };
    let future = lying.futures.get(&incarnation).copied();
    // A wish for where it lies ends the move before it.
    if let Some(future) = future.filter(|future| future.directory != directory) {
        let end = node.partitions.log_end(topic, index).await.unwrap_or(0);
        let mut row = DescribeLogDirsPartition::default();
        row.partition_index = index;
        row.partition_size = i64::try_from(future.bytes).unwrap_or(i64::MAX);
        row.offset_lag = end.saturating_sub(future.end).max(0);
        row.is_future_key = true;
        lying.push(future.directory, topic, row);
    }
}
