//! `DeleteRecords`: up to offsets that there are and aren't, and what is left.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use super::with;
use crate::case::{Case, Step, Suite, ask, records, topic, topic_with};

fn delete(offset: i64) -> Value {
    of("~t", &[(0, offset)])
}

fn of(topic: &str, rows: &[(i32, i64)]) -> Value {
    let rows: Vec<Value> = rows
        .iter()
        .map(|(partition, offset)| json!({"PartitionIndex": partition, "Offset": offset}))
        .collect();
    json!({"Topics": [{"Name": topic, "Partitions": rows}], "TimeoutMs": 30000})
}

fn look() -> Vec<Step> {
    let at = |timestamp: i64| {
        ask(
            Api::ListOffsets,
            json!({"ReplicaId": -1, "Topics": [{"Name": "~t", "Partitions": [
            {"PartitionIndex": 0, "Timestamp": timestamp}, {"PartitionIndex": 1, "Timestamp": timestamp}]}]}),
        )
    };
    vec![at(-2), at(-1), at(0)]
}

pub(super) fn suite() -> Suite {
    let case = |name: &str| {
        Case::named(name).setup([topic("~t", 2), records("~t", 0, 5), records("~t", 1, 2)])
    };
    let mut suite = Suite::of(Api::DeleteRecords).case(
        case("some")
            .ask(delete(3))
            .after(look())
            .vary()
            // 77 ms, which a busy machine takes for a log start to be durable.
            .without("TimeoutMs", "unknown"),
    );
    for offset in [-1, 0, 5, 6, -2, i64::MAX, i64::MIN] {
        suite = suite.case(
            case(&format!("up to {offset}"))
                .ask(delete(offset))
                .after(look()),
        );
    }
    let with_policy = |policy: &str| {
        [
            topic_with("~t", 2, &json!({"cleanup.policy": policy})),
            records("~t", 0, 3),
        ]
    };
    suite
        .case(
            case("fewer than were deleted")
                .ask(delete(4))
                .ask(delete(2))
                .ask(delete(4))
                .after(look()),
        )
        .case(
            case("several partitions, one that there isn't")
                .step(
                    Step::own(of("~t", &[(1, 2), (0, 1), (9, 0), (-1, 0)]))
                        .sorted("Topics[].Partitions"),
                )
                .after(look()),
        )
        .case(
            case("a partition twice")
                .step(Step::own(of("~t", &[(0, 1), (0, 2)])).sorted("Topics[].Partitions"))
                .after(look()),
        )
        .case(Case::named("a topic that there isn't").ask(of("~no", &[(0, 1)])))
        .case(Case::named("a topic without a name").ask(of("", &[(0, 1)])))
        .case(Case::named("none").ask(json!({"Topics": [], "TimeoutMs": 30000})))
        .case(Case::named("a topic without partitions").ask(of("~no", &[])))
        .case(
            case("no time to wait")
                .ask(with(delete(3), json!({"TimeoutMs": 0})))
                .after(look()),
        )
        .case(
            Case::named("a compacted topic")
                .setup(with_policy("compact"))
                .ask(delete(2))
                .after(look()),
        )
        .case(
            Case::named("a compacted topic that is deleted from, too")
                .setup(with_policy("compact,delete"))
                .ask(delete(2))
                .after(look()),
        )
}
