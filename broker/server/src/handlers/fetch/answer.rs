//! The answer to a fetch: which partitions are in it, and the rope it is sent as.

use std::sync::Arc;

use millrace_host::Piece;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::fetch_body::{
    Chunk, FetchBody, FetchPartitionPart, FetchParts, FetchTopicPart,
};
use millrace_protocol::ids::TopicId;
use millrace_protocol::requests::FetchRequest;
use tokio::sync::OwnedMutexGuard;

use super::look::{Found, Looks};
use super::{SESSIONS_FROM, Session, SharedSession, TOPIC_IDS_FROM};
use crate::context::RequestContext;
use crate::outcome::{Close, CloseReason, Outcome, Reply};
use crate::runtime::sessions::{Told, TopicKey};

/// What becomes of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sessionless,
    Create,
    Continue(i32),
}

/// Answers with what was found, and leaves the session as the next fetch needs it.
pub(super) fn answer(
    context: &RequestContext,
    session: &mut OwnedMutexGuard<Session>,
    looks: Looks,
    kind: Kind,
) -> Reply {
    let incremental = matches!(kind, Kind::Continue(_));
    let mut rows: Vec<(TopicKey, Found)> = Vec::with_capacity(looks.found.len());
    for (slot, found) in looks.found {
        let Some(partition) = session.partitions.get_mut(slot) else {
            continue;
        };
        let told = Told {
            high_watermark: found.part.high_watermark,
            log_start: found.part.log_start_offset,
        };
        let news = found.is_unfinished() && !found.left || partition.told != Some(told);
        partition.told = (found.part.error_code == 0).then_some(told);
        let (topic, index) = (partition.topic.clone(), partition.partition);
        if kind != Kind::Sessionless && found.is_unfinished() {
            let moved = session.partitions.move_to_end(slot);
            if let Some(place) = session.places.remove(&slot) {
                session.places.insert(moved, place);
            }
            session.ready.insert(moved);
        }
        if !incremental || news {
            let mut found = found;
            found.part.partition_index = index;
            found.count();
            rows.push((topic, found));
        }
    }
    let session_id = match kind {
        Kind::Sessionless => 0,
        Kind::Continue(id) => id,
        Kind::Create => create(context, session),
    };
    let bytes: u64 = rows
        .iter()
        .map(|(_, found)| u64::from(found.part.records_len))
        .sum();
    let metrics = &context.node.metrics.fetch;
    metrics.bytes.inc_by(bytes);
    if bytes == 0 {
        metrics.empty.inc();
    }
    context.count_errors(rows.iter().map(|(_, found)| found.part.error_code));
    rope(context.api_version, session_id, &mut rows)
}

/// The id of a new session; 0 where there is no room for one, and the fetch was served without.
fn create(context: &RequestContext, session: &mut OwnedMutexGuard<Session>) -> i32 {
    let node = &context.node;
    let partitions = session.partitions.len();
    if partitions == 0 {
        return 0;
    }
    let draw = || (node.host.rng.next_u64() >> 32) as i32;
    let now = node.host.clock.now().mono;
    let uses_topic_ids = context.api_version >= TOPIC_IDS_FROM;
    let shared = SharedSession::clone(OwnedMutexGuard::mutex(session));
    let mut sessions = node.sessions();
    let Some(share) = sessions.take_room(&session.partitions, now) else {
        return 0;
    };
    let owner = (
        Arc::clone(&context.connection.principal.name),
        uses_topic_ids,
    );
    let Some(id) = sessions.create(shared, partitions, owner, now, draw) else {
        return 0;
    };
    session.share = Some(share);
    id
}

