//! `DescribeQuorum`: of the metadata log, and of what is none.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use crate::case::{Case, Suite};

pub(super) fn suite() -> Suite {
    let row = |name: &str, partitions: &[i32]| -> Value {
        let rows: Vec<Value> = partitions
            .iter()
            .map(|p| json!({"PartitionIndex": p}))
            .collect();
        json!({"TopicName": name, "Partitions": rows})
    };
    let case = |name: &str, topics: Value| Case::named(name).ask(json!({"Topics": topics}));
    Suite::of(Api::DescribeQuorum)
        .case(case("the metadata log", json!([row("__cluster_metadata", &[0])])).vary())
        .case(case(
            "another partition of it",
            json!([row("__cluster_metadata", &[1])]),
        ))
        .case(case(
            "it twice",
            json!([row("__cluster_metadata", &[0, 0])]),
        ))
        .case(case("another topic", json!([row("~t", &[0])])))
        .case(case(
            "it and another topic",
            json!([row("__cluster_metadata", &[0]), row("~t", &[0])]),
        ))
        .case(case("nothing", json!([])))
}
