//! `OffsetCommit`: by members, by those who aren't, and by tools; of topics that there are and not.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use super::join_group::{another_comes_in, join, rebalances};
use super::with;
use crate::case::{Case, Step, Suite, ask, member, topic};

/// One offset of the suite's topic, in the name of a member.
fn commit(member: &str, generation: Value, said: Value) -> Value {
    let mut request = json!({
        "GroupId": "~g", "MemberId": member,
        "Topics": [{"Name": "^t", "TopicId": "$t_id", "Partitions": [
            {"PartitionIndex": 0, "CommittedOffset": 5, "CommittedLeaderEpoch": 3, "CommittedMetadata": "m"},
        ]}],
    });
    request["GenerationIdOrMemberEpoch"] = generation;
    with(request, said)
}

/// What the group has.
fn look() -> Step {
    ask(
        Api::OffsetFetch,
        json!({"Groups": [{"GroupId": "~g", "Topics": null}], "RequireStable": true}),
    )
    .sorted("Groups[].Topics[].Partitions")
}

fn by_nobody(said: Value) -> Value {
    commit("", json!(-1), said)
}

pub(super) fn suite() -> Suite {
    let suite = Suite::of(Api::OffsetCommit).shared([topic("^t", 3), topic("^u", 1)]);
    statics(members(offsets(suite)))
}

fn offsets(suite: Suite) -> Suite {
    let rows =
        |rows: Value| json!({"Topics": [{"Name": "^t", "TopicId": "$t_id", "Partitions": rows}]});
    let row = |partition: i32, offset: i64, metadata: Value| {
        json!({"PartitionIndex": partition, "CommittedOffset": offset,
            "CommittedLeaderEpoch": -1, "CommittedMetadata": metadata})
    };
    suite
        .case(Case::named("an offset of a group without members").ask(by_nobody(json!({}))).after([look()]).vary())
        .case(
            Case::named("an offset over another")
                .ask(by_nobody(json!({})))
                .ask(by_nobody(rows(json!([row(0, 3, json!("n"))]))))
                .after([look()]),
        )
        .case(
            Case::named("offsets that nobody can be at")
                .ask(by_nobody(rows(json!([
                    row(0, -1, json!("")), row(1, i64::MIN, json!("")), row(2, i64::MAX, json!(""))]))))
                .after([look()]),
        )
        .case(
            Case::named("metadata of 4096 bytes and of more")
                .ask(by_nobody(rows(json!([
                    row(0, 1, json!("m".repeat(4096))), row(1, 1, json!("m".repeat(4097))), row(2, 1, Value::Null)]))))
                .after([look()]),
        )
        .case(
            Case::named("partitions that there aren't")
                .ask(by_nobody(rows(json!([row(3, 1, json!("")), row(0, 1, json!("")), row(-1, 1, json!(""))]))))
                .after([look()]),
        )
        .case(
            Case::named("a partition twice")
                .ask(by_nobody(rows(json!([row(0, 1, json!("a")), row(0, 2, json!("b"))]))))
                .after([look()]),
        )
        .case(
            Case::named("a topic twice, and one that there isn't")
                .ask(by_nobody(json!({"Topics": [
                    {"Name": "^t", "TopicId": "$t_id", "Partitions": [row(0, 1, json!("a"))]},
                    {"Name": "~no", "TopicId": "00000000000000070000000000000007", "Partitions": [row(0, 1, json!("a"))]},
                    {"Name": "^u", "TopicId": "$u_id", "Partitions": [row(0, 1, json!("a"))]},
                    {"Name": "^t", "TopicId": "$t_id", "Partitions": [row(1, 2, json!("b"))]}]})))
                .after([look()]),
        )
        .case(Case::named("only a topic that there isn't").ask(by_nobody(json!({"Topics": [
            {"Name": "~no", "TopicId": "00000000000000070000000000000007", "Partitions": [row(0, 1, json!("a"))]}]})))
            .after([look()]))
        .case(Case::named("nothing").ask(by_nobody(json!({"Topics": []}))).after([look()]))
        .case(Case::named("a topic without partitions").ask(by_nobody(rows(json!([])))).after([look()]))
        .case(Case::named("a time to live").versions(2..=4)
            .ask(by_nobody(json!({"RetentionTimeMs": 1_000_000}))).after([look()]))
        .case(Case::named("the topic of groups").versions(2..=9).ask(by_nobody(json!({"Topics": [
            {"Name": "__consumer_offsets", "Partitions": [row(0, 1, json!("a"))]}]})))
            .after([look()]))
}

