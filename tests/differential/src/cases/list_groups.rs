//! `ListGroups`: all, by their states and by their types.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use super::join_group::join;
use crate::case::{Case, Step, Suite, ask, commit, member, topic};

/// Of all groups those of the case.
fn list(states: &[&str], types: &[&str]) -> Step {
    Step::own(json!({"StatesFilter": states, "TypesFilter": types}))
        .only_mine("Groups")
        .sorted("Groups")
}

pub(super) fn suite() -> Suite {
    let made = || {
        let joined = ask(Api::JoinGroup, join("", json!({"GroupId": "~waiting"}))).at(3);
        [
            member("~stable"),
            vec![joined],
            commit("~empty", "^t", 0, 5),
        ]
    };
    let case = |name: &'static str, step: Step| Case::named(name).setup(made()).step(step);
    let none: Vec<Value> = Vec::new();
    Suite::of(Api::ListGroups)
        .shared([topic("^t", 1)])
        .case(case("all", list(&[], &[])))
        .case(case("those without members", list(&["Empty"], &[])).versions(4..=5))
        .case(case("a state in small letters", list(&["stable"], &[])).versions(4..=5))
        .case(case("two states", list(&["Empty", "CompletingRebalance"], &[])).versions(4..=5))
        .case(case("a state that nobody knows", list(&["Unknown", "x"], &[])).versions(4..=5))
        .case(
            case(
                "a state that nobody knows beside one",
                list(&["x", "Stable"], &[]),
            )
            .versions(4..=5),
        )
        .case(case("a state of other groups", list(&["Assigning"], &[])).versions(4..=5))
        .case(case("those that are dead", list(&["Dead"], &[])).versions(4..=5))
        .case(case("a type", list(&[], &["classic"])).versions(5..=5))
        .case(case("a type in large letters", list(&[], &["CLASSIC"])).versions(5..=5))
        .case(case("another type", list(&[], &["consumer"])).versions(5..=5))
        .case(case("share groups", list(&[], &["share"])).versions(5..=5))
        .case(case("a type that nobody knows", list(&[], &["x"])).versions(5..=5))
        .case(case("a type and a state", list(&["Stable"], &["Classic", "x"])).versions(5..=5))
        .case(
            Case::named("states that nobody has")
                .versions(4..=5)
                .ask(json!({"StatesFilter": ["x"], "TypesFilter": none}))
                .vary()
                // All groups: of other cases too.
                .without("StatesFilter", "empty")
                .without("StatesFilter", "null")
                .without("StatesFilter[]", "empty"),
        )
}
