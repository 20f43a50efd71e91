//! `FindCoordinator` (key 10), versions 0–6: which node coordinates a group or transactional id.
//!
//! - v0–3 ask for one key, v4+ for several, each with its own error. v1 names the key's type.
//! - Groups: there are no coordinators yet, so every key gets error 15 (coordinator not
//!   available) and the client asks again. The API must be there: librdkafka takes its absence for a broker
//!   without lz4.
//! - Transactional ids get an error that ends the client's waiting at once (53), since no amount of
//!   asking again would help; the message says why.
//! - Share groups (type 2) exist from v6. Any other type is an invalid request (42).

use bytes::Bytes;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::FindCoordinatorResponse;
use millrace_protocol::messages::find_coordinator_response::Coordinator;
use millrace_protocol::requests::FindCoordinatorRequest;

use super::answers::Texts;
use super::{Pace, fixed, read, reply, slice};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome};

/// Key types of the request.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

/// First version that asks for several keys.
const SEVERAL_KEYS_FROM: i16 = 4;
/// First version that has a message beside the error code.
const MESSAGE_FROM: i16 = 1;
/// First version that knows share groups.
const SHARE_FROM: i16 = 6;

/// Stands for "no node" in the reply.
const NO_NODE: i32 = -1;

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: FindCoordinatorRequest<'_> = read(context, &body).await?;
    let mut response = FindCoordinatorResponse::default();
    if context.api_version >= SEVERAL_KEYS_FROM {
        let mut texts = Texts::default();
        let mut pace = Pace::default();
        let keys = request.coordinator_keys;
        response.coordinators.reserve_exact(keys.len());
        for key in keys {
            let mut row = coordinator(context, request.key_type, key);
            row.key = slice(&body, key);
            row.error_message = row.error_message.filter(|_| texts.tell());
            response.coordinators.push(row);
            pace.step().await;
        }
    } else {
        let (error, message) = answer(context, request.key_type, request.key);
        response.error_code = error.code();
        if context.api_version >= MESSAGE_FROM {
            response.error_message = Some(fixed(message));
        }
        response.node_id = NO_NODE;
        response.port = NO_NODE;
    }
    context.count_errors([response.error_code]);
    context.count_errors(response.coordinators.iter().map(|row| row.error_code));
    reply(context, &response)
}

fn coordinator(context: &RequestContext, key_type: i8, key: &str) -> Coordinator {
    let (error, message) = answer(context, key_type, key);
    let mut coordinator = Coordinator::default();
    coordinator.node_id = NO_NODE;
    coordinator.port = NO_NODE;
    coordinator.error_code = error.code();
    coordinator.error_message = Some(fixed(message));
    coordinator
}

fn answer(context: &RequestContext, key_type: i8, key: &str) -> (ErrorCode, &'static str) {
    match key_type {
        GROUP if !context.authorize(Operation::Describe, Resource::Group(key)) => (
            ErrorCode::GroupAuthorizationFailed,
            "Not authorized to access the group.",
        ),
        TRANSACTION => (
            ErrorCode::TransactionalIdAuthorizationFailed,
            "This broker serves no transactions: use a producer without a transactional id.",
        ),
        SHARE if context.api_version < SHARE_FROM => {
            (ErrorCode::InvalidRequest, "Share groups need version 6.")
        }
        SHARE if !context.authorize(Operation::ClusterAction, Resource::Cluster) => (
            ErrorCode::ClusterAuthorizationFailed,
            "Not authorized to act as a broker.",
        ),
        GROUP | SHARE => (
            ErrorCode::CoordinatorNotAvailable,
            "This broker coordinates no groups yet.",
        ),
        _ => (
            ErrorCode::InvalidRequest,
            "Unknown type of coordinator key.",
        ),
    }
}
