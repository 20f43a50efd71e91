//! `SaslAuthenticate` (key 36), versions 0–2: no listener authenticates yet, so that it comes at a
//! time when no authentication is under way: 34, as Kafka answers on such a listener.

use bytes::Bytes;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::SaslAuthenticateResponse;
use millrace_protocol::requests::SaslAuthenticateRequest;

use super::{fixed, read, reply};
use crate::context::RequestContext;
use crate::outcome::{Close, Outcome};

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let _: SaslAuthenticateRequest<'_> = read(context, &body).await?;
    let mut response = SaslAuthenticateResponse::default();
    response.error_code = ErrorCode::IllegalSaslState.code();
    response.error_message = Some(fixed(
        "SaslAuthenticate request received after successful authentication",
    ));
    context.count_errors([response.error_code]);
    reply(context, &response)
}
