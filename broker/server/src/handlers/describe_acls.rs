//! `DescribeAcls` (key 29), versions 1–3: there are no access control lists here, and the answer is
//! Kafka's without an authorizer: 54.

use bytes::Bytes;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::DescribeAclsResponse;
use millrace_protocol::requests::DescribeAclsRequest;

use super::{fixed, read, reply};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome};

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let _: DescribeAclsRequest<'_> = read(context, &body).await?;
    let mut response = DescribeAclsResponse::default();
    if context.authorize(Operation::Describe, Resource::Cluster) {
        response.error_code = ErrorCode::SecurityDisabled.code();
        response.error_message = Some(fixed("No Authorizer is configured on the broker"));
    } else {
        response.error_code = ErrorCode::ClusterAuthorizationFailed.code();
        response.error_message = None;
    }
    context.count_errors([response.error_code]);
    reply(context, &response)
}
