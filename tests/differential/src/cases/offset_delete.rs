//! `OffsetDelete`: offsets of groups with and without members.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use crate::case::{Case, Step, Suite, ask, commit, member, topic};

fn delete(group: &str, topic: &str, partitions: &[i32]) -> Value {
    let rows: Vec<Value> = partitions
        .iter()
        .map(|p| json!({"PartitionIndex": p}))
        .collect();
    json!({"GroupId": group, "Topics": [{"Name": topic, "Partitions": rows}]})
}

fn look() -> Step {
    ask(
        Api::OffsetFetch,
        json!({"Groups": [{"GroupId": "~g", "Topics": null}]}),
    )
    .sorted("Groups[].Topics[].Partitions")
    .sorted("Groups[].Topics")
}

/// A subscription as consumers write it: version 0, one topic, no user data.
fn subscription() -> Value {
    json!({"hex": "0000" .to_owned() + "00000001" + "0001" + "74" + "ffffffff"})
}

pub(super) fn suite() -> Suite {
    let made = || {
        [
            commit("~g", "^t", 0, 5),
            commit("~g", "^t", 1, 5),
            commit("~g", "^u", 0, 5),
        ]
    };
    let joined = |kind: &str, metadata: Value| {
        let request = json!({"GroupId": "~g", "SessionTimeoutMs": 60000, "MemberId": "",
            "RebalanceTimeoutMs": 60000, "ProtocolType": kind,
            "Protocols": [{"Name": "range", "Metadata": metadata}]});
        vec![
            ask(Api::JoinGroup, request)
                .at(3)
                .save("member", "MemberId"),
        ]
    };
    let suite = Suite::of(Api::OffsetDelete)
        .shared([topic("^t", 3), topic("^u", 1)])
        .case(Case::named("an offset").setup(made()).ask(delete("~g", "^t", &[0])).after([look()]).vary())
        .case(Case::named("several, some of which there aren't").setup(made()).ask(json!({
            "GroupId": "~g", "Topics": [
                {"Name": "^t", "Partitions": [{"PartitionIndex": 1}, {"PartitionIndex": 2}, {"PartitionIndex": 9}]},
                {"Name": "~no", "Partitions": [{"PartitionIndex": 0}]},
                {"Name": "^u", "Partitions": [{"PartitionIndex": 0}]}]}))
            .after([look()]))
        .case(Case::named("the last ones").setup([commit("~g", "^t", 0, 5)])
            .ask(delete("~g", "^t", &[0]))
            .after([look(), ask(Api::DescribeGroups, json!({"Groups": ["~g"]}))]))
        .case(Case::named("nothing").setup(made()).ask(json!({"GroupId": "~g", "Topics": []})).after([look()]))
        .case(Case::named("a group that there isn't").ask(delete("~g", "^t", &[0])).after([look()]))
        .case(Case::named("no group").ask(delete("", "^t", &[0])));
    suite
        .case(
            Case::named("of a group of consumers that read the topic or nobody knows")
                .setup([commit("~g", "^t", 0, 5)])
                .setup([member("~g")])
                .ask(delete("~g", "^t", &[0]))
                .after([look()]),
        )
        .case(
            Case::named("of a group of consumers that read another topic")
                .setup([commit("~g", "^t", 0, 5)])
                .setup([joined("consumer", subscription())])
                .ask(delete("~g", "^t", &[0]))
                .after([look()]),
        )
        .case(
            Case::named("of a group of something else")
                .setup([commit("~g", "^t", 0, 5)])
                .setup([joined("connect", json!("m"))])
                .ask(delete("~g", "^t", &[0]))
                .after([look()]),
        )
}
