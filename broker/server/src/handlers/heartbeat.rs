//! `Heartbeat` (key 12), versions 0–4: a member says that it lives, and hears whether to join again.
//!
//! - v3: static members (KIP-345). While the group is loaded the answer is success: the member stays.

use bytes::Bytes;
use millrace_core::group::{Reply, Request};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::HeartbeatResponse;
use millrace_protocol::requests::HeartbeatRequest;

use super::group_requests::{answer_with, ask, membership};
use super::{read, reply};
use crate::context::{Operation, RequestContext};
use crate::outcome::{Close, Outcome};

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: HeartbeatRequest<'_> = read(context, &body).await?;
    let instance = request.group_instance_id;
    let member = membership(request.member_id, instance, request.generation_id);
    let heartbeat = Request::Heartbeat(member);
    match ask(context, Operation::Read, request.group_id, heartbeat).await {
        Ok(answer) => Ok(answer_with(context, answer, |context, reply| {
            response(context, code(&reply))
        })),
        Err(ErrorCode::CoordinatorLoadInProgress) => {
            reply(context, &response(context, ErrorCode::None))
        }
        Err(error) => reply(context, &response(context, error)),
    }
}

fn code(reply: &Reply) -> ErrorCode {
    match reply {
        Reply::Code(code) => *code,
        Reply::Join(_) | Reply::Sync(_) | Reply::Leave(_) | Reply::Offsets(_) => {
            ErrorCode::UnknownServerError
        }
    }
}

fn response(context: &RequestContext, code: ErrorCode) -> HeartbeatResponse {
    let mut response = HeartbeatResponse::default();
    response.error_code = code.code();
    context.count_errors([response.error_code]);
    response
}
