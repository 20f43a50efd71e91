//! `CreateTopics`: counts, assignments and configurations that are taken or refused.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use super::with;
use crate::case::{Case, Step, Suite, ask, topic};

/// One topic, with what is said of it.
fn one(name: &str, said: Value) -> Value {
    create(&[with(
        json!({"Name": name, "NumPartitions": 2, "ReplicationFactor": 1, "Assignments": [], "Configs": []}),
        said,
    )])
}

fn create(topics: &[Value]) -> Value {
    json!({"Topics": topics, "timeoutMs": 30000, "validateOnly": false})
}

/// What there is of some topics, and how it is configured.
fn look(names: &[&str]) -> Vec<Step> {
    let topics: Vec<Value> = names.iter().map(|name| json!({"Name": name})).collect();
    let configs: Vec<Value> = names
        .iter()
        .map(|name| {
            json!({"ResourceType": 2, "ResourceName": name,
                "ConfigurationKeys": ["retention.ms", "cleanup.policy", "max.message.bytes"]})
        })
        .collect();
    vec![
        ask(
            Api::Metadata,
            json!({"Topics": topics, "AllowAutoTopicCreation": false}),
        ),
        ask(Api::DescribeConfigs, json!({"Resources": configs})),
    ]
}

pub(super) fn suite() -> Suite {
    let suite = Suite::of(Api::CreateTopics).shared([topic("^t", 1), topic("^a.b", 1)]);
    several(configured(assigned_in_vain(assigned(counted(named(
        suite,
    ))))))
}

fn named(suite: Suite) -> Suite {
    let mut suite = suite.case(
        Case::named("a topic")
            .ask(one(
                "~t",
                json!({"Configs": [{"Name": "retention.ms", "Value": "1000"}]}),
            ))
            .after(look(&["~t"]))
            .vary()
            // Whether 77 ms are enough is a matter of speed.
            .without("timeoutMs", "unknown"),
    );
    for (what, name) in [
        ("no letters", ""),
        (".", "."),
        ("..", ".."),
        ("a blank", "~a b"),
        ("a slash", "~a/b"),
        ("an umlaut", "~\u{e4}"),
        ("all kinds of letters", "~aA0._-"),
        ("that of a topic there is", "^t"),
        ("one that collides with another", "^a_b"),
        ("that of the metadata log", "__cluster_metadata"),
    ] {
        suite = suite.case(Case::named(&format!("a name: {what}")).ask(one(name, json!({}))));
    }
    suite
        .case(Case::named("a name of 249 letters").ask(one("", json!({"Name": {"long": 249}}))))
        .case(Case::named("a name of 250 letters").ask(one("", json!({"Name": {"long": 250}}))))
}

fn counted(suite: Suite) -> Suite {
    let mut suite = suite;
    for (partitions, factor) in [
        (-1, 1),
        (1, -1),
        (-1, -1),
        (0, 1),
        (-2, 1),
        (1, 0),
        (1, -2),
        (1, 2),
        (1, i16::MAX),
        (10_001, 1),
    ] {
        suite = suite.case(
            Case::named(&format!("{partitions} partitions, {factor} times"))
                .ask(one(
                    "~t",
                    json!({"NumPartitions": partitions, "ReplicationFactor": factor}),
                ))
                .after(look(&["~t"])),
        );
    }
    suite
}

/// A topic whose partitions are assigned.
fn case(name: &str, assignments: Value, partitions: i32, factor: i16) -> Case {
    let mut said = json!({"NumPartitions": partitions, "ReplicationFactor": factor});
    said["Assignments"] = assignments;
    Case::named(name).ask(one("~t", said)).after(look(&["~t"]))
}

/// A partition on some brokers.
fn on(partition: i32, brokers: Value) -> Value {
    let mut row = json!({"PartitionIndex": partition});
    row["BrokerIds"] = brokers;
    row
}

