//! `IncrementalAlterConfigs`: keys set, taken back, added to and taken from.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use super::with;
use crate::case::{Case, Step, Suite, ask, topic, topic_with};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn key(name: &str, operation: i8, value: &Value) -> Value {
    json!({"Name": name, "ConfigOperation": operation, "Value": value})
}

fn alter(configs: &Value) -> Value {
    of(2, "~t", configs)
}

fn of(kind: i8, name: &str, configs: &Value) -> Value {
    json!({"Resources": [{"ResourceType": kind, "ResourceName": name, "Configs": configs}], "ValidateOnly": false})
}

pub(super) fn look() -> Step {
    ask(
        Api::DescribeConfigs,
        json!({"Resources": [{"ResourceType": 2, "ResourceName": "~t", "ConfigurationKeys": [
            "retention.ms", "cleanup.policy", "segment.bytes", "compression.type", "preallocate"]}],
            "IncludeSynonyms": true}),
    )
}

pub(super) fn suite() -> Suite {
    let suite = Suite::of(Api::IncrementalAlterConfigs);
    elsewhere(several(operations(suite)))
}

/// Each operation on a key.
fn one_key() -> Vec<(&'static str, Value)> {
    vec![
        (
            "a key is taken back",
            json!([key("retention.ms", DELETE, &Value::Null)]),
        ),
        (
            "a key is taken back, with a value",
            json!([key("retention.ms", DELETE, &json!("7"))]),
        ),
        (
            "a key that isn't set is taken back",
            json!([key("segment.bytes", DELETE, &Value::Null)]),
        ),
        (
            "a key that there isn't is taken back",
            json!([key("no.such.key", DELETE, &Value::Null)]),
        ),
        (
            "a list is added to",
            json!([key("cleanup.policy", APPEND, &json!("compact"))]),
        ),
        (
            "a list is added to what is there",
            json!([key("cleanup.policy", APPEND, &json!("delete"))]),
        ),
        (
            "a list is added nothing to",
            json!([key("cleanup.policy", APPEND, &json!(""))]),
        ),
        (
            "a list is taken from",
            json!([key("cleanup.policy", SUBTRACT, &json!("delete"))]),
        ),
        (
            "a list is taken from what isn't there",
            json!([key("cleanup.policy", SUBTRACT, &json!("compact"))]),
        ),
        (
            "a list is added what nobody knows",
            json!([key("cleanup.policy", APPEND, &json!("shred"))]),
        ),
        (
            "a number is added to",
            json!([key("retention.ms", APPEND, &json!("5"))]),
        ),
        (
            "a number is taken from",
            json!([key("retention.ms", SUBTRACT, &json!("5"))]),
        ),
        (
            "a key is set to nothing",
            json!([key("retention.ms", SET, &Value::Null)]),
        ),
        (
            "a list is added null to",
            json!([key("cleanup.policy", APPEND, &Value::Null)]),
        ),
    ]
}

/// What is refused, and several keys.
fn keys() -> Vec<(&'static str, Value)> {
    vec![
        (
            "an operation that nobody knows",
            json!([key("retention.ms", 4, &json!("5"))]),
        ),
        (
            "a negative operation",
            json!([key("retention.ms", -1, &json!("5"))]),
        ),
        (
            "a key that there isn't",
            json!([key("no.such.key", SET, &json!("5"))]),
        ),
        ("a key without letters", json!([key("", SET, &json!("5"))])),
        (
            "a value that is none",
            json!([key("retention.ms", SET, &json!("five"))]),
        ),
        (
            "a value below the least",
            json!([key("retention.ms", SET, &json!("-7"))]),
        ),
        (
            "a key twice",
            json!([
                key("retention.ms", SET, &json!("5")),
                key("retention.ms", SET, &json!("6"))
            ]),
        ),
        (
            "a key twice, with different operations",
            json!([
                key("cleanup.policy", APPEND, &json!("compact")),
                key("cleanup.policy", SUBTRACT, &json!("delete"))
            ]),
        ),
        (
            "several keys",
            json!([
                key("retention.ms", SET, &json!("5")),
                key("segment.bytes", SET, &json!("1048577")),
                key("compression.type", SET, &json!("lz4"))
            ]),
        ),
        (
            "several keys, one of them refused",
            json!([
                key("retention.ms", SET, &json!("5")),
                key("compression.type", SET, &json!("rar"))
            ]),
        ),
        (
            "the value that it has by default",
            json!([key("preallocate", SET, &json!("false"))]),
        ),
        ("no keys", json!([])),
        (
            "a short lag that is longer than the long one",
            json!([
                key("min.compaction.lag.ms", SET, &json!("10")),
                key("max.compaction.lag.ms", SET, &json!("5"))
            ]),
        ),
        (
            "a segment that is smaller than its least",
            json!([key("segment.bytes", SET, &json!("1"))]),
        ),
    ]
}

