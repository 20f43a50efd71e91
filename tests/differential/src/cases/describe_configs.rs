//! `DescribeConfigs`: of topics, brokers, groups, loggers and client metrics, by key and all.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use super::with;
use crate::case::{Case, Suite, ask, topic_with};

fn describe(kind: i8, name: &str, keys: Value, said: Value) -> Value {
    let mut resource = json!({"ResourceType": kind, "ResourceName": name});
    resource["ConfigurationKeys"] = keys;
    let request = json!({"Resources": [resource],
        "IncludeSynonyms": false, "IncludeDocumentation": false});
    with(request, said)
}

/// With all that can be said of a key.
fn in_full() -> Value {
    json!({"IncludeSynonyms": true, "IncludeDocumentation": true})
}

pub(super) fn suite() -> Suite {
    let configs = json!({"retention.ms": "1000", "cleanup.policy": "compact,delete", "compression.type": "gzip"});
    let plain = vec![ask(
        Api::CreateTopics,
        json!({"Topics": [{"Name": "^plain", "NumPartitions": 1, "ReplicationFactor": 1}]}),
    )];
    let suite = Suite::of(Api::DescribeConfigs).shared([plain, topic_with("^t", 1, &configs)]);
    refused(others(brokers(topics(suite))))
}

fn topics(suite: Suite) -> Suite {
    suite
        .case(
            Case::named("some keys of a topic")
                .ask(describe(
                    2,
                    "^t",
                    json!(["retention.ms", "segment.bytes"]),
                    in_full(),
                ))
                .vary(),
        )
        .case(Case::named("all keys of a topic").ask(describe(2, "^t", Value::Null, json!({}))))
        .case(
            Case::named("all keys of a topic without any, in full").ask(describe(
                2,
                "^plain",
                Value::Null,
                in_full(),
            )),
        )
        .case(Case::named("synonyms alone").ask(describe(
            2,
            "^t",
            Value::Null,
            json!({"IncludeSynonyms": true}),
        )))
        .case(Case::named("keys that there aren't").ask(describe(
            2,
            "^t",
            json!(["no.such.key", "", "retention.ms", "RETENTION.MS"]),
            json!({}),
        )))
        .case(Case::named("a key twice").ask(describe(
            2,
            "^t",
            json!(["retention.ms", "retention.ms"]),
            json!({}),
        )))
        .case(Case::named("no keys").ask(describe(2, "^t", json!([]), json!({}))))
        .case(
            Case::named("the topic of groups")
                .setup([vec![
                    ask(Api::FindCoordinator, json!({"CoordinatorKeys": ["~g"]}))
                        .until("Coordinators[0].ErrorCode", 0),
                ]])
                .ask(describe(2, "__consumer_offsets", Value::Null, in_full())),
        )
}

fn brokers(suite: Suite) -> Suite {
    suite
        .case(
            Case::named("all keys of the broker")
                .versions(4..=4)
                .ask(describe(4, "1", Value::Null, in_full())),
        )
        .case(Case::named("some keys of the broker").ask(describe(
            4,
            "1",
            json!([
                "log.retention.hours",
                "log.retention.ms",
                "message.max.bytes",
                "num.network.threads",
                "node.id",
                "listeners",
                "log.dirs",
                "auto.create.topics.enable",
                "min.insync.replicas"
            ]),
            in_full(),
        )))
        .case(Case::named("all brokers").ask(describe(4, "", Value::Null, in_full())))
        .case(Case::named("a broker that there isn't").ask(describe(
            4,
            "7",
            Value::Null,
            json!({}),
        )))
        .case(Case::named("a broker that is no number").ask(describe(
            4,
            "x",
            Value::Null,
            json!({}),
        )))
        .case(
            Case::named("loggers of a broker that there isn't").ask(describe(
                8,
                "7",
                Value::Null,
                json!({}),
            )),
        )
        .case(Case::named("loggers of all brokers").ask(describe(8, "", Value::Null, json!({}))))
        .case(Case::named("the root logger").ask(describe(8, "1", json!(["root"]), in_full())))
}

fn others(suite: Suite) -> Suite {
    suite
        .case(Case::named("a group").ask(describe(32, "~g", Value::Null, in_full())))
        .case(Case::named("a key of a group").ask(describe(
            32,
            "~g",
            json!(["consumer.session.timeout.ms"]),
            in_full(),
        )))
        .case(Case::named("a group without a name").ask(describe(32, "", Value::Null, json!({}))))
        .case(Case::named("client metrics").ask(describe(16, "~m", Value::Null, in_full())))
        .case(Case::named("client metrics without a name").ask(describe(
            16,
            "",
            Value::Null,
            json!({}),
        )))
}

fn refused(suite: Suite) -> Suite {
    let mut suite = suite;
    for kind in [0, 1, 3, 5, 64, -1] {
        suite = suite.case(
            Case::named(&format!("something of kind {kind}")).ask(describe(
                kind,
                "x",
                Value::Null,
                json!({}),
            )),
        );
    }
    let row = |kind: i8, name: &str| json!({"ResourceType": kind, "ResourceName": name, "ConfigurationKeys": ["retention.ms"]});
    suite
        .case(Case::named("topics that there aren't and can't be").ask(json!({"Resources": [
            row(2, "~no"), row(2, ""), row(2, "a b"), row(2, "^t"), row(2, "__cluster_metadata")]})))
        .case(Case::named("a topic twice").ask(json!({"Resources": [row(2, "^t"), row(2, "^t")]})))
        .case(Case::named("none").ask(json!({"Resources": []})))
}
