//! `Metadata`: topics by name and id, all of them, those that are missing and those that are made by
//! asking.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use crate::case::{Case, Step, Suite, ask, topic};

/// Asks for topics by their names, and makes none.
fn by_name(names: &[&str]) -> Value {
    let topics: Vec<Value> = names.iter().map(|name| json!({"Name": name})).collect();
    json!({"Topics": topics, "AllowAutoTopicCreation": false})
}

/// All topics, of which others make some too.
fn mine(body: Value) -> Step {
    Step::own(body).only_mine("Topics").sorted("Topics")
}

pub(super) fn suite() -> Suite {
    let suite = Suite::of(Api::Metadata).shared([topic("^t", 3), topic("^u", 1)]);
    asked_by_id(made(asked(suite)))
}

fn asked(suite: Suite) -> Suite {
    suite
        .case(
            Case::named("a topic")
                .versions(1..=13)
                .ask(by_name(&["^t"]))
                .vary()
                // All topics: of other cases too.
                .without("Topics", "null"),
        )
        .case(
            Case::named("a topic, of the first version")
                .versions(0..=0)
                .ask(by_name(&["^t"]))
                .vary()
                // All topics: of other cases too.
                .without("Topics", "null")
                .without("Topics", "empty")
                // It would be made; that has a case of its own.
                .without("Topics[].Name", "unknown"),
        )
        .case(Case::named("two topics").ask(by_name(&["^u", "^t"])))
        .case(Case::named("a topic twice").ask(by_name(&["^t", "^t"])))
        .case(Case::named("no topic").versions(1..=13).ask(by_name(&[])))
        .case(Case::named("all topics").step(mine(
            json!({"Topics": null, "AllowAutoTopicCreation": false}),
        )))
        .case(
            Case::named("all topics, as an empty list")
                .versions(0..=0)
                .step(mine(json!({"Topics": []}))),
        )
        .case(
            Case::named("all topics and what may be done")
                .versions(8..=13)
                .step(mine(json!({
                    "Topics": null, "AllowAutoTopicCreation": false,
                    "IncludeClusterAuthorizedOperations": true,
                    "IncludeTopicAuthorizedOperations": true,
                }))),
        )
        .case(Case::named("what may be done").versions(8..=13).ask(json!({
            "Topics": [{"Name": "^t"}], "AllowAutoTopicCreation": false,
            "IncludeClusterAuthorizedOperations": true,
            "IncludeTopicAuthorizedOperations": true,
        })))
        .case(
            Case::named("names that no topic has")
                .versions(4..=13)
                .ask(by_name(&["~no", "^t", "~nor this"])),
        )
        .case(
            Case::named("names that no topic can have")
                .ask(by_name(&["", ".", "..", "a b", "a/b", "\u{e4}", "^t"])),
        )
        .case(
            Case::named("names of 249 and 250 letters")
                .versions(4..=13)
                .ask(by_name(&[&"x".repeat(249), &"x".repeat(250)])),
        )
        .case(
            Case::named("the topic of groups")
                .setup([vec![
                    ask(Api::FindCoordinator, json!({"CoordinatorKeys": ["~g"]}))
                        .until("Coordinators[0].ErrorCode", 0),
                ]])
                .versions(4..=13)
                .ask(by_name(&["__consumer_offsets"])),
        )
        .case(
            Case::named("the metadata log")
                .versions(4..=13)
                .ask(by_name(&["__cluster_metadata"])),
        )
}

fn made(suite: Suite) -> Suite {
    let make = |name: &str| json!({"Topics": [{"Name": name}], "AllowAutoTopicCreation": true});
    suite
        .case(
            Case::named("a topic that is made by asking")
                .ask(make("~made"))
                .after([ask(Api::Metadata, by_name(&["~made"]))]),
        )
        .case(
            Case::named("a topic that is made where there is one already")
                .ask(make("^t"))
                .after([ask(Api::Metadata, by_name(&["^t"]))]),
        )
        .case(Case::named("topics that can't be made").ask(json!({
            "Topics": [{"Name": "a b"}, {"Name": ""}, {"Name": "."}],
            "AllowAutoTopicCreation": true,
        })))
        .case(
            Case::named("a topic whose name collides with another's")
                .setup([topic("~a.b", 1)])
                .ask(make("~a_b"))
                .after([ask(Api::Metadata, by_name(&["~a_b", "~a.b"]))]),
        )
        .case(
            Case::named("a topic that is not to be made")
                .versions(4..=13)
                .ask(by_name(&["~made"]))
                .after([ask(Api::Metadata, by_name(&["~made"]))]),
        )
}

fn asked_by_id(suite: Suite) -> Suite {
    suite
        .case(
            Case::named("a topic by its id")
                .versions(12..=13)
                .ask(json!({"Topics": [{"TopicId": "$t_id", "Name": null}]}))
                .vary()
                // All topics: of other cases too.
                .without("Topics", "null"),
        )
        .case(
            Case::named("topics by their ids, one of them unknown, one twice")
                .versions(12..=13)
                // In the order of a hash of random numbers.
                .step(
                    Step::own(json!({"Topics": [
                        {"TopicId": "$u_id", "Name": null},
                        {"TopicId": "00000000000000070000000000000007", "Name": null},
                        {"TopicId": "$t_id", "Name": null},
                        {"TopicId": "$u_id", "Name": null},
                    ]}))
                    .sorted("Topics"),
                ),
        )
        .case(
            Case::named("a topic by its id and another by its name")
                .versions(12..=13)
                .ask(json!({"Topics": [{"TopicId": "$t_id", "Name": null}, {"Name": "^u"}]})),
        )
        .case(
            Case::named("a topic by its id and its name")
                .versions(12..=13)
                .ask(json!({"Topics": [{"TopicId": "$t_id", "Name": "^u"}]})),
        )
        .case(
            Case::named("a topic by neither")
                .versions(10..=13)
                .ask(json!({"Topics": [{"Name": null}]})),
        )
        .case(
            Case::named("an id before ids were known")
                .versions(10..=11)
                .ask(json!({"Topics": [{"TopicId": "$t_id", "Name": "^t"}]})),
        )
}