/// Header chunks and file regions in the order of the wire; takes them out of the rows.
fn rope(version: i16, session_id: i32, rows: &mut [(TopicKey, Found)]) -> Reply {
    let mut parts = FetchParts {
        session_id,
        ..FetchParts::default()
    };
    let mut regions = Vec::with_capacity(rows.len());
    let mut last: Option<&TopicKey> = None;
    for (topic, found) in rows {
        if last != Some(&*topic) {
            parts.topics.push(topic_part(topic));
            last = Some(topic);
        }
        let current = parts.topics.last_mut().expect("a topic was just put there");
        current.partitions.push(std::mem::take(&mut found.part));
        regions.push(found.region.take());
    }
    let body = FetchBody::write(version, &parts)
        .expect("versions are checked by dispatch, lengths by the fetch limits");
    let pieces = body.chunks.into_iter().map(|chunk| match chunk {
        Chunk::Bytes(bytes) => Piece::Bytes(bytes),
        Chunk::Records { partition_slot, .. } => Piece::File(
            regions[partition_slot]
                .take()
                .expect("only a partition with a region has records"),
        ),
    });
    Reply {
        body: pieces.collect(),
        ..Reply::default()
    }
}

fn topic_part(topic: &TopicKey) -> FetchTopicPart<'_> {
    let (name, id) = match topic {
        TopicKey::Name(name) => (&**name, TopicId::ZERO),
        TopicKey::Id(id) => ("", *id),
    };
    FetchTopicPart {
        name,
        id,
        partitions: Vec::new(),
    }
}

/// An answer without partitions: the session can't be continued.
pub(super) fn top_level(context: &RequestContext, code: ErrorCode) -> Result<Outcome, Close> {
    context.count_errors([code.code()]);
    encode(
        context.api_version,
        &FetchParts {
            error_code: code.code(),
            ..FetchParts::default()
        },
    )
}

/// An answer that refuses every partition of the request.
pub(super) fn refusal(
    context: &RequestContext,
    request: &FetchRequest<'_>,
    code: ErrorCode,
) -> Result<Outcome, Close> {
    let parts = FetchParts {
        topics: refused(context, request, code, false),
        ..FetchParts::default()
    };
    encode(context.api_version, &parts)
}

/// An answer to a request that makes no sense, as Kafka's: at its top where the version can say it,
/// and for each partition where topics are named.
pub(super) fn failed(
    context: &RequestContext,
    request: &FetchRequest<'_>,
    code: ErrorCode,
) -> Result<Outcome, Close> {
    if context.api_version >= TOPIC_IDS_FROM {
        return top_level(context, code);
    }
    let mut parts = FetchParts {
        topics: refused(context, request, code, true),
        ..FetchParts::default()
    };
    if context.api_version >= SESSIONS_FROM {
        parts.error_code = code.code();
    }
    encode(context.api_version, &parts)
}

/// Rows that refuse every partition of the request.
fn refused<'a>(
    context: &RequestContext,
    request: &FetchRequest<'a>,
    code: ErrorCode,
    tells_aborted: bool,
) -> Vec<FetchTopicPart<'a>> {
    let topics = request.topics.into_iter();
    let refused = topics.map(|topic| topic.partitions.len());
    context.count_errors(std::iter::repeat_n(code.code(), refused.sum()));
    let row = |index: i32| FetchPartitionPart {
        partition_index: index,
        error_code: code.code(),
        high_watermark: -1,
        aborted_transactions: tells_aborted.then(Vec::new),
        ..FetchPartitionPart::default()
    };
    request
        .topics
        .into_iter()
        .map(|topic| FetchTopicPart {
            name: topic.topic,
            id: topic.topic_id,
            partitions: topic
                .partitions
                .into_iter()
                .map(|p| row(p.partition))
                .collect(),
        })
        .collect()
}

fn encode(version: i16, parts: &FetchParts<'_>) -> Result<Outcome, Close> {
    let body = FetchBody::write(version, parts)
        .map_err(|error| Close::new(CloseReason::Internal, error.to_string()))?;
    let pieces = body.chunks.into_iter().filter_map(|chunk| match chunk {
        Chunk::Bytes(bytes) => Some(Piece::Bytes(bytes)),
        Chunk::Records { .. } => None,
    });
    Ok(Outcome::Ready(Reply {
        body: pieces.collect(),
        ..Reply::default()
    }))
}
