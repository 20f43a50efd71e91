//! `DescribeLogDirs`: what lies where.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use crate::case::{Case, Step, Suite, records, topic};

fn describe(topics: Value) -> Step {
    let mut request = json!({});
    request["Topics"] = topics;
    Step::own(request)
        .sorted("Results[].Topics")
        .sorted("Results[].Topics[].Partitions")
}

pub(super) fn suite() -> Suite {
    let row = |name: &str, partitions: &[i32]| json!({"Topic": name, "Partitions": partitions});
    Suite::of(Api::DescribeLogDirs)
        .shared([topic("^t", 3), records("^t", 0, 5)])
        .case(
            Case::named("some partitions")
                .step(describe(json!([row("^t", &[0, 1])])))
                .vary()
                // All partitions: of other cases too.
                .without("Topics", "null"),
        )
        .case(
            Case::named("all partitions").step(describe(Value::Null).only_mine("Results[].Topics")),
        )
        .case(
            Case::named("partitions and topics that there aren't").step(describe(json!([
                row("^t", &[9, -1]),
                row("~no", &[0]),
                row("", &[0])
            ]))),
        )
        .case(
            Case::named("a partition twice")
                .step(describe(json!([row("^t", &[0, 0]), row("^t", &[1])]))),
        )
        .case(Case::named("none").step(describe(json!([]))))
}
