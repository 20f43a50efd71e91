//! `OffsetForLeaderEpoch`: of epochs that there were, are, and may come.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use crate::case::{Case, Suite, records, topic};

fn end_of(partition: i32, epoch: i32, current: i32) -> Value {
    json!({"ReplicaId": -1, "Topics": [{"Topic": "^t", "Partitions": [
        {"Partition": partition, "CurrentLeaderEpoch": current, "LeaderEpoch": epoch}]}]})
}

pub(super) fn suite() -> Suite {
    let mut suite = Suite::of(Api::OffsetForLeaderEpoch)
        .shared([topic("^t", 2), records("^t", 0, 5)])
        .case(
            Case::named("the leader's epoch")
                .ask(end_of(0, 0, -1))
                .vary(),
        );
    for (epoch, current) in [
        (-1, -1),
        (1, -1),
        (-2, -1),
        (0, 0),
        (0, 1),
        (0, -2),
        (5, 5),
        (i32::MAX, -1),
    ] {
        suite = suite
            .case(
                Case::named(&format!("epoch {epoch}, by one who knows of {current}"))
                    .ask(end_of(0, epoch, current)),
            )
            .case(
                Case::named(&format!(
                    "epoch {epoch} without records, by one who knows of {current}"
                ))
                .ask(end_of(1, epoch, current)),
            );
    }
    let row = |partition: i32| json!({"Partition": partition, "CurrentLeaderEpoch": -1, "LeaderEpoch": 0});
    suite
        .case(Case::named("partitions and topics that there aren't").ask(
            json!({"ReplicaId": -1, "Topics": [
            {"Topic": "^t", "Partitions": [row(1), row(9), row(-1), row(0)]},
            {"Topic": "~no", "Partitions": [row(0)]},
            {"Topic": "", "Partitions": [row(0)]}]}),
        ))
        .case(
            Case::named("a partition twice").ask(json!({"ReplicaId": -1, "Topics": [
            {"Topic": "^t", "Partitions": [row(0), row(0)]}]})),
        )
        .case(Case::named("none").ask(json!({"ReplicaId": -1, "Topics": []})))
        .case(
            Case::named("a replica asks")
                .versions(3..=4)
                .ask(json!({"ReplicaId": 1, "Topics": [
            {"Topic": "^t", "Partitions": [row(0)]}]})),
        )
}
