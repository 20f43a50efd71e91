//! `DeleteAcls` (key 31), versions 1–3: removes entries from access control lists, of which there are none here: each filter
//! is answered as Kafka does without an authorizer, by 54.

use bytes::Bytes;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::DeleteAclsResponse;
use millrace_protocol::messages::delete_acls_response::DeleteAclsFilterResult;
use millrace_protocol::requests::DeleteAclsRequest;

use super::answers::Texts;
use super::{Pace, fixed, read, reply};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome};

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: DeleteAclsRequest<'_> = read(context, &body).await?;
    let mut response = DeleteAclsResponse::default();
    let code = if context.authorize(Operation::Alter, Resource::Cluster) {
        ErrorCode::SecurityDisabled
    } else {
        ErrorCode::ClusterAuthorizationFailed
    };
    let (mut texts, mut pace) = (Texts::default(), Pace::default());
    response.filter_results.reserve_exact(request.filters.len());
    for _ in request.filters {
        let mut row = DeleteAclsFilterResult::default();
        row.error_code = code.code();
        let told = code == ErrorCode::SecurityDisabled && texts.tell();
        row.error_message = told.then(|| fixed("No Authorizer is configured."));
        response.filter_results.push(row);
        pace.step().await;
    }
    context.count_errors(response.filter_results.iter().map(|row| row.error_code));
    reply(context, &response)
}
