//! `InitProducerId` (key 22), versions 0–5: a producer id for an idempotent producer.
//!
//! - Without a transactional id: a fresh id with epoch 0, whatever id the client had before
//!   (KIP-360 lets it say so; there is nothing to compare it with).
//! - An id without an epoch, or an epoch without an id, is 42.
//! - With a transactional id: refused with `TRANSACTIONAL_ID_AUTHORIZATION_FAILED` (53), the one
//!   code that every client takes for final, until transactions exist. An empty id is 42.

use bytes::Bytes;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::InitProducerIdResponse;
use millrace_protocol::requests::InitProducerIdRequest;

use super::{read, reply};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome};

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: InitProducerIdRequest<'_> = read(context, &body).await?;
    let mut response = InitProducerIdResponse::default();
    response.producer_id = -1;
    response.producer_epoch = -1;
    match producer_id(context, &request).await {
        Ok(id) => {
            response.producer_id = id;
            response.producer_epoch = 0;
        }
        Err(code) => response.error_code = code.code(),
    }
    context.count_errors([response.error_code]);
    reply(context, &response)
}

async fn producer_id(
    context: &RequestContext,
    request: &InitProducerIdRequest<'_>,
) -> Result<i64, ErrorCode> {
    match request.transactional_id {
        Some("") => return Err(ErrorCode::InvalidRequest),
        Some(_) => return Err(ErrorCode::TransactionalIdAuthorizationFailed),
        None => {}
    }
    if !context.authorize(Operation::IdempotentWrite, Resource::Cluster) {
        return Err(ErrorCode::ClusterAuthorizationFailed);
    }
    // Below version 3 both are the schema's default, -1.
    if (request.producer_id == -1) != (request.producer_epoch == -1) {
        return Err(ErrorCode::InvalidRequest);
    }
    let node = &context.node;
    match node
        .producer_ids
        .next(&node.cluster, node.config.node.id)
        .await
    {
        Ok(Some(id)) => Ok(id),
        Ok(None) => Err(ErrorCode::UnknownServerError),
        // Also when the outcome is unknown: a block that was taken and is not given out hurts
        // nobody, so that asking again is right, here or after a restart. Kafka's code for it.
        Err(error) => {
            tracing::warn!(%error, "no producer ids could be taken from the cluster");
            Err(ErrorCode::CoordinatorLoadInProgress)
        }
    }
}
