//! `CreateDelegationToken` (key 38), versions 1–3: a token is given to who has authenticated, which
//! nobody does yet: 64, as Kafka answers on a listener without authentication. The answer names the
//! principal that asked.

use bytes::Bytes;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::{CreateDelegationTokenResponse, StrBytes};
use millrace_protocol::requests::CreateDelegationTokenRequest;

use super::{read, reply};
use crate::context::RequestContext;
use crate::outcome::{Close, Outcome};

/// First version that tells who asked, apart from whose the token is.
const REQUESTER_FROM: i16 = 3;

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let _: CreateDelegationTokenRequest<'_> = read(context, &body).await?;
    let mut response = CreateDelegationTokenResponse::default();
    response.error_code = ErrorCode::DelegationTokenRequestNotAllowed.code();
    let principal = &context.connection.principal.name;
    let (kind, name) = principal.split_once(':').unwrap_or(("User", principal));
    response.principal_type = StrBytes::from(kind);
    response.principal_name = StrBytes::from(name);
    if context.api_version >= REQUESTER_FROM {
        response.token_requester_principal_type = StrBytes::from(kind);
        response.token_requester_principal_name = StrBytes::from(name);
    }
    response.issue_timestamp_ms = -1;
    response.expiry_timestamp_ms = -1;
    response.max_timestamp_ms = -1;
    context.count_errors([response.error_code]);
    reply(context, &response)
}
