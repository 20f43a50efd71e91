//! `IncrementalAlterConfigs` (key 44), versions 0–1: changes single keys of configurations: set,
//! delete, and for lists append and subtract (KIP-339). Each resource has its own outcome.
//!
//! - All resources of a request that may be changed are changed in one atomic step; what was changed
//!   is in effect, on partitions that are open too, when the answer leaves.
//! - `validate_only` does all but change them.

use bytes::Bytes;
use millrace_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use millrace_protocol::messages::{IncrementalAlterConfigsResponse, StrBytes};
use millrace_protocol::requests::IncrementalAlterConfigsRequest;

use super::answers::Texts;
use super::config_resources::{Wish, alter};
use super::{read, reply, slice};
use crate::context::RequestContext;
use crate::outcome::{Close, Outcome};

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: IncrementalAlterConfigsRequest<'_> = read(context, &body).await?;
    let resources = request.resources.into_iter();
    let wishes = resources.map(|resource| Wish {
        resource_type: resource.resource_type,
        name: resource.resource_name,
        changes: resource
            .configs
            .into_iter()
            .map(|config| (config.name, config.config_operation, config.value)),
    });
    let outcomes = alter(context, wishes, (false, request.validate_only)).await;
    let mut texts = Texts::default();
    let mut response = IncrementalAlterConfigsResponse::default();
    for (resource, outcome) in request.resources.into_iter().zip(outcomes) {
        let mut row = AlterConfigsResourceResponse::default();
        row.error_message = None;
        row.resource_type = resource.resource_type;
        row.resource_name = slice(&body, resource.resource_name);
        if let Err(refusal) = outcome {
            row.error_code = refusal.code.code();
            row.error_message = texts.tell().then(|| StrBytes::from(refusal.message));
        }
        response.responses.push(row);
    }
    context.count_errors(response.responses.iter().map(|row| row.error_code));
    reply(context, &response)
}
