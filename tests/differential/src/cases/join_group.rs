//! `JoinGroup`: first, second, static and replaced members, and those who can't come in.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use super::with;
use crate::case::{Case, Step, Suite, ask, member, topic};

/// A member's wish to come in.
pub(super) fn join(member: &str, said: Value) -> Value {
    let request = json!({
        "GroupId": "~g", "SessionTimeoutMs": 60000, "RebalanceTimeoutMs": 60000,
        "MemberId": member, "ProtocolType": "consumer",
        "Protocols": [{"Name": "range", "Metadata": "m"}, {"Name": "rr", "Metadata": "n"}],
    });
    with(request, said)
}

/// What the group looks like.
pub(super) fn look() -> Step {
    ask(Api::DescribeGroups, json!({"Groups": ["~g"]})).sorted("Groups[].Members")
}

/// Waits until a member of the group is told to join again.
pub(super) fn rebalances(member: &str, generation: Value) -> Step {
    let mut request = json!({"GroupId": "~g", "MemberId": member});
    request["GenerationId"] = generation;
    ask(Api::Heartbeat, request).until("ErrorCode", 27)
}

/// Another member comes in, over connection `b`, and waits for the one that is there.
pub(super) fn another_comes_in() -> Step {
    ask(Api::JoinGroup, join("", json!({})))
        .at(3)
        .on("b")
        .begin()
}

/// The member that is there comes in again, as it must.
pub(super) fn comes_again() -> Step {
    ask(Api::JoinGroup, join("$member", json!({})))
        .at(3)
        .sorted("Members")
}

pub(super) fn suite() -> Suite {
    let suite = Suite::of(Api::JoinGroup).shared([topic("^t", 1)]);
    fenced(statics(others(refused(firsts(suite)))))
}

fn firsts(suite: Suite) -> Suite {
    suite
        .case(
            // Where a member joins at once, Kafka never answers one that names a protocol twice.
            Case::named("the first member")
                .ask(join("", json!({})))
                .after([look()])
                .vary()
                .without("Protocols", "twice"),
        )
        .case(
            Case::named("the first member with the id that it was given")
                .versions(4..=9)
                .step(Step::own(join("", json!({}))).save("member", "MemberId"))
                .ask(join("$member", json!({})))
                .after([look()]),
        )
        .case(
            Case::named("the first member by another client id")
                .versions(0..=3)
                .step(Step::own(join("", json!({}))).client("another"))
                .after([look()]),
        )
        .case(
            Case::named("the first member of a client without a name")
                .versions(0..=9)
                .step(Step::own(join("", json!({}))).client_null())
                .after([look()]),
        )
        .case(
            Case::named("the only member joins again")
                .setup([member("~g")])
                .ask(join("$member", json!({})))
                .after([look()]),
        )
        .case(
            Case::named("another type than consumer")
                .versions(0..=3)
                .ask(join(
                    "",
                    json!({"ProtocolType": "connect", "Protocols": [
                    {"Name": "default", "Metadata": {"hex": "0001"}}]}),
                ))
                .after([look()]),
        )
        .case(
            Case::named("a reason")
                .versions(8..=9)
                .step(Step::own(join("", json!({"Reason": "because"}))).save("member", "MemberId"))
                .ask(join("$member", json!({"Reason": {"long": 300}})))
                .after([look()]),
        )
}

fn refused(suite: Suite) -> Suite {
    let mut suite = suite;
    for timeout in [-1, 0, 5999, 6000, 1_800_000, 1_800_001] {
        let case = Case::named(&format!("a session of {timeout} ms"));
        let case = case.ask(join("", json!({"SessionTimeoutMs": timeout})));
        // The shortest session may end while somebody looks.
        let look = (timeout != 6000).then(look);
        suite = suite.case(case.after(look));
    }
    for (name, said) in [
        ("no protocol", json!({"Protocols": []})),
        ("no type", json!({"ProtocolType": ""})),
        (
            "neither type nor protocol",
            json!({"ProtocolType": "", "Protocols": []}),
        ),
        (
            "a protocol without a name",
            json!({"Protocols": [{"Name": "", "Metadata": "m"}]}),
        ),
        (
            "a protocol twice",
            json!({"Protocols": [
            {"Name": "range", "Metadata": "m"}, {"Name": "range", "Metadata": "other"}]}),
        ),
        ("no group", json!({"GroupId": ""})),
        (
            "a negative time to rebalance",
            json!({"RebalanceTimeoutMs": -1}),
        ),
    ] {
        let first = if name == "a protocol twice" { 4 } else { 0 };
        let case = Case::named(name).versions(first..=9);
        suite = suite.case(case.ask(join("", said)));
    }
    suite
        .case(Case::named("an id in a group that there isn't").ask(join("who", json!({}))))
        .case(
            Case::named("an id in a group without members")
                .setup([crate::case::commit("~g", "^t", 0, 1)])
                .ask(join("who", json!({}))),
        )
        .case(
            Case::named("an id that nobody has")
                .setup([member("~g")])
                .ask(join("who", json!({})))
                .after([look()]),
        )
        .case(
            Case::named("another type than the group's")
                .setup([member("~g")])
                .ask(join("", json!({"ProtocolType": "connect"})))
                .ask(join("$member", json!({"ProtocolType": "connect"})))
                .after([look()]),
        )
        .case(
            Case::named("no protocol that all have")
                .setup([member("~g")])
                .ask(join(
                    "",
                    json!({"Protocols": [{"Name": "other", "Metadata": "m"}]}),
                ))
                .after([look()]),
        )
}

