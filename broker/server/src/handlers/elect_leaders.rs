//! `ElectLeaders` (key 43), versions 0–2: elects the preferred or, where nobody leads, any leader of
//! partitions (KIP-460).
//!
//! - Null asks for all partitions: the answer names every topic, and of its partitions those where
//!   an election was needed. A partition that has the leader it should is 84.
//! - v1: the kind, 0 preferred, 1 unclean; another is 42. v1: an outcome of the whole. `timeout_ms`
//!   must be above zero, else 7.

use bytes::Bytes;
use millrace_core::cluster::{ElectIn, Elected, Election, elect_leaders};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use millrace_protocol::messages::{ElectLeadersResponse, StrBytes};
use millrace_protocol::requests::ElectLeadersRequest;

use super::answers::Texts;
use super::error::metadata_error;
use super::{Pace, read, reply};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome};

/// First version with an outcome of the whole.
const OUTCOME_FROM: i16 = 1;

/// What became of each partition that is answered for, or of all of them.
type Outcomes = Result<Vec<Elected>, (ErrorCode, Option<String>)>;

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: ElectLeadersRequest<'_> = read(context, &body).await?;
    let mut pace = Pace::default();
    let mut asked = Vec::new();
    for topic in request.topic_partitions.unwrap_or_default() {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for index in topic.partitions {
            partitions.push(index);
            pace.step().await;
        }
        asked.push(ElectIn {
            topic: topic.topic,
            partitions,
        });
        pace.step().await;
    }
    let asked = request.topic_partitions.map(|_| asked.as_slice());
    let outcomes = elect(context, &request, asked).await;
    let mut response = ElectLeadersResponse::default();
    let mut texts = Texts::default();
    let mut push = |topic: &str, rows: Vec<PartitionResult>| {
        let mut result = ReplicaElectionResult::default();
        result.topic = StrBytes::from(topic);
        result.partition_result = rows;
        response.replica_election_results.push(result);
    };
    match outcomes {
        Ok(elected) => {
            for topic in elected {
                let mut rows = Vec::with_capacity(topic.partitions.len());
                for (index, outcome) in topic.partitions {
                    rows.push(match outcome {
                        Ok(_) => row(index, ErrorCode::None, None),
                        Err(refusal) => {
                            let message = texts.tell().then_some(refusal.message);
                            row(index, refusal.code, message)
                        }
                    });
                    pace.step().await;
                }
                push(&topic.topic, rows);
                pace.step().await;
            }
        }
        Err((code, message)) => {
            for topic in asked.unwrap_or_default() {
                let mut rows = Vec::with_capacity(topic.partitions.len());
                for index in &topic.partitions {
                    let message = message.clone().filter(|_| texts.tell());
                    rows.push(row(*index, code, message));
                    pace.step().await;
                }
                push(topic.topic, rows);
                pace.step().await;
            }
            if context.api_version >= OUTCOME_FROM {
                response.error_code = code.code();
            }
            context.count_errors([code.code()]);
        }
    }
    for topic in &response.replica_election_results {
        context.count_errors(topic.partition_result.iter().map(|row| row.error_code));
    }
    reply(context, &response)
}

fn row(index: i32, code: ErrorCode, message: Option<String>) -> PartitionResult {
    let mut row = PartitionResult::default();
    row.partition_id = index;
    row.error_code = code.code();
    row.error_message = message.map(StrBytes::from);
    row
}

async fn elect(
    context: &RequestContext,
    request: &ElectLeadersRequest<'_>,
    asked: Option<&[ElectIn<'_>]>,
) -> Outcomes {
    if !context.authorize(Operation::Alter, Resource::Cluster) {
        return Err((ErrorCode::ClusterAuthorizationFailed, None));
    }
    let election = match request.election_type {
        0 => Election::Preferred,
        1 => Election::Unclean,
        other => {
            let message = format!("Unknown election type {other}");
            return Err((ErrorCode::InvalidRequest, Some(message)));
        }
    };
    if request.timeout_ms <= 0 {
        return Err((ErrorCode::RequestTimedOut, None));
    }
    let cluster = &context.node.cluster;
    let elected = cluster.propose(|image, _| elect_leaders(image, election, asked));
    elected.await.map_err(|error| {
        let (code, message) = metadata_error(&error);
        (code, Some(message))
    })
}
