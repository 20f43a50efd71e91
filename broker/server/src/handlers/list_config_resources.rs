//! `ListConfigResources` (key 74), versions 0–1: what has a configuration (KIP-1142).
//!
//! - Version 0 asks for client metrics only, of which there are none here; so there are groups.
//! - v1: the kinds that are asked for; none asks for all. A kind that Kafka doesn't know: 35.

use bytes::Bytes;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::list_config_resources_response::ConfigResource;
use millrace_protocol::messages::{ListConfigResourcesResponse, StrBytes};
use millrace_protocol::requests::ListConfigResourcesRequest;

use super::config_kinds::Kind;
use super::{Pace, read, reply};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome};

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: ListConfigResourcesRequest<'_> = read(context, &body).await?;
    let mut response = ListConfigResourcesResponse::default();
    match kinds(context, &request) {
        Ok(kinds) => {
            let mut pace = Pace::default();
            for kind in kinds {
                for name in names(context, kind) {
                    let mut resource = ConfigResource::default();
                    resource.resource_name = StrBytes::from(name);
                    resource.resource_type = kind.kafka_id();
                    response.config_resources.push(resource);
                    pace.step().await;
                }
            }
        }
        Err(code) => response.error_code = code.code(),
    }
    context.count_errors([response.error_code]);
    reply(context, &response)
}

fn kinds(
    context: &RequestContext,
    request: &ListConfigResourcesRequest<'_>,
) -> Result<Vec<Kind>, ErrorCode> {
    if !context.authorize(Operation::DescribeConfigs, Resource::Cluster) {
        return Err(ErrorCode::ClusterAuthorizationFailed);
    }
    if context.api_version == 0 {
        return Ok(vec![Kind::ClientMetrics]);
    }
    if request.resource_types.is_empty() {
        return Ok(Kind::ALL.to_vec());
    }
    let asked = request.resource_types.into_iter().map(Kind::from_kafka);
    let mut asked: Vec<Kind> = asked
        .collect::<Result<_, _>>()
        .map_err(|_| ErrorCode::UnsupportedVersion)?;
    asked.sort_unstable();
    asked.dedup();
    Ok(asked)
}

fn names(context: &RequestContext, kind: Kind) -> Vec<String> {
    let image = context.node.cluster.image();
    match kind {
        Kind::Topic => image
            .topics_by_name()
            .map(|topic| topic.name.to_string())
            .collect(),
        Kind::Broker | Kind::BrokerLogger => image
            .brokers()
            .map(|broker| broker.id.to_string())
            .collect(),
        Kind::ClientMetrics | Kind::Group => Vec::new(),
    }
}
