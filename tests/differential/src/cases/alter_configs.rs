//! `AlterConfigs`: all keys of a resource in place of those before.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use super::incremental_alter_configs::look;
use super::with;
use crate::case::{Case, Step, Suite, topic_with};

fn alter(configs: Value) -> Value {
    of(2, "~t", configs)
}

fn of(kind: i8, name: &str, configs: Value) -> Value {
    let mut resource = json!({"ResourceType": kind, "ResourceName": name});
    resource["Configs"] = configs;
    json!({"Resources": [resource], "ValidateOnly": false})
}

fn key(name: &str, value: Value) -> Value {
    let mut key = json!({"Name": name});
    key["Value"] = value;
    key
}

/// What keys are asked for.
fn keys() -> [(&'static str, Value); 7] {
    [
        ("no keys", json!([])),
        ("no value", json!([key("retention.ms", Value::Null)])),
        (
            "a key that there isn't",
            json!([key("no.such.key", json!("1"))]),
        ),
        ("a key without letters", json!([key("", json!("1"))])),
        (
            "a value that is none",
            json!([key("retention.ms", json!("x"))]),
        ),
        (
            "a key twice",
            json!([
                key("retention.ms", json!("1")),
                key("retention.ms", json!("2"))
            ]),
        ),
        (
            "several keys, one of them refused",
            json!([
                key("retention.ms", json!("1")),
                key("segment.bytes", json!("2"))
            ]),
        ),
    ]
}

pub(super) fn suite() -> Suite {
    let before = json!({"retention.ms": "123", "cleanup.policy": "compact"});
    let case = |name: &str| Case::named(name).setup([topic_with("~t", 1, &before)]);
    let mut suite = Suite::of(Api::AlterConfigs).case(
        case("one key in place of two")
            .ask(alter(json!([key("segment.bytes", json!("1048577"))])))
            .after([look()])
            .vary()
            // A topic twice never gets an answer from Kafka.
            .without("Resources", "twice"),
    );
    for (what, configs) in keys() {
        suite = suite.case(case(what).ask(alter(configs)).after([look()]));
    }
    for (what, kind, name) in [
        ("something that nobody knows", 64, "x"),
        ("a topic that there isn't", 2, "~no"),
        ("a topic without a name", 2, ""),
        ("a broker that there isn't", 4, "7"),
        ("loggers", 8, "1"),
        ("loggers of another broker", 8, "7"),
        ("a broker that is no number", 4, "x"),
        ("client metrics without a name", 16, ""),
        ("a group without a name", 32, ""),
    ] {
        suite = suite.case(Case::named(what).ask(of(
            kind,
            name,
            json!([key("retention.ms", json!("1"))]),
        )));
    }
    let row = |name: &str| json!({"ResourceType": 2, "ResourceName": name, "Configs": [key("retention.ms", json!("9"))]});
    suite
        .case(
            case("only to be validated")
                .ask(with(
                    alter(json!([key("retention.ms", json!("9"))])),
                    json!({"ValidateOnly": true}),
                ))
                .ask(with(
                    alter(json!([key("retention.ms", json!("x"))])),
                    json!({"ValidateOnly": true}),
                ))
                .after([look()]),
        )
        .case(
            case("several, one that there isn't")
                .step(Step::own(json!({"Resources": [row("~t"), row("~no")]})).sorted("Responses"))
                .after([look()]),
        )
        .case(Case::named("none").ask(json!({"Resources": []})))
}
