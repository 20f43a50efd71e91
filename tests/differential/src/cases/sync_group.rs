//! `SyncGroup`: assignments given, asked for, and asked for by those who have none.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use super::join_group::{join, look};
use super::with;
use crate::case::{Case, Step, Suite, ask, commit, member, topic};

fn sync(member: &str, generation: Value, said: Value) -> Value {
    let mut request = json!({
        "GroupId": "~g", "MemberId": member,
        "ProtocolType": "consumer", "ProtocolName": "range", "Assignments": [],
    });
    request["GenerationId"] = generation;
    with(request, said)
}

/// A member that has joined, and that the group waits for.
fn joined() -> Vec<Step> {
    let joined = ask(Api::JoinGroup, join("", json!({})));
    vec![
        joined
            .at(3)
            .save("member", "MemberId")
            .save("generation", "GenerationId"),
    ]
}

pub(super) fn suite() -> Suite {
    let given = || json!({"Assignments": [{"MemberId": "$member", "Assignment": "given"}]});
    let suite = Suite::of(Api::SyncGroup)
        .shared([topic("^t", 1)])
        .case(
            Case::named("the leader gives assignments")
                .setup([joined()])
                .ask(sync("$member", json!("$generation"), given()))
                .after([look()])
                .vary(),
        )
        .case(
            Case::named("the leader gives none")
                .setup([joined()])
                .ask(sync("$member", json!("$generation"), json!({})))
                .after([look()]),
        )
        .case(
            Case::named("the leader gives to somebody who isn't there")
                .setup([joined()])
                .ask(sync(
                    "$member",
                    json!("$generation"),
                    json!({"Assignments": [
                    {"MemberId": "who", "Assignment": "x"}]}),
                ))
                .after([look()]),
        )
        .case(
            Case::named("an assignment that was given is asked for again")
                .setup([member("~g")])
                .ask(sync("$member", json!("$generation"), json!({})))
                .ask(sync("$member", json!("$generation"), given()))
                .after([look()]),
        );
    replaced(two(refused(suite)))
}

fn replaced(suite: Suite) -> Suite {
    let instance = || json!({"GroupInstanceId": "a"});
    let came = |as_whom: &str| ask(Api::JoinGroup, join("", instance())).save(as_whom, "MemberId");
    let given = json!({"GroupInstanceId": "a", "Assignments": [{"MemberId": "$member", "Assignment": "x"}]});
    suite.case(
        Case::named("a static member that another has replaced")
            .versions(3..=5)
            .setup([vec![came("member")]])
            .ask(sync("$member", json!(1), given))
            .step(came("new"))
            .ask(sync("$member", json!(1), instance()))
            .ask(sync("$new", json!(1), instance()))
            .after([look()]),
    )
}

fn refused(suite: Suite) -> Suite {
    let mut suite = suite;
    for (name, member_id, generation, said) in [
        ("the generation before", "$member", json!(0), json!({})),
        ("the generation to come", "$member", json!(2), json!({})),
        ("no generation", "$member", json!(-1), json!({})),
        ("somebody who isn't there", "who", json!(1), json!({})),
        ("nobody", "", json!(1), json!({})),
        (
            "another type",
            "$member",
            json!(1),
            json!({"ProtocolType": "connect"}),
        ),
        (
            "another protocol",
            "$member",
            json!(1),
            json!({"ProtocolName": "rr"}),
        ),
        (
            "an instance that isn't there",
            "$member",
            json!(1),
            json!({"GroupInstanceId": "z"}),
        ),
    ] {
        let request = sync(member_id, generation, said);
        suite = suite
            .case(
                Case::named(&format!("{name}, in a stable group"))
                    .setup([member("~g")])
                    .ask(request.clone())
                    .after([look()]),
            )
            .case(
                Case::named(&format!("{name}, in a group that waits"))
                    .setup([joined()])
                    .ask(request.clone())
                    .after([look()]),
            )
            .case(
                Case::named(&format!("{name}, in a group that there isn't"))
                    .ask(with(request, json!({"MemberId": "who"}))),
            );
    }
    suite
        .case(Case::named("no group").ask(sync("who", json!(1), json!({"GroupId": ""}))))
        .case(
            Case::named("a group without members")
                .setup([commit("~g", "^t", 0, 1)])
                .ask(sync("who", json!(1), json!({}))),
        )
}

/// A second member joins at the version of the case, and both sync.
fn two(suite: Suite) -> Suite {
    let joins =
        |member: &str, version: i16| ask(Api::JoinGroup, join(member, json!({}))).at(version);
    let both = |name: &'static str| {
        Case::named(name)
            .setup([member("~g")])
            .step(joins("", 3).on("b").begin())
            .step(super::join_group::rebalances("$member", json!(1)))
            .step(Step::own(sync("$member", json!(1), json!({}))))
            .step(joins("$member", 3).sorted("Members"))
            .step(Step::finish("b").save("b", "MemberId"))
    };
    suite
        .case(
            both("the follower waits for the leader")
                .step(Step::own(sync("$b", json!(2), json!({}))).on("b").begin())
                .ask(sync("$member", json!(2), json!({"Assignments": [
                    {"MemberId": "$member", "Assignment": "first"}, {"MemberId": "$b", "Assignment": "second"}]})))
                .step(Step::finish("b"))
                .after([look()]),
        )
        .case(
            both("the follower comes when all is said, and gets nothing")
                .ask(sync("$member", json!(2), json!({"Assignments": [
                    {"MemberId": "$member", "Assignment": "first"}]})))
                .step(Step::own(sync("$b", json!(2), json!({}))).on("b"))
                .after([look()]),
        )
        .case(
            both("the follower gives assignments, which nobody takes")
                .step(Step::own(sync("$b", json!(2), json!({"Assignments": [
                    {"MemberId": "$b", "Assignment": "mine"}]}))).on("b").begin())
                .ask(sync("$member", json!(2), json!({"Assignments": [
                    {"MemberId": "$b", "Assignment": "yours"}]})))
                .step(Step::finish("b"))
                .after([look()]),
        )
}
