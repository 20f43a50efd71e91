//! `AlterPartitionReassignments` (key 45), versions 0–1: moves partitions between brokers, or no
//! longer (KIP-455). With one broker a partition is where it can be: success; another broker is
//! refused with 39; and there is never a move to be ended: 85.
//!
//! - v1: whether a partition may get more or fewer replicas (38 if it may not). `timeout_ms` must be
//!   above zero, else 7.

use bytes::Bytes;
use millrace_core::cluster::{Reassignment, Refusal, reassign_partitions};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use millrace_protocol::messages::{AlterPartitionReassignmentsResponse, StrBytes};
use millrace_protocol::requests::AlterPartitionReassignmentsRequest;

use super::answers::Texts;
use super::error::metadata_error;
use super::{Pace, read, reply, slice};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome};

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: AlterPartitionReassignmentsRequest<'_> = read(context, &body).await?;
    let (mut pace, mut moves) = (Pace::default(), Vec::new());
    for topic in request.topics {
        for partition in topic.partitions {
            let replicas = partition.replicas.map(|ids| ids.into_iter().collect());
            moves.push(Reassignment {
                topic: topic.name,
                partition: partition.partition_index,
                replicas,
            });
            pace.step().await;
        }
        pace.step().await;
    }
    let outcomes = reassign(context, &request, &moves).await;
    let mut response = AlterPartitionReassignmentsResponse::default();
    // What it was asked, told back.
    response.allow_replication_factor_change = request.allow_replication_factor_change;
    response.error_message = None;
    if let Err(refusal) = &outcomes {
        response.error_code = refusal.code.code();
        response.error_message = said(&refusal.message);
    }
    let mut texts = Texts::default();
    let mut at = 0;
    response.responses.reserve_exact(request.topics.len());
    for topic in request.topics {
        let mut rows = ReassignableTopicResponse::default();
        rows.name = slice(&body, topic.name);
        rows.partitions.reserve_exact(topic.partitions.len());
        for partition in topic.partitions {
            let mut row = ReassignablePartitionResponse::default();
            row.partition_index = partition.partition_index;
            row.error_message = None;
            let outcome = match &outcomes {
                Ok(outcomes) => outcomes[at].as_ref(),
                Err(refusal) => Err(refusal),
            };
            if let Err(refusal) = outcome {
                row.error_code = refusal.code.code();
                row.error_message = said(&refusal.message).filter(|_| texts.tell());
            }
            rows.partitions.push(row);
            at += 1;
            pace.step().await;
        }
        context.count_errors(rows.partitions.iter().map(|row| row.error_code));
        response.responses.push(rows);
        pace.step().await;
    }
    reply(context, &response)
}

/// Words for people, if there are any.
fn said(message: &str) -> Option<StrBytes> {
    (!message.is_empty()).then(|| StrBytes::from(message))
}

async fn reassign(
    context: &RequestContext,
    request: &AlterPartitionReassignmentsRequest<'_>,
    moves: &[Reassignment<'_>],
) -> Result<Vec<Result<(), Refusal>>, Refusal> {
    let refused = |code, message| Err(Refusal { code, message });
    if !context.authorize(Operation::Alter, Resource::Cluster) {
        return refused(ErrorCode::ClusterAuthorizationFailed, String::new());
    }
    if request.timeout_ms <= 0 {
        return refused(ErrorCode::RequestTimedOut, String::new());
    }
    let may_change = request.allow_replication_factor_change;
    let cluster = &context.node.cluster;
    let moved = cluster.propose(|image, _| reassign_partitions(image, moves, may_change));
    moved.await.map_err(|error| {
        let (code, message) = metadata_error(&error);
        Refusal { code, message }
    })
}
