//! `DeleteTopics`: by name and by id, some that there aren't, and what is left.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use crate::case::{Case, Step, Suite, ask, commit, topic};

/// By names, as every version says it.
fn delete(names: &[&str]) -> Value {
    let topics: Vec<Value> = names.iter().map(|name| json!({"Name": name})).collect();
    json!({"Topics": topics, "TopicNames": names, "TimeoutMs": 30000})
}

fn look() -> Vec<Step> {
    vec![ask(
        Api::Metadata,
        json!({"Topics": [{"Name": "~t"}, {"Name": "~u"}], "AllowAutoTopicCreation": false}),
    )]
}

fn case(name: &str) -> Case {
    Case::named(name)
        .setup([topic("~t", 1), topic("~u", 2)])
        .after(look())
}

pub(super) fn suite() -> Suite {
    let suite = Suite::of(Api::DeleteTopics)
        .case(
            case("a topic")
                .ask(delete(&["~t"]))
                .vary()
                // Whether 77 ms are enough is a matter of speed.
                .without("TimeoutMs", "unknown"),
        )
        .case(case("two topics").step(Step::own(delete(&["~u", "~t"])).sorted("Responses")))
        .case(
            case("a topic twice").step(Step::own(delete(&["~t", "~t", "~u"])).sorted("Responses")),
        )
        .case(
            case("a topic that there isn't, beside one")
                .step(Step::own(delete(&["~no", "~t", "", "a b"])).sorted("Responses")),
        )
        .case(
            case("one after the other")
                .ask(delete(&["~t"]))
                .ask(delete(&["~t"])),
        )
        .case(case("none").ask(delete(&[])))
        .case(
            case("one with offsets of a group")
                .setup([commit("~g", "~t", 0, 1)])
                .ask(delete(&["~t"]))
                .after([ask(
                    Api::OffsetFetch,
                    json!({"Groups": [{"GroupId": "~g", "Topics": null}]}),
                )
                .at(9)]),
        );
    identified(suite)
}

/// By ids instead of names.
fn identified(suite: Suite) -> Suite {
    let unknown = "00000000000000070000000000000007";
    let by = |rows: Value| json!({"Topics": rows, "TimeoutMs": 30000});
    suite
        .case(
            case("by its id")
                .versions(6..=6)
                .ask(by(json!([{"Name": null, "TopicId": "$t_id"}])))
                .vary()
                .without("TimeoutMs", "unknown"),
        )
        .case(
            case("by an id that there isn't")
                .versions(6..=6)
                .ask(by(json!([{"Name": null, "TopicId": unknown}]))),
        )
        .case(
            case("by its id and its name")
                .versions(6..=6)
                .ask(by(json!([{"Name": "~t", "TopicId": "$t_id"}]))),
        )
        .case(
            case("by its id and another's name")
                .versions(6..=6)
                .ask(by(json!([{"Name": "~u", "TopicId": "$t_id"}]))),
        )
        .case(
            case("by neither")
                .versions(6..=6)
                .ask(by(json!([{"Name": null}]))),
        )
        .case(
            case("by its id, and by its name").versions(6..=6).step(
                Step::own(by(
                    json!([{"Name": null, "TopicId": "$t_id"}, {"Name": "~t"}]),
                ))
                .sorted("Responses"),
            ),
        )
        .case(
            case("by its id twice").versions(6..=6).step(
                Step::own(by(
                    json!([{"Name": null, "TopicId": "$t_id"}, {"Name": null, "TopicId": "$t_id"}]),
                ))
                .sorted("Responses"),
            ),
        )
}
