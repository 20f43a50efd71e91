//! `DeleteGroups`: with members, without, and those that there aren't.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use super::join_group::{join, look};
use crate::case::{Case, Step, Suite, ask, commit, member, topic};

fn delete(groups: &[&str]) -> Value {
    json!({"GroupsNames": groups})
}

fn offsets() -> Step {
    ask(
        Api::OffsetFetch,
        json!({"Groups": [{"GroupId": "~g", "Topics": null}]}),
    )
}

pub(super) fn suite() -> Suite {
    Suite::of(Api::DeleteGroups)
        .shared([topic("^t", 1)])
        .case(
            Case::named("a group of offsets")
                .setup([commit("~g", "^t", 0, 5)])
                .ask(delete(&["~g"]))
                .after([look(), offsets()])
                .vary()
                // One group of all cases: below, alone.
                .without("GroupsNames[]", "empty"),
        )
        .case(
            Case::named("a group twice, one after the other")
                .setup([commit("~g", "^t", 0, 5)])
                .ask(delete(&["~g"]))
                .ask(delete(&["~g"])),
        )
        .case(
            Case::named("several, one twice, one without a name")
                .setup([commit("~g", "^t", 0, 5), commit("", "^t", 0, 5)])
                .step(Step::own(delete(&["~no", "~g", "~g", "", "~nor"])).sorted("Results"))
                .after([look()])
                .alone(),
        )
        .case(Case::named("none").ask(delete(&[])))
        .case(
            Case::named("a group with a member")
                .setup([member("~g")])
                .ask(delete(&["~g"]))
                .after([look()]),
        )
        .case(
            Case::named("a group that waits for its leader")
                .setup([vec![ask(Api::JoinGroup, join("", json!({}))).at(3)]])
                .ask(delete(&["~g"]))
                .after([look()]),
        )
        .case(
            Case::named("a group that all have left, joined again")
                .setup([member("~g")])
                .step(
                    ask(
                        Api::LeaveGroup,
                        json!({"GroupId": "~g", "MemberId": "$member"}),
                    )
                    .at(2),
                )
                .ask(delete(&["~g"]))
                .step(ask(
                    Api::Heartbeat,
                    json!({"GroupId": "~g", "GenerationId": 1, "MemberId": "$member"}),
                ))
                .step(ask(Api::JoinGroup, join("", json!({}))).at(3))
                .after([look()]),
        )
        .case(
            Case::named("a group of which a member was given an id and didn't come")
                .step(ask(Api::JoinGroup, join("", json!({}))).save("member", "MemberId"))
                .ask(delete(&["~g"]))
                .after([look()]),
        )
}