fn assigned(suite: Suite) -> Suite {
    suite
        .case(case(
            "assigned",
            json!([on(0, json!([1])), on(1, json!([1]))]),
            -1,
            -1,
        ))
        .case(case(
            "assigned in no order",
            json!([on(1, json!([1])), on(0, json!([1]))]),
            -1,
            -1,
        ))
        .case(
            case("assigned alone", json!([on(0, json!([1]))]), -1, -1)
                .vary_within("Topics[].Assignments"),
        )
        .case(case(
            "assigned, and counted",
            json!([on(0, json!([1]))]),
            1,
            1,
        ))
        .case(case(
            "assigned, and counted by its partitions",
            json!([on(0, json!([1]))]),
            1,
            -1,
        ))
        .case(case(
            "assigned, and counted by its replicas",
            json!([on(0, json!([1]))]),
            -1,
            1,
        ))
        .case(case(
            "assigned with a gap",
            json!([on(0, json!([1])), on(2, json!([1]))]),
            -1,
            -1,
        ))
        .case(case("assigned from 1", json!([on(1, json!([1]))]), -1, -1))
        .case(case(
            "a partition assigned twice",
            json!([on(0, json!([1])), on(0, json!([1]))]),
            -1,
            -1,
        ))
}

/// Assignments to brokers that there aren't, or not so.
fn assigned_in_vain(suite: Suite) -> Suite {
    suite
        .case(case(
            "assigned to a broker that there isn't",
            json!([on(0, json!([7]))]),
            -1,
            -1,
        ))
        .case(case(
            "assigned to nobody",
            json!([on(0, json!([]))]),
            -1,
            -1,
        ))
        .case(case(
            "assigned to a broker twice",
            json!([on(0, json!([1, 1]))]),
            -1,
            -1,
        ))
        .case(case(
            "assigned to different numbers",
            json!([on(0, json!([1])), on(1, json!([1, 2]))]),
            -1,
            -1,
        ))
        .case(case(
            "assigned to a negative broker",
            json!([on(0, json!([-1]))]),
            -1,
            -1,
        ))
        .case(case(
            "a negative partition assigned",
            json!([on(-1, json!([1]))]),
            -1,
            -1,
        ))
}

/// One key.
fn set(name: &str, value: Value) -> Value {
    let mut key = json!({"Name": name});
    key["Value"] = value;
    json!([key])
}

/// Values that a key takes, and such as it doesn't.
fn numbers() -> Vec<(&'static str, Value)> {
    vec![
        ("a key that nobody knows", set("no.such.key", json!("1"))),
        ("a key without letters", set("", json!("1"))),
        ("no value", set("retention.ms", Value::Null)),
        ("an empty number", set("retention.ms", json!(""))),
        ("a word for a number", set("retention.ms", json!("long"))),
        ("a number below its least", set("retention.ms", json!("-2"))),
        ("the least of a number", set("retention.ms", json!("-1"))),
        (
            "a number with a fraction",
            set("segment.bytes", json!("1.5")),
        ),
        ("a number in blanks", set("retention.ms", json!(" 5 "))),
        ("a segment too small", set("segment.bytes", json!("1000"))),
        (
            "a policy that nobody knows",
            set("cleanup.policy", json!("shred")),
        ),
        (
            "two policies",
            set("cleanup.policy", json!("compact,delete")),
        ),
        (
            "two policies with blanks",
            set("cleanup.policy", json!(" delete , compact ")),
        ),
        ("no policy", set("cleanup.policy", json!(""))),
        (
            "a codec that nobody knows",
            set("compression.type", json!("rar")),
        ),
        (
            "a codec in capitals",
            set("compression.type", json!("GZIP")),
        ),
        ("a boolean in capitals", set("preallocate", json!("TRUE"))),
        ("no boolean", set("preallocate", json!("yes"))),
        ("a ratio", set("min.cleanable.dirty.ratio", json!("0.3"))),
        (
            "a ratio above 1",
            set("min.cleanable.dirty.ratio", json!("1.1")),
        ),
        (
            "a ratio that is none",
            set("min.cleanable.dirty.ratio", json!("NaN")),
        ),
    ]
}

