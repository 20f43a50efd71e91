//! `CreateAcls` (key 30), versions 1–3: adds entries to access control lists, of which there are none here: each
//! is answered as Kafka does without an authorizer, by 54.

use bytes::Bytes;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::CreateAclsResponse;
use millrace_protocol::messages::create_acls_response::AclCreationResult;
use millrace_protocol::requests::CreateAclsRequest;

use super::answers::Texts;
use super::{Pace, fixed, read, reply};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome};

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: CreateAclsRequest<'_> = read(context, &body).await?;
    let mut response = CreateAclsResponse::default();
    let code = if context.authorize(Operation::Alter, Resource::Cluster) {
        ErrorCode::SecurityDisabled
    } else {
        ErrorCode::ClusterAuthorizationFailed
    };
    let (mut texts, mut pace) = (Texts::default(), Pace::default());
    response.results.reserve_exact(request.creations.len());
    for _ in request.creations {
        let mut row = AclCreationResult::default();
        row.error_code = code.code();
        let told = code == ErrorCode::SecurityDisabled && texts.tell();
        row.error_message = told.then(|| fixed("No Authorizer is configured."));
        response.results.push(row);
        pace.step().await;
    }
    context.count_errors(response.results.iter().map(|row| row.error_code));
    reply(context, &response)
}
