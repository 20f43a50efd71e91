//! `FindCoordinator` (key 10), versions 0–6: which node coordinates a group or transactional id.
//!
//! - v0–3 ask for one key, v4+ for several, each with its own error. v1 names the key's type.
//! - Groups: the leader of the partition of `__consumer_offsets` that the id's hash names. The topic
//!   is made when somebody first asks; 15 while there is no leader.
//! - Transactional ids get an error that ends the client's waiting at once (53), since no amount of
//!   asking again would help; the message says why.
//! - Share groups (type 2) exist from v6. Any other type is an invalid request (42).

use bytes::Bytes;
use millrace_core::cluster::Image;
use millrace_core::group::{OFFSETS_TOPIC, partition_of};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::find_coordinator_response::Coordinator;
use millrace_protocol::messages::metadata_response::MetadataResponseBroker;
use millrace_protocol::messages::{FindCoordinatorResponse, StrBytes};
use millrace_protocol::requests::FindCoordinatorRequest;

use super::answers::Texts;
use super::metadata::brokers;
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

/// Where a coordinator is; an error is the code and the words for why it isn't known.
type Found = Result<Address, (ErrorCode, &'static str)>;

/// A broker as clients of a listener reach it.
struct Address {
    node_id: i32,
    host: StrBytes,
    port: i32,
}

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: FindCoordinatorRequest<'_> = read(context, &body).await?;
    let mut response = FindCoordinatorResponse::default();
    // Made before it is asked which partition it is.
    let image = if request.key_type == GROUP {
        context.node.offsets_topic().await.ok()
    } else {
        None
    };
    let brokers = image
        .as_ref()
        .map_or_else(Vec::new, |image| brokers(context, image));
    let find = |key: &str| match request.key_type {
        GROUP => group(context, image.as_deref(), &brokers, key),
        other => Err(not_here(context, other)),
    };
    if context.api_version >= SEVERAL_KEYS_FROM {
        let mut texts = Texts::default();
        let mut pace = Pace::default();
        let keys = request.coordinator_keys;
        response.coordinators.reserve_exact(keys.len());
        for key in keys {
            let mut row = row(find(key));
            row.key = slice(&body, key);
            row.error_message = row.error_message.filter(|_| texts.tell());
            response.coordinators.push(row);
            pace.step().await;
        }
    } else {
        let row = row(find(request.key));
        response.error_code = row.error_code;
        if context.api_version >= MESSAGE_FROM {
            // Kafka names success too where there is one key.
            let message = row.error_message.filter(|_| row.error_code != 0);
            response.error_message = Some(message.unwrap_or_else(|| fixed("NONE")));
        }
        response.node_id = row.node_id;
        response.host = row.host;
        response.port = row.port;
    }
    context.count_errors([response.error_code]);
    context.count_errors(response.coordinators.iter().map(|row| row.error_code));
    reply(context, &response)
}

fn row(found: Found) -> Coordinator {
    let mut row = Coordinator::default();
    match found {
        Ok(address) => {
            row.node_id = address.node_id;
            row.host = address.host;
            row.port = address.port;
            row.error_message = Some(fixed(""));
        }
        Err((error, message)) => {
            row.node_id = NO_NODE;
            row.port = NO_NODE;
            row.error_code = error.code();
            row.error_message = Some(fixed(message));
        }
    }
    row
}

/// Why there is no coordinator for keys of that type, which are no groups.
fn not_here(context: &RequestContext, key_type: i8) -> (ErrorCode, &'static str) {
    match key_type {
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
        SHARE => (
            ErrorCode::CoordinatorNotAvailable,
            "This broker coordinates no share groups.",
        ),
        _ => (
            ErrorCode::InvalidRequest,
            "Unknown type of coordinator key.",
        ),
    }
}

fn group(
    context: &RequestContext,
    image: Option<&Image>,
    brokers: &[MetadataResponseBroker],
    group: &str,
) -> Found {
    if !context.authorize(Operation::Describe, Resource::Group(group)) {
        return Err((
            ErrorCode::GroupAuthorizationFailed,
            "Not authorized to access the group.",
        ));
    }
    let unavailable = || {
        (
            ErrorCode::CoordinatorNotAvailable,
            "The coordinator is not available.",
        )
    };
    let image = image.ok_or_else(unavailable)?;
    let topic = image.topic_named(OFFSETS_TOPIC).ok_or_else(unavailable)?;
    let partition = partition_of(group, topic.partitions.size());
    let leader = topic.partitions.get(&partition).map(|found| found.leader);
    let leader = leader
        .filter(|leader| *leader >= 0)
        .ok_or_else(unavailable)?;
    let row = brokers.iter().find(|row| row.node_id == leader);
    let row = row.ok_or_else(unavailable)?;
    Ok(Address {
        node_id: row.node_id,
        host: row.host.clone(),
        port: row.port,
    })
}
