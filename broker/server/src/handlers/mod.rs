//! One file per API: decode, authorise, run what core decides, encode. No handler decides itself.

pub(crate) mod api_versions;
pub(crate) mod describe_cluster;
pub(crate) mod find_coordinator;

use bytes::Bytes;
use millrace_protocol::messages::{self, DecodeLimits, Message};

use crate::context::RequestContext;
use crate::outcome::{Close, CloseReason, Outcome};

/// Reads the body of a request in the version it speaks. What cannot be read ends the connection,
/// as in Kafka.
pub(crate) fn decode<M: Message>(context: &RequestContext, body: Bytes) -> Result<M, Close> {
    let limits = DecodeLimits {
        message_bytes_max: context.node.config.network.request_bytes_max as usize,
        ..DecodeLimits::default()
    };
    messages::decode(context.api_version, body, &limits).map_err(Close::unparsable)
}

/// Writes a reply in the version that was asked.
pub(crate) fn reply<M: Message>(context: &RequestContext, message: &M) -> Result<Outcome, Close> {
    reply_in(context.api_version, message)
}

/// Writes a reply in `version`.
pub(crate) fn reply_in<M: Message>(version: i16, message: &M) -> Result<Outcome, Close> {
    let body = messages::encode(message, version)
        .map_err(|error| Close::new(CloseReason::Internal, error.to_string()))?;
    Ok(Outcome::bytes(body))
}
