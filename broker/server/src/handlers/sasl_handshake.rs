//! `SaslHandshake` (key 17), versions 0–1: no listener authenticates yet, so that it comes at a time
//! when no authentication is under way: 34, and no mechanisms, as Kafka answers on such a listener.

use bytes::Bytes;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::SaslHandshakeResponse;
use millrace_protocol::requests::SaslHandshakeRequest;

use super::{read, reply};
use crate::context::RequestContext;
use crate::outcome::{Close, Outcome};

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let _: SaslHandshakeRequest<'_> = read(context, &body).await?;
    let mut response = SaslHandshakeResponse::default();
    response.error_code = ErrorCode::IllegalSaslState.code();
    context.count_errors([response.error_code]);
    reply(context, &response)
}
