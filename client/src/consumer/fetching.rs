//! One fetch: what is wanted of a broker as a request of its session, and the answer as an outcome of
//! each question.
//!
//! What always holds: every part has one outcome, whatever the broker answers; what the session takes
//! the broker to know is what was sent in a request that was answered.

use std::collections::VecDeque;
use std::sync::Arc;

use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;
use millrace_protocol::messages::FetchRequest;
use millrace_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use millrace_protocol::responses::FetchResponse;
use millrace_protocol::responses::fetch::PartitionData;

use super::core::{Part, Plan};
use super::locating::{Told, again_or_failed, all, refused};
use super::options::{ConsumerOptions, Isolation};
use super::reading::{Key, Outcome};
use super::records::{Aborted, Raw, Records};
use super::session::{Ask, Session, is_of_session};
use crate::cluster::Cluster;
use crate::topics::milliseconds;
use crate::{Answer, Client, Error};

/// From this version on requests name topics by their ids (KIP-516).
const TOPIC_IDS_FROM: i16 = 13;

/// What a fetch goes by.
#[derive(Clone, Copy)]
pub(super) struct By<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) options: &'a ConsumerOptions,
}

/// Asks a broker for records.
pub(super) async fn fetch(
    by: By<'_>,
    client: &Client,
    session: &mut Session,
    plan: &Plan,
) -> Vec<Told> {
    let parts = &plan.fetch;
    let version = match client.call_of::<FetchRequest>() {
        Ok(call) => call.api_version,
        Err(error) => return all(parts, &error),
    };
    let ask = session.ask(parts);
    tracing::trace!(
        broker = client.connection().address(),
        session = ask.id,
        epoch = ask.epoch,
        wanted = parts.len(),
        named = ask.named.len(),
        forgotten = ask.forgotten.len(),
        "fetching"
    );
    let request = request(by.options, plan, &ask, version >= TOPIC_IDS_FROM);
    let told = match client.call(&request).await {
        Ok(answer) => hear(by, &answer, session, &ask, parts),
        Err(error) => Err(error),
    };
    told.unwrap_or_else(|error| {
        session.lost();
        all(parts, &error)
    })
}

fn request(options: &ConsumerOptions, plan: &Plan, ask: &Ask, by_id: bool) -> FetchRequest {
    let bytes = |bytes: usize| i32::try_from(bytes).unwrap_or(i32::MAX);
    let of_partition = |part: &&Part<i64>| {
        let mut partition = FetchPartition::default();
        partition.partition = part.key.1;
        partition.current_leader_epoch = part.leader_epoch;
        partition.fetch_offset = part.want;
        partition.partition_max_bytes = bytes(options.partition_bytes_max);
        partition
    };
    let of_topic = |parts: &[&Part<i64>]| {
        let mut topic = FetchTopic::default();
        topic.topic = parts[0].key.0.as_ref().into();
        topic.topic_id = parts[0].topic_id.into();
        topic.partitions = parts.iter().map(of_partition).collect();
        topic
    };
    let mut request = FetchRequest::default();
    request.max_wait_ms = milliseconds(options.fetch_wait_max);
    request.min_bytes = options.fetch_bytes_min;
    request.max_bytes = bytes(plan.bytes_max);
    request.isolation_level = options.isolation.wire();
    request.session_id = ask.id;
    request.session_epoch = ask.epoch;
    request.rack_id = options.rack.as_deref().unwrap_or_default().into();
    let named: Vec<_> = ask.named.iter().map(|at| &plan.fetch[*at]).collect();
    let topics = named.chunk_by(|one, other| one.key.0 == other.key.0);
    request.topics = topics.map(of_topic).collect();
    let replaced = ask.replaced.iter().filter(|_| by_id);
    let forgotten: Vec<_> = ask.forgotten.iter().chain(replaced).collect();
    let topics =
        forgotten.chunk_by(|(one, id), (other, other_id)| one.0 == other.0 && id == other_id);
    request.forgotten_topics_data = topics.map(forgotten_of).collect();
    request
}

fn forgotten_of(partitions: &[&(Key, TopicId)]) -> ForgottenTopic {
    let (key, topic_id) = partitions[0];
    let mut topic = ForgottenTopic::default();
    topic.topic = key.0.as_ref().into();
    topic.topic_id = (*topic_id).into();
    topic.partitions = partitions.iter().map(|(key, _)| key.1).collect();
    topic
}

