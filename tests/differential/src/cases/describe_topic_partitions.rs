//! `DescribeTopicPartitions`: some topics, all of them, a page at a time.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use super::with;
use crate::case::{Case, Suite, topic};

fn describe(names: &[&str], said: Value) -> Value {
    let topics: Vec<Value> = names.iter().map(|name| json!({"Name": name})).collect();
    with(
        json!({"Topics": topics, "ResponsePartitionLimit": 2000, "Cursor": null}),
        said,
    )
}

fn from(topic: &str, partition: i32) -> Value {
    json!({"Cursor": {"TopicName": topic, "PartitionIndex": partition}})
}

pub(super) fn suite() -> Suite {
    let both = ["^u", "^t"];
    let limit = |limit: i32| json!({"ResponsePartitionLimit": limit});
    Suite::of(Api::DescribeTopicPartitions)
        .shared([topic("^t", 3), topic("^u", 2)])
        .case(
            Case::named("a topic")
                .ask(describe(&["^t"], json!({})))
                .vary()
                // All topics: of other cases too.
                .without("Topics", "empty")
                .without("Topics", "null"),
        )
        .case(Case::named("two topics").ask(describe(&both, json!({}))))
        .case(Case::named("a topic twice").ask(describe(&["^t", "^t"], json!({}))))
        .case(
            Case::named("topics that there aren't and can't be")
                .ask(describe(&["~no", "", "a b", "^t", "."], json!({}))),
        )
        .case(Case::named("a page of all topics").ask(describe(&[], with(from("^t", 0), limit(4)))))
        .case(Case::named("the first page of one").ask(describe(&both, limit(1))))
        .case(Case::named("the first page of two").ask(describe(&both, limit(2))))
        .case(Case::named("the first page of three").ask(describe(&both, limit(3))))
        .case(
            Case::named("a page that ends with a topic and a page that ends with all")
                .ask(describe(&both, limit(4)))
                .ask(describe(&both, limit(5))),
        )
        .case(Case::named("no page").ask(describe(&both, limit(0))))
        .case(Case::named("a negative page").ask(describe(&both, limit(-1))))
        .case(
            Case::named("from within a topic")
                .ask(describe(&both, from("^t", 1)))
                .vary_within("Cursor"),
        )
        .case(Case::named("from behind a topic").ask(describe(&both, from("^t", 3))))
        .case(Case::named("from far behind a topic").ask(describe(&both, from("^t", 99))))
        .case(Case::named("from a negative partition").ask(describe(&both, from("^t", -1))))
        .case(
            Case::named("from a topic that isn't asked for").ask(describe(&["^t"], from("^u", 0))),
        )
        .case(
            Case::named("from a topic that there isn't")
                .ask(describe(&["^t", "~no"], from("~no", 0))),
        )
        .case(Case::named("from the second topic").ask(describe(&both, from("^u", 0))))
        .case(
            Case::named("a page from within a topic")
                .ask(describe(&both, with(from("^t", 2), limit(2)))),
        )
}
