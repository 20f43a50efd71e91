//! `ElectLeaders`: where the right one leads, and of partitions that there aren't.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use crate::case::{Case, Step, Suite, topic};

fn elect(kind: i8, topics: &Value) -> Step {
    Step::own(json!({"ElectionType": kind, "TopicPartitions": topics, "TimeoutMs": 30000}))
        .sorted("ReplicaElectionResults")
        .sorted("ReplicaElectionResults[].PartitionResult")
}

pub(super) fn suite() -> Suite {
    let row = |name: &str, partitions: &[i32]| -> Value {
        json!({"Topic": name, "Partitions": partitions})
    };
    let mut suite = Suite::of(Api::ElectLeaders).shared([topic("^t", 2)]).case(
        Case::named("a leader")
            .step(elect(0, &json!([row("^t", &[0])])))
            .vary()
            // All topics: of other cases too.
            .without("TopicPartitions", "null"),
    );
    for kind in [0, 1, 2, -1] {
        suite = suite.case(
            Case::named(&format!("elections of kind {kind}"))
                .versions(1..=2)
                .step(elect(kind, &json!([row("^t", &[0, 1])]))),
        );
    }
    suite
        .case(
            Case::named("of all").step(elect(0, &Value::Null).only_mine("ReplicaElectionResults")),
        )
        .case(Case::named("of none").step(elect(0, &json!([]))))
        .case(
            Case::named("of partitions and topics that there aren't").step(elect(
                0,
                &json!([row("^t", &[0, 9, -1]), row("~no", &[0]), row("", &[0])]),
            )),
        )
        .case(Case::named("of a partition twice").step(elect(0, &json!([row("^t", &[0, 0])]))))
}
