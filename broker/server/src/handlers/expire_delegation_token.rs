//! `ExpireDelegationToken` (key 40), versions 1–2: makes a token last less long, for who has authenticated, which
//! nobody does yet: 64, as Kafka answers on a listener without authentication.

use bytes::Bytes;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::ExpireDelegationTokenResponse;
use millrace_protocol::requests::ExpireDelegationTokenRequest;

use super::{read, reply};
use crate::context::RequestContext;
use crate::outcome::{Close, Outcome};

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let _: ExpireDelegationTokenRequest<'_> = read(context, &body).await?;
    let mut response = ExpireDelegationTokenResponse::default();
    response.error_code = ErrorCode::DelegationTokenRequestNotAllowed.code();
    response.expiry_timestamp_ms = -1;
    context.count_errors([response.error_code]);
    reply(context, &response)
}
