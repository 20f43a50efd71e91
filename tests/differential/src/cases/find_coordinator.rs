//! `FindCoordinator`: of groups, transactions and share groups, by one key and by several.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use crate::case::{Case, Step, Suite, ask};

/// The one key as every version says it, and the kind of what it names.
fn find(key: &str, kind: i8) -> Value {
    json!({"Key": key, "KeyType": kind, "CoordinatorKeys": [key]})
}

pub(super) fn suite() -> Suite {
    // The topic of groups is made when somebody asks first, which takes Kafka a moment.
    let first = ask(Api::FindCoordinator, json!({"CoordinatorKeys": ["^g"]}));
    let mut suite = Suite::of(Api::FindCoordinator)
        .shared([vec![first.until("Coordinators[0].ErrorCode", 0)]])
        .case(Case::named("a group").ask(find("~g", 0)).vary());
    for kind in [0, 2, 3, -1] {
        for (what, key) in [
            ("a name", "~g"),
            ("no name", ""),
            ("a control character", "a\u{1}b"),
            ("a share group's key", "~g:AAAAAAAAAAEAAAAAAAAAAQ:0"),
            ("a share group's key without a topic", "~g:x:0"),
            (
                "a share group's key without a partition",
                "~g:AAAAAAAAAAEAAAAAAAAAAQ:",
            ),
        ] {
            let name = format!("kind {kind}, {what}");
            let case = Case::named(&name).versions(1..=6);
            suite = suite.case(case.ask(find(key, kind)));
        }
    }
    suite
        .case(
            Case::named("a transaction")
                .versions(1..=6)
                .ask(find("~t", 1)),
        )
        .case(
            Case::named("a transaction without a name")
                .versions(1..=6)
                .ask(find("", 1)),
        )
        .case(Case::named("several").versions(4..=6).step(Step::own(
            json!({"KeyType": 0, "CoordinatorKeys": ["~g", "~h", "", "~g"]}),
        )))
        .case(
            Case::named("none")
                .versions(4..=6)
                .ask(json!({"CoordinatorKeys": []})),
        )
}