/// A second member, at every version; the first joins again at the same.
fn others(suite: Suite) -> Suite {
    let again = |said: Value| Step::own(join("$member", said));
    suite
        .case(
            Case::named("a second member")
                .versions(0..=3)
                .setup([member("~g")])
                .step(Step::own(join("", json!({}))).on("b").begin())
                .step(rebalances("$member", json!(1)))
                .step(again(json!({})).sorted("Members"))
                .step(Step::finish("b").save("b", "MemberId"))
                .after([look()]),
        )
        .case(
            Case::named("a second member that is given its id first")
                .versions(4..=9)
                .setup([member("~g")])
                .step(Step::own(join("", json!({}))).on("b").save("b", "MemberId"))
                .step(look())
                .step(Step::own(join("$b", json!({}))).on("b").begin())
                .step(rebalances("$member", json!(1)))
                .step(look())
                .step(again(json!({})).sorted("Members"))
                .step(Step::finish("b"))
                .after([look()]),
        )
        .case(
            Case::named("the one protocol that both have")
                .versions(0..=3)
                .setup([member("~g")])
                .step(
                    Step::own(join(
                        "",
                        json!({"Protocols": [
                    {"Name": "rr", "Metadata": "x"}, {"Name": "range", "Metadata": "y"}]}),
                    ))
                    .on("b")
                    .begin(),
                )
                .step(rebalances("$member", json!(1)))
                .step(
                    again(json!({"Protocols": [{"Name": "range", "Metadata": "z"}]}))
                        .sorted("Members"),
                )
                .step(Step::finish("b"))
                .after([look()]),
        )
        .case(
            Case::named("while the group waits for its leader's word")
                .versions(0..=3)
                .step(Step::own(join("", json!({}))).save("member", "MemberId"))
                .step(again(json!({})))
                .step(again(
                    json!({"Protocols": [{"Name": "range", "Metadata": "changed"}]}),
                ))
                .after([look()]),
        )
}

/// Static members (KIP-345), one after the other under one name.
fn statics(suite: Suite) -> Suite {
    let called = |member: &str, said: Value| {
        Step::own(with(join(member, json!({"GroupInstanceId": "a"})), said))
    };
    let sync = |version: i16| {
        ask(
            Api::SyncGroup,
            json!({"GroupId": "~g", "GenerationId": 1, "MemberId": "$member",
            "GroupInstanceId": "a", "Assignments": [{"MemberId": "$member", "Assignment": "x"}]}),
        )
        .at(version)
    };
    suite
        .case(
            Case::named("a static member")
                .versions(5..=9)
                .step(called("", json!({})).save("member", "MemberId"))
                .step(sync(3))
                .after([look()]),
        )
        .case(
            Case::named("a static member that starts again")
                .versions(5..=9)
                .step(called("", json!({})).save("member", "MemberId"))
                .step(sync(3))
                .step(called("", json!({})).save("new", "MemberId"))
                .step(look())
                .step(called("$member", json!({})))
                .after([look()]),
        )
        .case(
            Case::named("a static member that starts again with other metadata")
                .versions(5..=9)
                .step(called("", json!({})).save("member", "MemberId"))
                .step(sync(3))
                .step(called(
                    "",
                    json!({"Protocols": [{"Name": "range", "Metadata": "changed"}]}),
                ))
                .after([look()]),
        )
        .case(
            Case::named("a static member that starts again with another protocol")
                .versions(5..=9)
                .step(called("", json!({})).save("member", "MemberId"))
                .step(sync(3))
                .step(called(
                    "",
                    json!({"Protocols": [{"Name": "rr", "Metadata": "n"}]}),
                ))
                .after([look()]),
        )
        .case(
            Case::named("a static member with an id, in a group that there isn't")
                .versions(5..=9)
                .step(called("who", json!({}))),
        )
        .case(
            Case::named("a static member without protocols")
                .versions(5..=9)
                .step(called("", json!({"Protocols": []}))),
        )
        .case(
            Case::named("an instance without a name")
                .versions(5..=9)
                .step(called("", json!({"GroupInstanceId": ""}))),
        )
}

fn fenced(suite: Suite) -> Suite {
    let called = |member: &str, instance: Value| {
        Step::own(join(member, json!({"GroupInstanceId": instance})))
    };
    suite.case(
        Case::named("another's name, another's id, and neither")
            .versions(5..=9)
            .step(called("", json!("a")).save("member", "MemberId"))
            .step(called("who", json!("a")))
            .step(called("$member", json!("z")))
            .step(called("who", json!("z")))
            .step(called("who", Value::Null))
            .after([look()]),
    )
}
