//! `ListGroups` (key 16), versions 0–5: all groups that this node coordinates.
//!
//! - v4: only those in some states. v5: only those of some types; there are classic groups alone.
//!   Both in any case; a state or type that nobody knows is no error, and no group has it.
//! - While any shard is being loaded the answer is 14.

use bytes::Bytes;
use millrace_core::group::{Groups, Listed};
use millrace_protocol::messages::list_groups_response::ListedGroup;
use millrace_protocol::messages::{ListGroupsResponse, StrBytes};
use millrace_protocol::requests::ListGroupsRequest;

use super::{Pace, fixed, parse, reply, take_room};
use crate::context::{Operation, RequestContext, Resource};
use crate::coordinator::groups::look_at;
use crate::outcome::{Close, Outcome};

/// First version that tells states.
const STATES_FROM: i16 = 4;
/// First version that tells types.
const TYPES_FROM: i16 = 5;
/// The type of every group here, as Kafka calls it.
const CLASSIC: &str = "classic";

/// What a group takes in an answer, beside its texts.
const ROW_BYTES: u64 = 256;

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: ListGroupsRequest<'_> = parse(context, &body)?;
    let shards = context.node.written_group_shards();
    let mut bytes = 0_u64;
    for shard in &shards {
        let size = |groups: &Groups| {
            let bytes = groups
                .list()
                .map(|one| ROW_BYTES + 2 * one.group.len() as u64);
            bytes.sum::<u64>()
        };
        // One that can't be asked has nothing to tell.
        bytes = bytes.saturating_add(shard.look(size).unwrap_or(0));
    }
    take_room(context, bytes).await?;
    let mut response = ListGroupsResponse::default();
    let mut pace = Pace::default();
    for shard in shards {
        let look = |groups: &Groups| {
            (
                groups.list().collect::<Vec<Listed>>(),
                groups.newest_of_all(),
            )
        };
        let listed = look_at(&shard, look).await;
        match listed {
            Ok(listed) => {
                for one in listed {
                    if is_asked(context, &request, &one) {
                        response.groups.push(row(context, &one));
                    }
                    pace.step().await;
                }
            }
            Err(error) => {
                response.error_code = error.code();
                response.groups.clear();
                break;
            }
        }
    }
    context.count_errors([response.error_code]);
    reply(context, &response)
}

fn is_asked(context: &RequestContext, request: &ListGroupsRequest<'_>, group: &Listed) -> bool {
    let states = request.states_filter;
    let types = request.types_filter;
    let state_asked = states.is_empty()
        || states
            .into_iter()
            .any(|s| s.eq_ignore_ascii_case(group.state));
    let type_asked = types.is_empty() || types.into_iter().any(|t| t.eq_ignore_ascii_case(CLASSIC));
    let may = || {
        context.authorize(Operation::Describe, Resource::Cluster)
            || context.authorize(Operation::Describe, Resource::Group(&group.group))
    };
    state_asked && type_asked && may()
}

fn row(context: &RequestContext, group: &Listed) -> ListedGroup {
    let mut row = ListedGroup::default();
    row.group_id = StrBytes::from(&*group.group);
    row.protocol_type = StrBytes::from(&*group.protocol_type);
    if context.api_version >= STATES_FROM {
        row.group_state = fixed(group.state);
    }
    if context.api_version >= TYPES_FROM {
        row.group_type = fixed(CLASSIC);
    }
    row
}
