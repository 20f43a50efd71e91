//! `CreatePartitions`: more, as many, fewer, and where they are to lie.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use super::with;
use crate::case::{Case, Step, Suite, ask, records, topic};

fn grow(count: i32, assignments: Value) -> Value {
    let mut topic = json!({"Name": "~t", "Count": count});
    topic["Assignments"] = assignments;
    json!({"Topics": [topic], "TimeoutMs": 30000, "ValidateOnly": false})
}

fn look() -> Step {
    ask(
        Api::Metadata,
        json!({"Topics": [{"Name": "~t"}], "AllowAutoTopicCreation": false}),
    )
}

pub(super) fn suite() -> Suite {
    let case = |name: &str| Case::named(name).setup([topic("~t", 2)]).after([look()]);
    let to = |brokers: Value| json!([{"BrokerIds": brokers}]);
    let mut suite = Suite::of(Api::CreatePartitions).case(
        case("three")
            .ask(grow(3, Value::Null))
            .vary()
            // Whether 77 ms are enough is a matter of speed.
            .without("TimeoutMs", "unknown")
            .without("Topics[].Count", "max"),
    );
    // Kafka tries to make any number of them, until its memory is gone: nothing large is asked.
    for count in [2, 1, 0, -1] {
        suite = suite.case(case(&format!("{count} partitions")).ask(grow(count, Value::Null)));
    }
    suite
        .case(case("assigned").ask(grow(3, to(json!([1])))).vary_within("Topics[].Assignments"))
        .case(case("assigned to nobody").ask(grow(3, to(json!([])))))
        .case(case("no assignments").ask(grow(3, json!([]))))
        .case(case("fewer assignments than partitions").ask(grow(4, to(json!([1])))))
        .case(case("more assignments than partitions").ask(grow(3, json!([{"BrokerIds": [1]}, {"BrokerIds": [1]}]))))
        .case(case("assigned to a broker that there isn't").ask(grow(3, to(json!([7])))))
        .case(case("assigned to a broker twice").ask(grow(3, to(json!([1, 1])))))
        .case(case("assigned to two brokers").ask(grow(3, to(json!([1, 2])))))
        .case(case("only to be validated")
            .ask(with(grow(3, Value::Null), json!({"ValidateOnly": true})))
            .ask(with(grow(2, Value::Null), json!({"ValidateOnly": true}))))
        .case(Case::named("a topic that there isn't").ask(grow(3, Value::Null)))
        .case(case("none").ask(json!({"Topics": [], "TimeoutMs": 30000})))
        .case(case("a topic twice").step(Step::own(json!({"Topics": [
            {"Name": "~t", "Count": 3, "Assignments": null}, {"Name": "~t", "Count": 4, "Assignments": null},
            {"Name": "~no", "Count": 4, "Assignments": null}], "TimeoutMs": 30000})).sorted("Results")))
        .case(case("several, some of which there aren't").setup([topic("~u", 1)]).step(Step::own(json!({"Topics": [
            {"Name": "~t", "Count": 3, "Assignments": null}, {"Name": "", "Count": 3, "Assignments": null},
            {"Name": "~no", "Count": 4, "Assignments": null}, {"Name": "~u", "Count": 1, "Assignments": null}],
            "TimeoutMs": 30000})).sorted("Results")))
        .case(case("twice, and written to").ask(grow(3, Value::Null)).ask(grow(3, Value::Null)).ask(grow(4, Value::Null))
            .setup([records("~t", 0, 1)])
            .after([ask(Api::ListOffsets, json!({"ReplicaId": -1, "Topics": [{"Name": "~t", "Partitions": [
                {"PartitionIndex": 0, "Timestamp": -1}, {"PartitionIndex": 3, "Timestamp": -1}]}]}))]))
}
