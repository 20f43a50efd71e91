//! `SyncGroup` (key 14), versions 0–5: a member asks for its assignment; the leader brings everyone's.
//!
//! - v3: static members (KIP-345). v5: the protocol is named by both sides, and must be the same
//!   (KIP-559): a request of v5 without it is 23.

use std::sync::Arc;

use bytes::Bytes;
use millrace_core::group::{Assigned, Reply, Request, Sync, Text};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::{StrBytes, SyncGroupResponse};
use millrace_protocol::requests::SyncGroupRequest;

use super::group_requests::{answer_with, ask, membership};
use super::{Pace, read, reply};
use crate::context::{Operation, RequestContext};
use crate::outcome::{Close, Outcome};

/// First version that names the protocol.
const PROTOCOL_FROM: i16 = 5;

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: SyncGroupRequest<'_> = read(context, &body).await?;
    let mut pace = Pace::default();
    let mut assignments: Vec<(Text, Arc<[u8]>)> = Vec::with_capacity(request.assignments.len());
    for one in request.assignments {
        assignments.push((one.member_id.into(), one.assignment.into()));
        pace.step().await;
    }
    let names_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
    if context.api_version >= PROTOCOL_FROM && !names_protocol {
        let refused = Err(ErrorCode::InconsistentGroupProtocol);
        return reply(context, &response(context, refused));
    }
    let instance = request.group_instance_id;
    let sync = Request::Sync(Sync {
        member: membership(request.member_id, instance, request.generation_id),
        protocol_type: request.protocol_type.map(Text::from),
        protocol: request.protocol_name.map(Text::from),
        assignments,
    });
    match ask(context, Operation::Read, request.group_id, sync).await {
        Ok(answer) => Ok(answer_with(context, answer, |context, reply| match reply {
            Reply::Sync(synced) => response(context, synced),
            Reply::Code(_) | Reply::Join(_) | Reply::Leave(_) | Reply::Offsets(_) => {
                response(context, Err(ErrorCode::UnknownServerError))
            }
        })),
        Err(error) => reply(context, &response(context, Err(error))),
    }
}

fn response(context: &RequestContext, synced: Result<Assigned, ErrorCode>) -> SyncGroupResponse {
    let mut response = SyncGroupResponse::default();
    match synced {
        Ok(assigned) => {
            if context.api_version >= PROTOCOL_FROM {
                response.protocol_type = assigned.protocol_type.as_deref().map(StrBytes::from);
                response.protocol_name = assigned.protocol.as_deref().map(StrBytes::from);
            }
            response.assignment = Bytes::copy_from_slice(&assigned.assignment);
        }
        Err(error) => response.error_code = error.code(),
    }
    context.count_errors([response.error_code]);
    response
}
