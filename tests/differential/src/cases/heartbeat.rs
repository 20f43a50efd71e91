//! `Heartbeat`: in every state of a group, by members, by those who were, and by others.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use super::join_group::{another_comes_in, comes_again, join, rebalances};
use super::with;
use crate::case::{Case, Step, Suite, ask, commit, member, topic};

pub(super) fn beat(member: &str, generation: Value, said: Value) -> Value {
    let mut request = json!({"GroupId": "~g", "MemberId": member});
    request["GenerationId"] = generation;
    with(request, said)
}

pub(super) fn suite() -> Suite {
    let suite = Suite::of(Api::Heartbeat)
        .shared([topic("^t", 1)])
        .case(
            Case::named("a member")
                .setup([member("~g")])
                .ask(beat("$member", json!("$generation"), json!({})))
                .vary(),
        )
        .case(
            Case::named("a member that joined and didn't sync")
                .setup([vec![
                    ask(Api::JoinGroup, join("", json!({})))
                        .at(3)
                        .save("member", "MemberId"),
                ]])
                .ask(beat("$member", json!(1), json!({})))
                .ask(beat("$member", json!(0), json!({}))),
        )
        .case(
            Case::named("a member that was given an id and didn't come")
                .setup([member("~g")])
                .step(ask(Api::JoinGroup, join("", json!({}))).save("b", "MemberId"))
                .ask(beat("$b", json!(1), json!({})))
                .ask(beat("$b", json!(-1), json!({})))
                .ask(beat("$member", json!(1), json!({}))),
        )
        .case(Case::named("a group that there isn't").ask(beat("who", json!(1), json!({}))))
        .case(Case::named("no group").ask(beat("who", json!(1), json!({"GroupId": ""}))))
        .case(
            Case::named("a group without members")
                .setup([commit("~g", "^t", 0, 1)])
                .ask(beat("who", json!(0), json!({}))),
        );
    statics(lives(suite))
}

fn lives(suite: Suite) -> Suite {
    let leave = || {
        ask(
            Api::LeaveGroup,
            json!({"GroupId": "~g", "MemberId": "$member"}),
        )
        .at(2)
    };
    suite
        .case(
            Case::named("join, sync, beat, leave, beat")
                .setup([member("~g")])
                .ask(beat("$member", json!(1), json!({})))
                .step(leave())
                .ask(beat("$member", json!(1), json!({})))
                .ask(beat("$member", json!(2), json!({}))),
        )
        .case(
            Case::named("while another comes in")
                .setup([member("~g")])
                .step(another_comes_in())
                .step(rebalances("$member", json!(1)))
                .ask(beat("$member", json!(1), json!({})))
                .ask(beat("$member", json!(2), json!({})))
                .ask(beat("who", json!(1), json!({})))
                .step(comes_again())
                .step(Step::finish("b").save("b", "MemberId"))
                .ask(beat("$member", json!(2), json!({})))
                .ask(beat("$b", json!(2), json!({})))
                .ask(beat("$b", json!(1), json!({}))),
        )
}

fn statics(suite: Suite) -> Suite {
    let called = || {
        let joined = json!({"GroupInstanceId": "a"});
        vec![
            ask(Api::JoinGroup, join("", joined)).save("member", "MemberId"),
            ask(Api::SyncGroup, json!({"GroupId": "~g", "GenerationId": 1, "MemberId": "$member",
                "GroupInstanceId": "a", "Assignments": [{"MemberId": "$member", "Assignment": "x"}]}))
                .at(3),
        ]
    };
    suite
        .case(
            Case::named("a static member, by its name and by others")
                .versions(3..=4)
                .setup([called()])
                .ask(beat("$member", json!(1), json!({"GroupInstanceId": "a"})))
                .ask(beat("$member", json!(1), json!({"GroupInstanceId": "z"})))
                .ask(beat("$member", json!(1), json!({})))
                .ask(beat("who", json!(1), json!({"GroupInstanceId": "a"})))
                .ask(beat("", json!(1), json!({"GroupInstanceId": "a"})))
                .ask(beat("$member", json!(7), json!({"GroupInstanceId": "a"}))),
        )
        .case(
            Case::named("a static member that another has replaced")
                .setup([called()])
                .step(
                    ask(Api::JoinGroup, join("", json!({"GroupInstanceId": "a"})))
                        .save("new", "MemberId"),
                )
                .ask(beat("$member", json!(1), json!({"GroupInstanceId": "a"})))
                .ask(beat("$member", json!(1), json!({})))
                .ask(beat("$new", json!(1), json!({"GroupInstanceId": "a"}))),
        )
}
