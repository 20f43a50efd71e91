//! `DeleteGroups` (key 42), versions 0–2: removes groups without members, with their offsets.
//!
//! - A group that is named twice is answered once.

use std::collections::BTreeSet;

use bytes::Bytes;
use millrace_core::group::{Reply, Request};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::DeleteGroupsResponse;
use millrace_protocol::messages::delete_groups_response::DeletableGroupResult;
use millrace_protocol::requests::DeleteGroupsRequest;

use super::group_requests::ask_to_write;
use super::{Pace, read, reply, slice};
use crate::context::{Operation, RequestContext};
use crate::outcome::{Close, Outcome};

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: DeleteGroupsRequest<'_> = read(context, &body).await?;
    let mut response = DeleteGroupsResponse::default();
    response.results.reserve_exact(request.groups_names.len());
    let mut pace = Pace::default();
    let mut seen = BTreeSet::new();
    let mut all_asked = Vec::with_capacity(request.groups_names.len());
    for group in request.groups_names {
        pace.step().await;
        if seen.insert(group) {
            let asked = ask_to_write(context, Operation::Delete, group, Request::Delete).await;
            all_asked.push((group, asked));
        }
    }
    for (group, asked) in all_asked {
        let code = match asked {
            Ok(answer) => match answer.await {
                Reply::Code(code) => code,
                Reply::Join(_) | Reply::Sync(_) | Reply::Leave(_) | Reply::Offsets(_) => {
                    ErrorCode::UnknownServerError
                }
            },
            Err(error) => error,
        };
        let mut row = DeletableGroupResult::default();
        row.group_id = slice(&body, group);
        row.error_code = code.code();
        response.results.push(row);
        pace.step().await;
    }
    context.count_errors(response.results.iter().map(|row| row.error_code));
    reply(context, &response)
}
