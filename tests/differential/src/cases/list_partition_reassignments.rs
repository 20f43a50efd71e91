//! `ListPartitionReassignments`: none goes on.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use crate::case::{Case, Suite, topic};

pub(super) fn suite() -> Suite {
    let case = |name: &str, topics: Value| {
        Case::named(name).ask(json!({"TimeoutMs": 30000, "Topics": topics}))
    };
    Suite::of(Api::ListPartitionReassignments)
        .shared([topic("^t", 1)])
        .case(case("a topic", json!([{"Name": "^t", "PartitionIndexes": [0]}])).vary())
        .case(case("all", Value::Null))
        .case(case("none", json!([])))
        .case(case(
            "partitions and topics that there aren't",
            json!([
            {"Name": "^t", "PartitionIndexes": [9]}, {"Name": "~no", "PartitionIndexes": [0]},
            {"Name": "", "PartitionIndexes": []}]),
        ))
}
