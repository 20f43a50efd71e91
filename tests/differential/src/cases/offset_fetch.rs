//! `OffsetFetch`: some offsets of a group, all of them, and those of several groups.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use super::with;
use crate::case::{Case, Step, Suite, ask, commit, member, topic};

/// Partitions of topics, as every version asks for them; `null` for all.
fn fetch(topics: &Value) -> Value {
    of("^g", topics)
}

fn of(group: &str, topics: &Value) -> Value {
    json!({
        "GroupId": group, "Topics": topics,
        "Groups": [{"GroupId": group, "Topics": topics}],
    })
}

fn rows(partitions: &[i32]) -> Value {
    json!([{"Name": "^t", "TopicId": "$t_id", "PartitionIndexes": partitions}])
}

pub(super) fn suite() -> Suite {
    let suite = Suite::of(Api::OffsetFetch).shared([
        topic("^t", 3),
        topic("^u", 1),
        commit("^g", "^t", 0, 5),
        commit("^g", "^t", 1, 7),
        commit("^g", "^u", 0, 1),
        commit("^h", "^t", 0, 3),
    ]);
    several(asked_by(some(suite)))
}

fn some(suite: Suite) -> Suite {
    let all = Step::own(fetch(&Value::Null))
        .sorted("Topics")
        .sorted("Groups[].Topics");
    suite
        .case(
            Case::named("an offset")
                .ask(fetch(&rows(&[0])))
                .vary()
                // All offsets, in no order.
                .without("Topics", "null")
                .without("Groups[].Topics", "null"),
        )
        .case(
            Case::named("all offsets").versions(2..=10).step(
                all.sorted("Topics[].Partitions")
                    .sorted("Groups[].Topics[].Partitions"),
            ),
        )
        .case(
            Case::named("all offsets of a group that there isn't")
                .versions(2..=10)
                .ask(of("~no", &Value::Null)),
        )
        .case(Case::named("an offset of a group that there isn't").ask(of("~no", &rows(&[0]))))
        .case(Case::named("offsets that nobody committed").ask(fetch(&rows(&[2, 1, 9, -1]))))
        .case(Case::named("a partition twice").ask(fetch(&rows(&[0, 0]))))
        .case(Case::named("a topic without partitions").ask(fetch(&rows(&[]))))
        .case(Case::named("no topic").ask(fetch(&json!([]))))
        .case(Case::named("a topic that there isn't").ask(fetch(&json!([
            {"Name": "~no", "TopicId": "00000000000000070000000000000007", "PartitionIndexes": [0]},
            {"Name": "^u", "TopicId": "$u_id", "PartitionIndexes": [0]}]))))
        .case(Case::named("no group").ask(of("", &rows(&[0]))))
        .case(
            Case::named("only what is settled")
                .versions(7..=10)
                .ask(with(fetch(&rows(&[0, 2])), json!({"RequireStable": true}))),
        )
        .case(
            Case::named("offsets of a topic that was deleted")
                .setup([topic("~d", 1), commit("~g", "~d", 0, 4)])
                .step(ask(
                    Api::DeleteTopics,
                    json!({"Topics": [{"Name": "~d"}], "TimeoutMs": 10000}),
                ))
                .step(
                    ask(
                        Api::Metadata,
                        json!({"Topics": [{"Name": "~d"}], "AllowAutoTopicCreation": false}),
                    )
                    .until("Topics[0].ErrorCode", 3),
                )
                .after([ask(
                    Api::OffsetFetch,
                    json!({"Groups": [{"GroupId": "~g", "Topics": [
                {"Name": "~d", "PartitionIndexes": [0]}]}]}),
                )
                .at(9)]),
        )
}

/// Who asks, from version 9 on.
fn asked_by(suite: Suite) -> Suite {
    let by = |group: &str, member: Value, epoch: i32| json!({"Groups": [{"GroupId": group, "MemberId": member, "MemberEpoch": epoch, "Topics": rows(&[0])}]});
    let case = |name: &'static str, request: Value| {
        Case::named(name)
            .versions(9..=10)
            .setup([member("~g")])
            .ask(request)
    };
    suite
        .case(case("a member asks", by("~g", json!("$member"), 1)))
        .case(case(
            "a member of another epoch asks",
            by("~g", json!("$member"), 5),
        ))
        .case(case(
            "somebody who isn't there asks",
            by("~g", json!("who"), 1),
        ))
        .case(case("nobody asks, of an epoch", by("~g", Value::Null, 1)))
        .case(case(
            "a member asks for a group without members",
            by("^g", json!("$member"), 1),
        ))
        .case(case(
            "a member asks for a group that there isn't",
            by("~no", json!("$member"), 1),
        ))
}

fn several(suite: Suite) -> Suite {
    let group = |group: &str, topics: Value| json!({"GroupId": group, "Topics": topics});
    suite
        .case(
            Case::named("several groups").versions(8..=10).step(
                Step::own(json!({"Groups": [
                group("^g", rows(&[0])), group("~no", rows(&[0])), group("^h", Value::Null),
                group("", rows(&[0]))]}))
                .sorted("Groups"),
            ),
        )
        .case(
            Case::named("a group twice").versions(8..=10).step(
                Step::own(json!({"Groups": [group("^g", rows(&[0])), group("^g", rows(&[1]))]}))
                    .sorted("Groups"),
            ),
        )
        .case(
            Case::named("no group at all")
                .versions(8..=10)
                .ask(json!({"Groups": []})),
        )
}