/// Values of several keys, and of the rarer ones.
fn words() -> Vec<(&'static str, Value)> {
    vec![
        (
            "a kind of time that nobody knows",
            set("message.timestamp.type", json!("LastTime")),
        ),
        (
            "lag the other way round",
            json!([
            {"Name": "min.compaction.lag.ms", "Value": "10"}, {"Name": "max.compaction.lag.ms", "Value": "5"}]),
        ),
        (
            "a key twice",
            json!([
            {"Name": "retention.ms", "Value": "10"}, {"Name": "retention.ms", "Value": "20"}]),
        ),
        (
            "local retention above all",
            json!([
            {"Name": "retention.ms", "Value": "10"}, {"Name": "local.retention.ms", "Value": "20"}]),
        ),
        (
            "storage elsewhere",
            set("remote.storage.enable", json!("true")),
        ),
        ("an old format", set("message.format.version", json!("2.8"))),
        (
            "throttled replicas",
            set("leader.replication.throttled.replicas", json!("0:1,1:1")),
        ),
        (
            "throttled replicas that are none",
            set("leader.replication.throttled.replicas", json!("0-1")),
        ),
        (
            "a level of gzip",
            json!([
            {"Name": "compression.type", "Value": "gzip"}, {"Name": "compression.gzip.level", "Value": "9"}]),
        ),
        (
            "a level of gzip that is none",
            set("compression.gzip.level", json!("10")),
        ),
    ]
}

fn configured(suite: Suite) -> Suite {
    let mut suite = suite;
    for (what, configs) in numbers().into_iter().chain(words()) {
        suite = suite.case(
            Case::named(&format!("configured: {what}"))
                .ask(one("~t", json!({"Configs": configs})))
                .after(look(&["~t"])),
        );
    }
    suite
}

fn several(suite: Suite) -> Suite {
    let row = |name: &str, partitions: i32| json!({"Name": name, "NumPartitions": partitions, "ReplicationFactor": 1});
    suite
        .case(
            Case::named("several, one of them refused")
                .step(
                    Step::own(create(&[row("~a", 1), row("~b", 0), row("~c", 3)])).sorted("Topics"),
                )
                .after(look(&["~a", "~b", "~c"])),
        )
        .case(
            Case::named("a name twice")
                .step(
                    Step::own(create(&[row("~a", 1), row("~b", 1), row("~a", 2)])).sorted("Topics"),
                )
                .after(look(&["~a", "~b"])),
        )
        .case(
            Case::named("two names that collide")
                .step(Step::own(create(&[row("~a.b", 1), row("~a_b", 1)])).sorted("Topics")),
        )
        .case(
            Case::named("more partitions than a request may make")
                .step(Step::own(create(&[row("~a", 9_999), row("~b", 2)])).sorted("Topics"))
                .after(look(&["~a", "~b"])),
        )
        .case(Case::named("none").ask(create(&[])))
        .case(
            Case::named("only to be validated")
                .ask(with(one("~t", json!({})), json!({"validateOnly": true})))
                .ask(with(one("^t", json!({})), json!({"validateOnly": true})))
                .ask(with(
                    one("~t", json!({"NumPartitions": 0})),
                    json!({"validateOnly": true}),
                ))
                .after(look(&["~t"])),
        )
        .case(
            Case::named("no time to wait").ask(with(one("~t", json!({})), json!({"timeoutMs": 0}))),
        )
        .case(
            Case::named("a topic twice, one after the other, deleted between")
                .ask(one("~t", json!({})))
                .ask(one("~t", json!({})))
                .step(ask(
                    Api::DeleteTopics,
                    json!({"Topics": [{"Name": "~t"}], "TimeoutMs": 30000}),
                ))
                .ask(one("~t", json!({"NumPartitions": 1})))
                .after(look(&["~t"])),
        )
}
