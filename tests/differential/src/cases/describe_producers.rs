//! `DescribeProducers`: who has written into a partition.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use crate::case::{Case, Step, Suite, ask, topic};

fn describe(topic: &str, partitions: &[i32]) -> Value {
    json!({"Topics": [{"Name": topic, "PartitionIndexes": partitions}]})
}

/// A batch of an idempotent producer.
fn write(epoch: i16, sequence: i32, count: usize) -> Step {
    let records = vec![json!({"v": "v"}); count];
    let batch =
        json!({"producer_id": "$pid", "epoch": epoch, "sequence": sequence, "records": records});
    ask(
        Api::Produce,
        json!({"Acks": -1, "TimeoutMs": 30000, "TopicData": [{"Name": "~t", "PartitionData": [
        {"Index": 0, "Records": {"batches": [batch]}}]}]}),
    )
    .at(12)
}

pub(super) fn suite() -> Suite {
    let producer = || {
        let request = json!({"TransactionalId": null, "TransactionTimeoutMs": 60000});
        vec![ask(Api::InitProducerId, request).save("pid", "ProducerId")]
    };
    let row = |name: &str, partitions: &[i32]| -> Value {
        json!({"Name": name, "PartitionIndexes": partitions})
    };
    Suite::of(Api::DescribeProducers)
        .case(Case::named("a producer").setup([topic("~t", 2), producer()])
            .step(write(0, 0, 1)).ask(describe("~t", &[0])).vary())
        .case(Case::named("a producer that goes on").setup([topic("~t", 2), producer()])
            .step(write(3, 0, 2)).step(write(3, 2, 3)).ask(describe("~t", &[0])).step(write(4, 0, 1)).ask(describe("~t", &[0])))
        .case(Case::named("nobody").setup([topic("~t", 2)]).ask(describe("~t", &[1, 0])))
        .case(Case::named("partitions and topics that there aren't").setup([topic("~t", 2)])
            .ask(json!({"Topics": [row("~t", &[9, -1, 0, 0]), row("~no", &[0]), row("", &[0]), row("a b", &[0])]})))
        .case(Case::named("no topic").ask(json!({"Topics": []})))
}
