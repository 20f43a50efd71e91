//! `ListPartitionReassignments` (key 46), version 0: which partitions move between brokers (KIP-455).
//! None ever does, as there is one broker.

use bytes::Bytes;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::ListPartitionReassignmentsResponse;
use millrace_protocol::requests::ListPartitionReassignmentsRequest;

use super::{read, reply};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome};

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let _: ListPartitionReassignmentsRequest<'_> = read(context, &body).await?;
    let mut response = ListPartitionReassignmentsResponse::default();
    response.error_message = None;
    if !context.authorize(Operation::Describe, Resource::Cluster) {
        response.error_code = ErrorCode::ClusterAuthorizationFailed.code();
    }
    context.count_errors([response.error_code]);
    reply(context, &response)
}
