//! `DescribeCluster`: brokers and who answers for the cluster.

use millrace_protocol::api::Api;
use serde_json::json;

use crate::case::{Case, Suite};

pub(super) fn suite() -> Suite {
    Suite::of(Api::DescribeCluster)
        .case(Case::named("brokers").ask(json!({})).vary())
        .case(
            Case::named("what may be done").ask(
                json!({"IncludeClusterAuthorizedOperations": true, "IncludeFencedBrokers": true}),
            ),
        )
        .case(
            Case::named("controllers")
                .versions(1..=2)
                .ask(json!({"EndpointType": 2})),
        )
}