/// What an answer says of each question, and of the session.
fn hear(
    by: By<'_>,
    answer: &Answer<FetchRequest>,
    session: &mut Session,
    ask: &Ask,
    parts: &[Part<i64>],
) -> Result<Vec<Told>, Error> {
    let view = answer.read()?;
    let code = ErrorCode::from_code(view.error_code).unwrap_or(ErrorCode::UnknownServerError);
    session.answered(code, view.session_id);
    if is_of_session(code) && !ask.is_full() {
        // The next request names everything, at once.
        let again = |part: &Part<i64>| (part.key.clone(), part.turn, Outcome::Nothing(None));
        return Ok(parts.iter().map(again).collect());
    }
    crate::client::refuse(view.error_code, || "a fetch".to_owned())?;
    let (told, has_strays) = outcomes(by, answer, &view, parts);
    if has_strays {
        // It goes by something else than was asked for.
        session.lost();
    }
    Ok(told)
}

/// What an answer says of each question, and whether it says something of others.
fn outcomes(
    by: By<'_>,
    answer: &Answer<FetchRequest>,
    view: &FetchResponse<'_>,
    parts: &[Part<i64>],
) -> (Vec<Told>, bool) {
    let mut open: VecDeque<_> = parts.iter().collect();
    let mut outcomes = Vec::with_capacity(parts.len());
    let mut has_strays = false;
    for topic in view.responses {
        for data in topic.partitions {
            let named = |part: &&Part<i64>| {
                let topics_match = if topic.topic_id.is_zero() {
                    *part.key.0 == *topic.topic
                } else {
                    part.topic_id == topic.topic_id
                };
                topics_match && part.key.1 == data.partition_index
            };
            // What nobody asked for, or was told already, is of no use.
            let at = open.iter().position(named);
            let Some(part) = at.and_then(|at| open.remove(at)) else {
                has_strays = true;
                continue;
            };
            let outcome = outcome(by, answer, part, &data);
            outcomes.push((part.key.clone(), part.turn, outcome));
        }
    }
    // In a session only what has something new is named.
    let silent = open
        .into_iter()
        .map(|part| (part.key.clone(), part.turn, Outcome::Nothing(None)));
    outcomes.extend(silent);
    (outcomes, has_strays)
}

fn outcome(
    by: By<'_>,
    answer: &Answer<FetchRequest>,
    part: &Part<i64>,
    data: &PartitionData<'_>,
) -> Outcome {
    let (topic, partition) = (&part.key.0, part.key.1);
    let what = || format!("to fetch {topic}-{partition} from offset {}", part.want);
    if data.error_code == ErrorCode::OffsetOutOfRange.code() {
        let code = ErrorCode::OffsetOutOfRange;
        return Outcome::OutOfRange(Error::Broker { what: what(), code });
    }
    if let Some(outcome) = refused(data.error_code, what) {
        return outcome;
    }
    let records = data.records.unwrap_or_default();
    if data.preferred_read_replica >= 0 && records.is_empty() {
        return prefers(by.cluster, data.preferred_read_replica);
    }
    let aborted = || {
        let listed = data.aborted_transactions.into_iter().flatten();
        let aborted = listed.map(|aborted| Aborted {
            producer_id: aborted.producer_id,
            first_offset: aborted.first_offset,
        });
        aborted.collect()
    };
    let committed_only = by.options.isolation == Isolation::ReadCommitted;
    let end = if committed_only && data.last_stable_offset >= 0 {
        data.last_stable_offset
    } else {
        data.high_watermark
    };
    let raw = Raw {
        topic: Arc::clone(topic),
        partition,
        from: part.want,
        high_watermark: end,
        records: answer.share(records),
        aborted: committed_only.then(aborted),
        check_crcs: by.options.check_crcs,
    };
    match Records::read(raw) {
        Ok(Some(fetched)) => Outcome::Fetched(fetched),
        Ok(None) => Outcome::Nothing(Some(end)),
        Err(error) => Outcome::Failed(Error::Malformed {
            address: answer.address().to_owned(),
            reason: format!("{topic}-{partition} from offset {}: {error}", part.want),
        }),
    }
}

/// Another broker is nearer: for as long as what is known of the cluster stays good (KIP-392).
fn prefers(cluster: &Cluster, broker: i32) -> Outcome {
    if cluster.metadata().brokers.contains_key(&broker) {
        let now = cluster.host().clock.now().mono;
        return Outcome::Prefers(broker, now + cluster.options().metadata_age_max);
    }
    again_or_failed(Error::Connect {
        address: format!("broker {broker}"),
        reason: "a leader prefers it, and the cluster does not say where it is".to_owned(),
    })
}