fn members(suite: Suite) -> Suite {
    let mut suite = suite;
    for (name, id, generation) in [
        ("a member", "$member", json!(1)),
        ("a member of the generation before", "$member", json!(0)),
        ("a member of the generation to come", "$member", json!(2)),
        ("a member of no generation", "$member", json!(-1)),
        ("somebody who isn't there", "who", json!(1)),
        (
            "somebody who isn't there, of no generation",
            "who",
            json!(-1),
        ),
        ("nobody, of a generation", "", json!(1)),
        ("nobody", "", json!(-1)),
        ("nobody, of a negative generation", "", json!(-5)),
    ] {
        suite = suite.case(
            Case::named(&format!("{name}, of a stable group"))
                .setup([member("~g")])
                .ask(commit(id, generation.clone(), json!({})))
                .after([look()]),
        );
        if id != "$member" {
            suite = suite.case(
                Case::named(&format!("{name}, of a group that there isn't"))
                    .ask(commit(id, generation.clone(), json!({})))
                    .after([look()]),
            );
            suite = suite.case(
                Case::named(&format!("{name}, of a group without members"))
                    .setup([crate::case::commit("~g", "^t", 1, 1)])
                    .ask(commit(id, generation, json!({})))
                    .after([look()]),
            );
        }
    }
    moving(suite)
}

/// Groups that members come into and leave.
fn moving(suite: Suite) -> Suite {
    suite
        .case(Case::named("no group").ask(commit("", json!(-1), json!({"GroupId": ""}))))
        .case(Case::named("no group, by a member").ask(commit(
            "who",
            json!(1),
            json!({"GroupId": ""}),
        )))
        .case(
            Case::named("a member that joined and didn't sync")
                .setup([vec![
                    ask(Api::JoinGroup, join("", json!({})))
                        .at(3)
                        .save("member", "MemberId"),
                ]])
                .ask(commit("$member", json!(1), json!({})))
                .ask(commit("$member", json!(0), json!({})))
                .after([look()]),
        )
        .case(
            Case::named("a member while another comes in")
                .setup([member("~g")])
                .step(another_comes_in())
                .step(rebalances("$member", json!(1)))
                .ask(commit("$member", json!(1), json!({})))
                .ask(commit("$member", json!(2), json!({})))
                .after([look()]),
        )
        .case(
            Case::named("a member that left")
                .setup([member("~g")])
                .step(
                    ask(
                        Api::LeaveGroup,
                        json!({"GroupId": "~g", "MemberId": "$member"}),
                    )
                    .at(2),
                )
                .ask(commit("$member", json!(1), json!({})))
                .ask(commit("", json!(2), json!({})))
                .ask(commit("", json!(-1), json!({})))
                .after([look()]),
        )
}

fn statics(suite: Suite) -> Suite {
    let called = || {
        vec![
            ask(Api::JoinGroup, join("", json!({"GroupInstanceId": "a"}))).save("member", "MemberId"),
            ask(Api::SyncGroup, json!({"GroupId": "~g", "GenerationId": 1, "MemberId": "$member",
                "GroupInstanceId": "a", "Assignments": [{"MemberId": "$member", "Assignment": "x"}]}))
                .at(3),
        ]
    };
    let instance = |name: &str| json!({"GroupInstanceId": name});
    suite.case(
        Case::named("static members, by their names and by others")
            .versions(7..=10)
            .setup([called()])
            .ask(commit("who", json!(1), instance("a")))
            .ask(commit("", json!(1), instance("a")))
            .ask(commit("", json!(-1), instance("a")))
            .ask(commit("$member", json!(1), instance("z")))
            .ask(commit("$member", json!(7), instance("a")))
            .ask(commit("$member", json!(1), instance("a")))
            .step(ask(Api::JoinGroup, join("", instance("a"))))
            .ask(commit("$member", json!(1), instance("a")))
            .after([look()]),
    )
}