fn operations(suite: Suite) -> Suite {
    let mut suite = suite.case(
        Case::named("a key is set")
            .setup([topic("~t", 1)])
            .ask(alter(&json!([key("retention.ms", SET, &json!("1000"))])))
            .after([look()])
            .vary(),
    );
    for (what, configs) in one_key().into_iter().chain(keys()) {
        let configs_before = json!({"retention.ms": "123", "cleanup.policy": "delete"});
        suite = suite.case(
            Case::named(what)
                .setup([topic_with("~t", 1, &configs_before)])
                .ask(alter(&configs))
                .after([look()]),
        );
    }
    suite
}

fn several(suite: Suite) -> Suite {
    let set = || json!([key("retention.ms", SET, &json!("1000"))]);
    let row = |name: &str| json!({"ResourceType": 2, "ResourceName": name, "Configs": set()});
    suite
        .case(Case::named("only to be validated").setup([topic("~t", 1)])
            .ask(with(alter(&set()), json!({"ValidateOnly": true})))
            .ask(with(alter(&json!([key("retention.ms", SET, &json!("x"))])), json!({"ValidateOnly": true})))
            .after([look()]))
        .case(Case::named("several topics, some of which there aren't").setup([topic("~t", 1), topic("~u", 1)])
            .step(Step::own(json!({"Resources": [row("~t"), row("~no"), row(""), row("~u"), row("a b")]})).sorted("Responses"))
            .after([look()]))
        .case(Case::named("a topic twice").setup([topic("~t", 1), topic("~u", 1)])
            .step(Step::own(json!({"Resources": [row("~t"), row("~u"), row("~t")]})).sorted("Responses"))
            .after([look()]))
        .case(Case::named("none").ask(json!({"Resources": []})))
        .case(Case::named("set, set again, taken back").setup([topic("~t", 1)])
            .ask(alter(&set()))
            .ask(alter(&json!([key("retention.ms", SET, &json!("2000"))])))
            .ask(alter(&json!([key("retention.ms", DELETE, &Value::Null)])))
            .after([look()]))
}

fn one(name: &str, value: &str) -> Value {
    json!([key(name, SET, &json!(value))])
}

/// A resource that isn't a topic: what it is, its type and name, and the keys.
type Resource = (&'static str, i8, &'static str, Value);

fn brokers() -> Vec<Resource> {
    vec![
        ("nothing", 0, "x", one("a", "1")),
        ("something that nobody knows", 64, "x", one("a", "1")),
        (
            "a broker that there isn't",
            4,
            "7",
            one("log.retention.ms", "1"),
        ),
        (
            "a broker that is no number",
            4,
            "x",
            one("log.retention.ms", "1"),
        ),
        (
            "a key of the broker that can't change",
            4,
            "1",
            one("node.id", "9"),
        ),
        (
            "a key of all brokers that can't change",
            4,
            "",
            one("log.dirs", "/x"),
        ),
        ("a key that no broker has", 4, "1", one("no.such.key", "9")),
        (
            "a value that no broker takes",
            4,
            "1",
            one("log.retention.ms", "x"),
        ),
        (
            "a listener's key of all brokers",
            4,
            "",
            one("listeners", "PLAINTEXT://:1"),
        ),
    ]
}

fn others() -> Vec<Resource> {
    vec![
        (
            "a logger that there isn't",
            8,
            "1",
            one("no.such.logger", "INFO"),
        ),
        ("a level that there isn't", 8, "1", one("root", "LOUD")),
        ("loggers of another broker", 8, "7", one("root", "INFO")),
        (
            "a group's key that there isn't",
            32,
            "~g",
            one("no.such.key", "1"),
        ),
        (
            "a group's value that is too small",
            32,
            "~g",
            one("consumer.session.timeout.ms", "1"),
        ),
        (
            "a group without a name",
            32,
            "",
            one("consumer.session.timeout.ms", "50000"),
        ),
        (
            "client metrics' key that there isn't",
            16,
            "~m",
            one("no.such.key", "1"),
        ),
        (
            "client metrics without a name",
            16,
            "",
            one("interval.ms", "1000"),
        ),
    ]
}

/// Resources that aren't topics.
fn elsewhere(suite: Suite) -> Suite {
    let mut suite = suite;
    for (what, kind, name, configs) in brokers().into_iter().chain(others()) {
        suite = suite.case(Case::named(what).ask(of(kind, name, &configs)));
    }
    // The broker learns a moment later what was altered, and lives by it another moment later. No step
    // more than doubles or halves the threads, which Kafka wouldn't do.
    let lives_by = |value: &str| {
        ask(
            Api::DescribeConfigs,
            json!({"Resources": [{"ResourceType": 4, "ResourceName": "1", "ConfigurationKeys": ["log.cleaner.threads"]}],
                "IncludeSynonyms": true}),
        )
        .until("Results[0].Configs[0].Value", value)
    };
    let deleted = json!([key("log.cleaner.threads", DELETE, &Value::Null)]);
    suite.case(
        Case::named("a key of the broker, and of all brokers")
            .ask(of(4, "", &one("log.cleaner.threads", "2")))
            .step(lives_by("2"))
            .ask(of(4, "1", &one("log.cleaner.threads", "4")))
            .step(lives_by("4"))
            .ask(of(4, "1", &deleted))
            .step(lives_by("2"))
            .ask(of(4, "", &deleted))
            .step(lives_by("1"))
            .alone(),
    )
}
