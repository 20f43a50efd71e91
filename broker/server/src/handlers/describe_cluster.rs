//! `DescribeCluster` (key 60), versions 0–2: cluster id, controller and brokers.
//!
//! - Addresses are those of the listener that the request came by.
//! - v1 says which endpoint it wants: brokers (1) are served; controllers (2) are asked on another
//!   listener (error 114), any other number is 115; v0 knows only brokers.
//! - v2 asks for fenced brokers too; there are none.
//! - The authorised operations are a bit field, -2147483648 when not asked for.

use bytes::Bytes;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use millrace_protocol::messages::{DescribeClusterResponse, StrBytes};
use millrace_protocol::requests::DescribeClusterRequest;

use super::{cluster_operations, read, reply};
use crate::context::RequestContext;
use crate::outcome::{Close, Outcome};

/// Endpoint types of the request (KIP-919).
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: DescribeClusterRequest = read(context, &body).await?;
    let mut response = DescribeClusterResponse::default();
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            return refuse(
                context,
                ErrorCode::MismatchedEndpointType,
                "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of \
                 type CONTROLLER",
            );
        }
        _ => {
            return refuse(
                context,
                ErrorCode::UnsupportedEndpointType,
                "Unsupported endpoint type",
            );
        }
    }
    let node = &context.node;
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = cluster_operations(context);
    }
    response.cluster_id = StrBytes::from(&*node.cluster_id);
    response.controller_id = node.config.node.id;
    let advertised = &context.connection.advertised;
    let mut broker = DescribeClusterBroker::default();
    broker.broker_id = node.config.node.id;
    broker.host = StrBytes::from(advertised.host.as_str());
    broker.port = i32::from(advertised.port);
    broker.rack = node.config.node.rack.as_deref().map(StrBytes::from);
    response.brokers = vec![broker];
    reply(context, &response)
}

fn refuse(context: &RequestContext, error: ErrorCode, message: &str) -> Result<Outcome, Close> {
    let mut response = DescribeClusterResponse::default();
    response.error_code = error.code();
    response.error_message = Some(StrBytes::from(message));
    context.count_errors([error.code()]);
    reply(context, &response)
}
