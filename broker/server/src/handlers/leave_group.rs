//! `LeaveGroup` (key 13), versions 0–5: members leave, or are taken out by somebody.
//!
//! - v0–2: one member, whose code is the answer's. v3: several, static ones by their name
//!   (KIP-345). v5: a reason, for people (KIP-800).

use bytes::Bytes;
use millrace_core::group::{Leaving, Reply, Request, Text};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::LeaveGroupResponse;
use millrace_protocol::messages::StrBytes;
use millrace_protocol::messages::leave_group_response::MemberResponse;
use millrace_protocol::requests::LeaveGroupRequest;

use super::group_requests::{answer_with, ask};
use super::{Pace, read, reply};
use crate::context::{Operation, RequestContext};
use crate::outcome::{Close, Outcome};

/// First version for several members.
const SEVERAL_FROM: i16 = 3;

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: LeaveGroupRequest<'_> = read(context, &body).await?;
    let mut pace = Pace::default();
    let mut leaving = Vec::new();
    if context.api_version < SEVERAL_FROM {
        leaving.push(Leaving {
            member_id: request.member_id.into(),
            group_instance_id: None,
        });
    }
    for member in request.members {
        leaving.push(Leaving {
            member_id: member.member_id.into(),
            group_instance_id: member.group_instance_id.map(Text::from),
        });
        pace.step().await;
    }
    let leave = Request::Leave(leaving.clone());
    match ask(context, Operation::Read, request.group_id, leave).await {
        Ok(answer) => Ok(answer_with(context, answer, move |context, reply| {
            let left = match reply {
                Reply::Leave(left) => left,
                Reply::Code(_) | Reply::Join(_) | Reply::Sync(_) | Reply::Offsets(_) => {
                    Err(ErrorCode::UnknownServerError)
                }
            };
            response(context, &leaving, left)
        })),
        Err(error) => reply(context, &response(context, &leaving, Err(error))),
    }
}

fn response(
    context: &RequestContext,
    leaving: &[Leaving],
    left: Result<Vec<ErrorCode>, ErrorCode>,
) -> LeaveGroupResponse {
    let mut response = LeaveGroupResponse::default();
    match left {
        // There is no such group: nobody is a member of it.
        Err(error @ ErrorCode::UnknownMemberId) if context.api_version >= SEVERAL_FROM => {
            let rows = leaving.iter().map(|member| row(member, error));
            response.members = rows.collect();
        }
        Err(error) => response.error_code = error.code(),
        Ok(codes) if context.api_version < SEVERAL_FROM => {
            response.error_code = codes.first().copied().unwrap_or(ErrorCode::None).code();
        }
        Ok(codes) => {
            let rows = leaving.iter().zip(codes);
            let rows = rows.map(|(member, code)| row(member, code));
            response.members = rows.collect();
        }
    }
    context.count_errors([response.error_code]);
    context.count_errors(response.members.iter().map(|row| row.error_code));
    response
}

fn row(member: &Leaving, code: ErrorCode) -> MemberResponse {
    let mut row = MemberResponse::default();
    row.member_id = StrBytes::from(&*member.member_id);
    row.group_instance_id = member.group_instance_id.as_deref().map(StrBytes::from);
    row.error_code = code.code();
    row
}
