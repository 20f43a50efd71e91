//! `DescribeGroups` (key 15), versions 0–6: what groups are doing, and who is in them.
//!
//! - v3: what the client may do to each. v4: static names. v6: a group that isn't there is 69, with
//!   words; before, it is `Dead` without an error.

use bytes::Bytes;
use millrace_core::group::{Description, Groups};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use millrace_protocol::messages::{DescribeGroupsResponse, StrBytes};
use millrace_protocol::requests::DescribeGroupsRequest;

use super::answers::Answered;
use super::group_requests::{may, told_bytes};
use super::{Pace, fixed, group_operations, parse, reply, slice, take_room};
use crate::context::{Operation, RequestContext};
use crate::outcome::{Close, Outcome};

/// First version that tells what the client may do.
const OPERATIONS_FROM: i16 = 3;
/// First version that tells static names.
const INSTANCE_FROM: i16 = 4;
/// First version in which a group that isn't there is an error.
const NOT_FOUND_FROM: i16 = 6;

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: DescribeGroupsRequest<'_> = parse(context, &body)?;
    let mut bytes = request.answer_bytes(context);
    let mut pace = Pace::default();
    for group in request.groups {
        pace.step().await;
        bytes = bytes.saturating_add(told_bytes(context, group).await);
    }
    take_room(context, bytes).await?;
    let mut response = DescribeGroupsResponse::default();
    response.groups.reserve_exact(request.groups.len());
    for group in request.groups {
        let described = match may(context, Operation::Describe, group) {
            Ok(()) => describe(context, group).await,
            Err(error) => Err(error),
        };
        let mut row = row(context, group, described);
        row.group_id = slice(&body, group);
        let asked = request.include_authorized_operations && row.error_code == 0;
        if context.api_version >= OPERATIONS_FROM && asked {
            row.authorized_operations = group_operations(context, group);
        }
        response.groups.push(row);
        pace.step().await;
    }
    context.count_errors(response.groups.iter().map(|row| row.error_code));
    reply(context, &response)
}

async fn describe(context: &RequestContext, group: &str) -> Result<Option<Description>, ErrorCode> {
    let look = |groups: &Groups| (groups.describe(group), groups.newest_offset(group));
    context.node.look_at_group(group, look).await
}

fn row(
    context: &RequestContext,
    id: &str,
    described: Result<Option<Description>, ErrorCode>,
) -> DescribedGroup {
    let mut row = DescribedGroup::default();
    match described {
        Ok(Some(group)) => {
            row.group_state = fixed(group.state);
            row.protocol_type = StrBytes::from(&*group.protocol_type);
            row.protocol_data = StrBytes::from(&*group.protocol);
            row.members = members(context, &group);
        }
        Ok(None) if context.api_version >= NOT_FOUND_FROM => {
            row.error_code = ErrorCode::GroupIdNotFound.code();
            row.error_message = Some(format!("Group {id} not found.").into());
            row.group_state = fixed("Dead");
        }
        Ok(None) => row.group_state = fixed("Dead"),
        Err(error) => row.error_code = error.code(),
    }
    row
}

fn members(context: &RequestContext, group: &Description) -> Vec<DescribedGroupMember> {
    let members = group.members.iter().map(|member| {
        let mut row = DescribedGroupMember::default();
        row.member_id = StrBytes::from(&*member.member_id);
        if context.api_version >= INSTANCE_FROM {
            row.group_instance_id = member.group_instance_id.as_deref().map(StrBytes::from);
        }
        row.client_id = StrBytes::from(&*member.client_id);
        row.client_host = StrBytes::from(&*member.client_host);
        row.member_metadata = Bytes::copy_from_slice(&member.metadata);
        row.member_assignment = Bytes::copy_from_slice(&member.assignment);
        row
    });
    members.collect()
}
