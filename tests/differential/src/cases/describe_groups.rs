//! `DescribeGroups`: in every state, with members and without.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use super::join_group::{another_comes_in, comes_again, join, rebalances};
use crate::case::{Case, Step, Suite, ask, commit, member, topic};

fn describe(groups: &[&str]) -> Value {
    json!({"Groups": groups})
}

pub(super) fn suite() -> Suite {
    let suite = Suite::of(Api::DescribeGroups)
        .shared([
            topic("^t", 1),
            commit("^g", "^t", 0, 5),
            commit("", "^t", 0, 5),
        ])
        .case(
            Case::named("a group with a member")
                .setup([member("~g")])
                .ask(describe(&["~g"]))
                .vary(),
        )
        .case(Case::named("a group without members").ask(describe(&["^g"])))
        .case(Case::named("a group that there isn't").ask(describe(&["~no"])))
        .case(
            Case::named("several, one twice, one without a name")
                .ask(describe(&["^g", "~no", "^g", ""])),
        )
        .case(Case::named("none").ask(describe(&[])))
        .case(
            Case::named("what may be done")
                .versions(3..=6)
                .ask(json!({"Groups": ["^g", "~no"], "IncludeAuthorizedOperations": true})),
        );
    moving(suite)
}

/// Groups that members come into and leave.
fn moving(suite: Suite) -> Suite {
    let joined = || {
        vec![
            ask(Api::JoinGroup, join("", json!({})))
                .at(3)
                .save("member", "MemberId"),
        ]
    };
    suite
        .case(
            Case::named("a group that waits for its leader")
                .setup([joined()])
                .ask(describe(&["~g"])),
        )
        .case(
            Case::named("a group that a second member comes into")
                .setup([member("~g")])
                .step(another_comes_in())
                .step(rebalances("$member", json!(1)))
                .step(Step::own(describe(&["~g"])).sorted("Groups[].Members"))
                .step(comes_again())
                .step(Step::finish("b").save("b", "MemberId"))
                .step(Step::own(describe(&["~g"])).sorted("Groups[].Members")),
        )
        .case(
            Case::named("a group whose one member was given an id and didn't come")
                .step(ask(Api::JoinGroup, join("", json!({}))).save("member", "MemberId"))
                .ask(describe(&["~g"])),
        )
        .case(
            Case::named("a static member")
                .setup([vec![
                    ask(Api::JoinGroup, join("", json!({"GroupInstanceId": "a"})))
                        .save("member", "MemberId"),
                ]])
                .ask(describe(&["~g"])),
        )
        .case(
            Case::named("a group that all have left")
                .setup([member("~g")])
                .step(
                    ask(
                        Api::LeaveGroup,
                        json!({"GroupId": "~g", "MemberId": "$member"}),
                    )
                    .at(2),
                )
                .ask(describe(&["~g"])),
        )
        .case(
            Case::named("a client without a name")
                .step(ask(Api::JoinGroup, join("", json!({}))).at(3).client_null())
                .ask(describe(&["~g"])),
        )
}
