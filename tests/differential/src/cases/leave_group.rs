//! `LeaveGroup`: one member, several, static ones by their names, and those who aren't there.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use super::heartbeat::beat;
use super::join_group::{another_comes_in, join, look, rebalances};
use crate::case::{Case, Step, Suite, ask, commit, member, topic};

/// The one leaves, as every version says it.
fn leave(member: &str) -> Value {
    json!({"GroupId": "~g", "MemberId": member, "Members": [{"MemberId": member}]})
}

/// Several leave, named by id and instance.
fn leaves(members: &[(&str, Option<&str>)]) -> Value {
    let members: Vec<Value> = members
        .iter()
        .map(|(member, instance)| {
            json!({"MemberId": member, "GroupInstanceId": instance, "Reason": "why"})
        })
        .collect();
    json!({"GroupId": "~g", "Members": members})
}

pub(super) fn suite() -> Suite {
    let suite = Suite::of(Api::LeaveGroup)
        .shared([topic("^t", 1)])
        .case(
            Case::named("the only member")
                .setup([member("~g")])
                .ask(leave("$member"))
                .after([look()])
                .vary(),
        )
        .case(
            Case::named("a member twice")
                .setup([member("~g")])
                .ask(leave("$member"))
                .ask(leave("$member"))
                .after([look()]),
        )
        .case(
            Case::named("somebody who isn't there, and nobody")
                .setup([member("~g")])
                .ask(leave("who"))
                .ask(leave(""))
                .after([look()]),
        )
        .case(Case::named("a group that there isn't").ask(leave("who")))
        .case(Case::named("a group that there isn't, and nobody").ask(leave("")))
        .case(
            Case::named("a group without members")
                .setup([commit("~g", "^t", 0, 1)])
                .ask(leave("who"))
                .after([look()]),
        )
        .case(
            Case::named("a member that was given an id and didn't come")
                .setup([member("~g")])
                .step(ask(Api::JoinGroup, join("", json!({}))).save("b", "MemberId"))
                .ask(leave("$b"))
                .step(ask(Api::JoinGroup, join("$b", json!({}))))
                .after([look()]),
        )
        .case(
            Case::named("one of two, while the other comes in")
                .setup([member("~g")])
                .step(another_comes_in())
                .step(rebalances("$member", json!(1)))
                .ask(leave("$member"))
                .step(Step::finish("b").save("b", "MemberId"))
                .step(ask(Api::Heartbeat, beat("$member", json!(1), json!({}))))
                .after([look()]),
        );
    several(suite)
}

fn several(suite: Suite) -> Suite {
    let called = || {
        vec![
            ask(Api::JoinGroup, join("", json!({"GroupInstanceId": "a"})))
                .save("member", "MemberId"),
        ]
    };
    let case = |name: &'static str, members: &[(&str, Option<&str>)]| {
        Case::named(name)
            .versions(3..=5)
            .setup([called()])
            .ask(leaves(members))
            .after([look()])
    };
    suite
        .case(case("a static member by its name", &[("", Some("a"))]))
        .case(case(
            "a static member by name and id",
            &[("$member", Some("a"))],
        ))
        .case(case(
            "a static member by its id alone",
            &[("$member", None)],
        ))
        .case(case("another's id under its name", &[("who", Some("a"))]))
        .case(case("its id under another name", &[("$member", Some("z"))]))
        .case(case("a name that isn't there", &[("", Some("z"))]))
        .case(case("a name without letters", &[("", Some(""))]))
        .case(case("nobody", &[]))
        .case(case(
            "some who are there and some who aren't",
            &[
                ("who", None),
                ("", Some("a")),
                ("", Some("a")),
                ("$member", Some("a")),
                ("", None),
            ],
        ))
        .case(
            Case::named("several, of a group that there isn't")
                .versions(3..=5)
                .ask(leaves(&[("who", None), ("", Some("a"))])),
        )
        .case(
            Case::named("nobody, of a group that there isn't")
                .versions(3..=5)
                .ask(leaves(&[])),
        )
}
