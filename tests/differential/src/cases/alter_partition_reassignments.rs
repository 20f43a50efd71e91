//! `AlterPartitionReassignments`: to where partitions lie already, and to where they can't.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use super::with;
use crate::case::{Case, Step, Suite, ask, topic};

fn to(rows: &[(&str, i32, Value)], said: Value) -> Value {
    let topics: Vec<Value> = rows
        .iter()
        .map(|(name, partition, replicas)| {
            json!({"Name": name, "Partitions": [{"PartitionIndex": partition, "Replicas": replicas}]})
        })
        .collect();
    with(json!({"TimeoutMs": 30000, "Topics": topics}), said)
}

fn look() -> Step {
    ask(
        Api::Metadata,
        json!({"Topics": [{"Name": "~t"}], "AllowAutoTopicCreation": false}),
    )
}

pub(super) fn suite() -> Suite {
    let mut suite = Suite::of(Api::AlterPartitionReassignments).case(
        Case::named("to where it is")
            .setup([topic("~t", 2)])
            .ask(to(&[("~t", 0, json!([1]))], json!({})))
            .after([look()])
            .vary(),
    );
    for (what, replicas) in [
        ("taken back", Value::Null),
        ("to nobody", json!([])),
        ("to a broker twice", json!([1, 1])),
        ("to a broker that there isn't", json!([7])),
        ("to a negative broker", json!([-1])),
        ("to two brokers, one of which there isn't", json!([1, 2])),
    ] {
        suite = suite.case(
            Case::named(what)
                .setup([topic("~t", 2)])
                .ask(to(&[("~t", 0, replicas)], json!({})))
                .after([look()]),
        );
    }
    suite
        .case(
            Case::named("partitions and topics that there aren't")
                .setup([topic("~t", 2)])
                .ask(to(
                    &[
                        ("~t", 9, json!([1])),
                        ("~no", 0, json!([1])),
                        ("", 0, Value::Null),
                        ("~t", 1, json!([1])),
                    ],
                    json!({}),
                )),
        )
        .case(Case::named("none").ask(to(&[], json!({}))))
        .case(
            Case::named("as many replicas as there are")
                .versions(1..=1)
                .setup([topic("~t", 1)])
                .ask(to(
                    &[("~t", 0, json!([1, 2]))],
                    json!({"AllowReplicationFactorChange": false}),
                )),
        )
}
