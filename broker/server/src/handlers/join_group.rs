//! `JoinGroup` (key 11), versions 0–9: a member joins a group and hears of its generation when all
//! have joined.
//!
//! - v0 has one timeout for session and rebalance. v4: a new member comes back with the id that it is
//!   given (KIP-394). v5: static members (KIP-345). v7: the protocol's type in the answer; its name is
//!   null where there is none. v8: a reason, for people (KIP-800). v9: assignments that stay (KIP-814).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use millrace_core::group::{Join, Joined, Protocol, Reply, Request, Text};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::join_group_response::JoinGroupResponseMember;
use millrace_protocol::messages::{JoinGroupResponse, StrBytes};
use millrace_protocol::requests::JoinGroupRequest;

use super::group_requests::{answer_with, ask};
use super::{Pace, fixed, read, reply};
use crate::context::{Operation, RequestContext};
use crate::outcome::{Close, Outcome};

/// First version with a timeout of its own for a rebalance.
const REBALANCE_TIMEOUT_FROM: i16 = 1;
/// First version in which a new member must come back with its id.
const KNOWN_MEMBER_ID_FROM: i16 = 4;
/// First version that tells the protocol's type, and nothing for no protocol.
const PROTOCOL_TYPE_FROM: i16 = 7;
/// First version that knows of assignments that stay.
const SKIP_ASSIGNMENT_FROM: i16 = 9;
/// The longest id that a member can have, as any text of the protocol.
const MEMBER_ID_BYTES_MAX: usize = i16::MAX as usize;
/// First version that names static members.
const INSTANCE_FROM: i16 = 5;

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: JoinGroupRequest<'_> = read(context, &body).await?;
    let protocols = protocols(&request).await;
    let join = join(context, &request, protocols);
    if join.new_member_id.len() > MEMBER_ID_BYTES_MAX {
        // Neither the answer nor a record could hold it; Kafka answers -1.
        return reply(context, &refused(context, ErrorCode::InvalidRequest, ""));
    }
    let join = Request::Join(join);
    match ask(context, Operation::Read, request.group_id, join).await {
        Ok(answer) => Ok(answer_with(context, answer, |context, reply| match reply {
            Reply::Join(joined) => response(context, &joined),
            Reply::Code(_) | Reply::Sync(_) | Reply::Leave(_) | Reply::Offsets(_) => {
                refused(context, ErrorCode::UnknownServerError, "")
            }
        })),
        Err(error) => reply(context, &refused(context, error, request.member_id)),
    }
}

/// The protocols, each name once.
async fn protocols(request: &JoinGroupRequest<'_>) -> Vec<Protocol> {
    let mut pace = Pace::default();
    let mut seen = BTreeSet::new();
    let mut protocols = Vec::new();
    for protocol in request.protocols {
        if seen.insert(protocol.name) {
            protocols.push(Protocol {
                name: protocol.name.into(),
                metadata: protocol.metadata.into(),
            });
        }
        pace.step().await;
    }
    protocols
}

fn join(
    context: &RequestContext,
    request: &JoinGroupRequest<'_>,
    protocols: Vec<Protocol>,
) -> Join {
    let version = context.api_version;
    let rebalance_timeout_ms = if version >= REBALANCE_TIMEOUT_FROM {
        request.rebalance_timeout_ms
    } else {
        request.session_timeout_ms
    };
    Join {
        member_id: request.member_id.into(),
        group_instance_id: request.group_instance_id.map(Text::from),
        new_member_id: new_member_id(context, request.group_instance_id),
        client_id: Arc::clone(&context.client_id),
        client_host: format!("/{}", context.connection.peer.ip()).into(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms,
        protocol_type: request.protocol_type.into(),
        protocols: protocols.into(),
        known_member_id_required: version >= KNOWN_MEMBER_ID_FROM,
        may_skip_assignment: version >= SKIP_ASSIGNMENT_FROM,
    }
}

/// What a new member is called, as in Kafka: the name of instance or client, and a random UUID.
fn new_member_id(context: &RequestContext, instance: Option<&str>) -> Text {
    let mut bytes = [0; 16];
    context.node.host.rng.fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut id = instance.unwrap_or(&context.client_id).to_owned();
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 0 | 4 | 6 | 8 | 10) {
            id.push('-');
        }
        write!(id, "{byte:02x}").expect("a string takes text");
    }
    id.into()
}

fn response(context: &RequestContext, joined: &Joined) -> JoinGroupResponse {
    let version = context.api_version;
    let mut response = JoinGroupResponse::default();
    response.error_code = joined.error.code();
    response.generation_id = joined.generation;
    if version >= PROTOCOL_TYPE_FROM {
        response.protocol_type = joined.protocol_type.as_deref().map(StrBytes::from);
        response.protocol_name = joined.protocol.as_deref().map(StrBytes::from);
    } else {
        let protocol = joined.protocol.as_deref().unwrap_or("");
        response.protocol_name = Some(StrBytes::from(protocol));
    }
    response.leader = StrBytes::from(&*joined.leader);
    if version >= SKIP_ASSIGNMENT_FROM {
        response.skip_assignment = joined.skip_assignment;
    }
    response.member_id = StrBytes::from(&*joined.member_id);
    let members = joined.members.iter().map(|member| {
        let mut row = JoinGroupResponseMember::default();
        row.member_id = StrBytes::from(&*member.member_id);
        if version >= INSTANCE_FROM {
            row.group_instance_id = member.group_instance_id.as_deref().map(StrBytes::from);
        }
        row.metadata = Bytes::copy_from_slice(&member.metadata);
        row
    });
    response.members = members.collect();
    context.count_errors([response.error_code]);
    response
}

fn refused(context: &RequestContext, error: ErrorCode, member_id: &str) -> JoinGroupResponse {
    let mut response = JoinGroupResponse::default();
    response.error_code = error.code();
    response.generation_id = -1;
    response.protocol_name = (context.api_version < PROTOCOL_TYPE_FROM).then(|| fixed(""));
    response.member_id = StrBytes::from(member_id);
    context.count_errors([response.error_code]);
    response
}
