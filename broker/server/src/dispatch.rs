//! From API key to handler: one row for each row of the protocol's table.
//!
//! What always holds: [`handler`] matches every API the table names, so one without a handler does
//! not compile; versions, order and what is advertised come from the table's row and nowhere else;
//! a request that no row serves ends its connection, but for `ApiVersions`, which answers any
//! version (KIP-511).

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use millrace_host::BoxFuture;
use millrace_protocol::api::{Api, ApiRow, Ordering, TABLE};

use crate::altered;
use crate::context::{Node, RequestContext};
use crate::handlers;
use crate::metrics::ApiMetrics;
use crate::net::{Request, Route, Service};
use crate::outcome::{Close, CloseReason, Outcome};

/// What a handler's effect gives.
pub(crate) type Handled<'a> = BoxFuture<'a, Result<Outcome, Close>>;

/// Runs the effect of one request.
pub(crate) type Handler = for<'a> fn(&'a RequestContext, Bytes) -> Handled<'a>;

/// The handler of an API: `handlers/<api>.rs`.
fn handler(api: Api) -> Handler {
    macro_rules! of {
        ($module:ident) => {
            |context, body| Box::pin(handlers::$module::handle(context, body))
        };
    }
    match api {
        Api::AlterPartitionReassignments => of!(alter_partition_reassignments),
        Api::AlterReplicaLogDirs => of!(alter_replica_log_dirs),
        Api::AlterConfigs => of!(alter_configs),
        Api::DescribeConfigs => of!(describe_configs),
        Api::IncrementalAlterConfigs => of!(incremental_alter_configs),
        Api::ListConfigResources => of!(list_config_resources),
        Api::ApiVersions => of!(api_versions),
        Api::CreateAcls => of!(create_acls),
        Api::CreateDelegationToken => of!(create_delegation_token),
        Api::CreatePartitions => of!(create_partitions),
        Api::CreateTopics => of!(create_topics),
        Api::DeleteAcls => of!(delete_acls),
        Api::DeleteRecords => of!(delete_records),
        Api::DeleteTopics => of!(delete_topics),
        Api::DescribeAcls => of!(describe_acls),
        Api::DescribeCluster => of!(describe_cluster),
        Api::DescribeDelegationToken => of!(describe_delegation_token),
        Api::DescribeLogDirs => of!(describe_log_dirs),
        Api::DescribeProducers => of!(describe_producers),
        Api::DescribeQuorum => of!(describe_quorum),
        Api::DescribeTopicPartitions => of!(describe_topic_partitions),
        Api::ElectLeaders => of!(elect_leaders),
        Api::ExpireDelegationToken => of!(expire_delegation_token),
        Api::Fetch => of!(fetch),
        Api::FindCoordinator => of!(find_coordinator),
        Api::InitProducerId => of!(init_producer_id),
        Api::ListOffsets => of!(list_offsets),
        Api::ListPartitionReassignments => of!(list_partition_reassignments),
        Api::Metadata => of!(metadata),
        Api::OffsetForLeaderEpoch => of!(offset_for_leader_epoch),
        Api::OffsetCommit => of!(offset_commit),
        Api::OffsetFetch => of!(offset_fetch),
        Api::JoinGroup => of!(join_group),
        Api::Heartbeat => of!(heartbeat),
        Api::LeaveGroup => of!(leave_group),
        Api::SyncGroup => of!(sync_group),
        Api::DescribeGroups => of!(describe_groups),
        Api::ListGroups => of!(list_groups),
        Api::DeleteGroups => of!(delete_groups),
        Api::OffsetDelete => of!(offset_delete),
        Api::Produce => of!(produce),
        Api::RenewDelegationToken => of!(renew_delegation_token),
        Api::SaslAuthenticate => of!(sasl_authenticate),
        Api::SaslHandshake => of!(sasl_handshake),
        Api::UpdateFeatures => of!(update_features),
    }
}

/// The table of a node, ready to serve.
pub(crate) struct Dispatch {
    node: Arc<Node>,
    /// By key.
    rows: Vec<Option<Row>>,
}

struct Row {
    api: &'static ApiRow,
    handler: Handler,
    metrics: Arc<ApiMetrics>,
}

impl fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatch")
            .field("rows", &self.rows.len())
            .finish_non_exhaustive()
    }
}

impl Dispatch {
    /// The table for `node`.
    pub(crate) fn new(node: Arc<Node>) -> Self {
        let mut rows = Vec::new();
        for api in TABLE {
            let key = usize::try_from(api.api.key()).expect("Kafka's keys are not negative");
            rows.resize_with(key + 1, || None);
            let metrics = Arc::new(node.metrics.api(api.name));
            rows[key] = Some(Row {
                api,
                handler: handler(api.api),
                metrics,
            });
        }
        Self { node, rows }
    }

    fn row(&self, api_key: i16) -> Option<&Row> {
        self.rows.get(usize::try_from(api_key).ok()?)?.as_ref()
    }
}

impl Service for Dispatch {
    fn route(&self, api_key: i16, api_version: i16) -> Result<Route, Close> {
        let Some(row) = self.row(api_key) else {
            let detail = format!("API {api_key} is not served");
            return Err(Close::new(CloseReason::Unsupported, detail));
        };
        let api = row.api;
        if !api.served.contains(api_version) && !answers_any_version(api.api) {
            let detail = format!(
                "{} version {api_version} is not served, versions {} to {} are",
                api.name, api.served.min, api.served.max
            );
            return Err(Close::new(CloseReason::Unsupported, detail));
        }
        Ok(Route {
            request_tags: api.request_header_version(api_version) == 2,
            response_tags: api.response_header_version(api_version) == 1,
            overlaps: api.ordering == Ordering::Overlaps,
            metrics: Arc::clone(&row.metrics),
        })
    }

    fn handle(&self, request: Request) -> BoxFuture<'_, Result<Outcome, Close>> {
        Box::pin(async move {
            let Request {
                connection,
                api_key,
                api_version,
                ..
            } = request;
            let row = self.row(api_key).expect("only routed requests are handled");
            let context = RequestContext {
                node: Arc::clone(&self.node),
                connection,
                client_id: request.client_id,
                api: row.api,
                api_version,
                received: request.received,
                deadline: request.deadline,
                room: request.room,
            };
            let body = altered::asked(api_key, api_version, request.body);
            let outcome = (row.handler)(&context, body).await?;
            Ok(altered::answered(api_key, api_version, outcome).await)
        })
    }
}

/// A client asks for the versions before it knows any.
fn answers_any_version(api: Api) -> bool {
    api == Api::ApiVersions
}
