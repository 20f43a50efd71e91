//! `DescribeDelegationToken` (key 41), versions 1–3: tells tokens to who has authenticated, which
//! nobody does yet: 64, as Kafka answers on a listener without authentication.

use bytes::Bytes;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::DescribeDelegationTokenResponse;
use millrace_protocol::requests::DescribeDelegationTokenRequest;

use super::{read, reply};
use crate::context::RequestContext;
use crate::outcome::{Close, Outcome};

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let _: DescribeDelegationTokenRequest<'_> = read(context, &body).await?;
    let mut response = DescribeDelegationTokenResponse::default();
    response.error_code = ErrorCode::DelegationTokenRequestNotAllowed.code();
    context.count_errors([response.error_code]);
    reply(context, &response)
}
