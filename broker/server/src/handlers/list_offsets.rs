//! `ListOffsets` (key 2), versions 1–11: offsets by time, and the ends of the log.
//!
//! - Times: ≥ 0 the first record at or after it; -1 the end that this reader may see; -2 the log
//!   start; v7: -3 the record with the greatest time; v8: -4 the earliest local offset, which is the
//!   log start; v9: -5 the last tiered offset and v11: -6 the earliest not tiered, both -1 as nothing
//!   is tiered. A special time that the version doesn't know is 35.
//! - v2: isolation level. v4: leader epochs, checked and told.
//! - The same partition twice is 42.

use std::collections::BTreeMap;

use bytes::Bytes;
use millrace_core::partition::{ListBounds, ReadReject, Reader, Unserved};
use millrace_log::partition::{LogReader, TimestampOffset};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::ListOffsetsResponse;
use millrace_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use millrace_protocol::requests::ListOffsetsRequest;
use millrace_protocol::requests::list_offsets::ListOffsetsPartition;

use super::error::not_served;
use super::{Pace, read, reply, slice};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// First version that knows error 78; before, it is 5.
const OFFSET_NOT_AVAILABLE_FROM: i16 = 5;

/// Offset, timestamp and leader epoch of an answer; -1 where there is none.
type Answer = (i64, i64, i32);

const NOTHING: Answer = (-1, -1, -1);

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: ListOffsetsRequest<'_> = read(context, &body).await?;
    let mut pace = Pace::default();
    let mut times: BTreeMap<(&str, i32), usize> = BTreeMap::new();
    for topic in request.topics {
        for partition in topic.partitions {
            let place = (topic.name, partition.partition_index);
            *times.entry(place).or_default() += 1;
            pace.step().await;
        }
    }
    // As in Kafka, an isolation level that nobody knows is an error of each partition.
    let reader = match request.isolation_level {
        0 => Ok(Reader::Uncommitted),
        1 => Ok(Reader::Committed),
        _ => Err(ErrorCode::UnknownServerError),
    };
    let mut response = ListOffsetsResponse::default();
    response.topics.reserve_exact(request.topics.len());
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in request.topics {
        for partition in topic.partitions {
            let index = partition.partition_index;
            // A partition that is asked for more than once is refused once.
            let found = match times.get(&(topic.name, index)) {
                Some(1) => find(context, topic.name, &partition, reader).await,
                Some(_) => Err(ErrorCode::InvalidRequest),
                None => continue,
            };
            if found == Err(ErrorCode::InvalidRequest) {
                times.remove(&(topic.name, index));
            }
            let place = *places.entry(topic.name).or_insert_with(|| {
                let mut rows = ListOffsetsTopicResponse::default();
                rows.name = slice(&body, topic.name);
                rows.partitions.reserve_exact(topic.partitions.len());
                response.topics.push(rows);
                response.topics.len() - 1
            });
            let row = row(context.api_version, index, found);
            response.topics[place].partitions.push(row);
            pace.step().await;
        }
        pace.step().await;
    }
    let rows = response.topics.iter().flat_map(|topic| &topic.partitions);
    context.count_errors(rows.map(|row| row.error_code));
    reply(context, &response)
}

fn row(
    version: i16,
    partition_index: i32,
    found: Result<Answer, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let mut row = ListOffsetsPartitionResponse::default();
    row.partition_index = partition_index;
    let (offset, timestamp, leader_epoch) = found.unwrap_or(NOTHING);
    row.offset = offset;
    row.timestamp = timestamp;
    if version >= 4 {
        row.leader_epoch = leader_epoch;
    }
    row.error_code = found.err().map_or(0, |code| {
        if code == ErrorCode::OffsetNotAvailable && version < OFFSET_NOT_AVAILABLE_FROM {
            ErrorCode::LeaderNotAvailable.code()
        } else {
            code.code()
        }
    });
    row
}

/// The first version that knows a special time; `None` when no version does.
fn known_from(timestamp: i64) -> Option<i16> {
    match timestamp {
        0.. | LATEST | EARLIEST => Some(1),
        MAX_TIMESTAMP => Some(7),
        EARLIEST_LOCAL => Some(8),
        LATEST_TIERED => Some(9),
        EARLIEST_PENDING_UPLOAD => Some(11),
        _ => None,
    }
}

async fn find(
    context: &RequestContext,
    topic: &str,
    partition: &ListOffsetsPartition,
    reader: Result<Reader, ErrorCode>,
) -> Result<Answer, ErrorCode> {
    if !context.authorize(Operation::Describe, Resource::Topic(topic)) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    if known_from(partition.timestamp).is_none_or(|from| context.api_version < from) {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let node = &context.node;
    let image = node.cluster.image();
    let topic = image
        .topic_named(topic)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if !topic.partitions.contains_key(&partition.partition_index) {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    let open = node
        .partitions
        .get(topic, partition.partition_index)
        .await
        .map_err(|error| not_served(&error).0)?;
    let reader = reader?;
    let bounds = open
        .look(|core| core.list_bounds(partition.current_leader_epoch, reader))
        .map_err(Unserved::code)?
        .map_err(|reject: ReadReject| reject.code())?;
    match partition.timestamp {
        LATEST => {
            let (offset, epoch) = bounds
                .latest()
                .map_err(|reject: ReadReject| reject.code())?;
            Ok((offset, -1, epoch))
        }
        EARLIEST | EARLIEST_LOCAL => {
            let (offset, epoch) = bounds.earliest;
            Ok((offset, -1, epoch))
        }
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => Ok(NOTHING),
        timestamp => search(context, open.reader(), &bounds, timestamp).await,
    }
}

async fn search(
    context: &RequestContext,
    reader: &LogReader,
    bounds: &ListBounds,
    timestamp: i64,
) -> Result<Answer, ErrorCode> {
    let node = &context.node;
    let mut scratch = node.scratches.take();
    let upto = bounds.last_fetchable;
    let found = if timestamp == MAX_TIMESTAMP {
        reader.max_timestamp_offset(upto, &mut scratch).await
    } else {
        reader
            .offset_for_timestamp(timestamp, upto, &mut scratch)
            .await
    };
    node.scratches.give_back(scratch);
    let found: Option<TimestampOffset> = found.map_err(|error| {
        tracing::error!(%error, "a search by time failed");
        ErrorCode::KafkaStorageError
    })?;
    let offset = bounds
        .found(found.map(|found| found.offset))
        .map_err(|reject: ReadReject| reject.code())?;
    Ok(match (offset, found) {
        (Some(offset), Some(found)) => (offset, found.timestamp, found.leader_epoch),
        _ => NOTHING,
    })
}
