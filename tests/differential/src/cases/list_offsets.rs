//! `ListOffsets`: offsets by time and by Kafka's names for places in a log.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use crate::case::{Case, Suite, ask, records, topic, topic_with};

/// Asks for one place of one partition of the suite's topic.
fn at(partition: i32, timestamp: i64) -> Value {
    of("^t", partition, timestamp)
}

fn of(topic: &str, partition: i32, timestamp: i64) -> Value {
    json!({"ReplicaId": -1, "Topics": [{"Name": topic, "Partitions": [
        {"PartitionIndex": partition, "CurrentLeaderEpoch": -1, "Timestamp": timestamp},
    ]}]})
}

pub(super) fn suite() -> Suite {
    let deleted = json!({"TimeoutMs": 10000, "Topics": [{"Name": "^t", "Partitions": [
        {"PartitionIndex": 1, "Offset": 2}]}]});
    let suite = Suite::of(Api::ListOffsets).shared([
        topic("^t", 3),
        records("^t", 0, 5),
        records("^t", 1, 3),
        vec![ask(Api::DeleteRecords, deleted)],
    ]);
    told(refused(other_times(places(suite))))
}

/// Every name for a place, some that nobody knows, and times around those of the records.
fn places(suite: Suite) -> Suite {
    let mut suite = suite.case(Case::named("the end").ask(at(0, -1)).vary());
    let names = [-1, -2, -3, -4, -5, -6, -7, -100, i64::MIN];
    let times = [0, 999, 1000, 1001, 1004, 1005, i64::MAX];
    for timestamp in names.into_iter().chain(times) {
        let partitions = [
            "five records",
            "records of which some were deleted",
            "no record",
        ];
        for (partition, what) in (0..).zip(partitions) {
            let name = format!("{timestamp} of {what}");
            suite = suite.case(Case::named(&name).ask(at(partition, timestamp)));
        }
    }
    suite
}

fn other_times(suite: Suite) -> Suite {
    let falling = json!({"Acks": -1, "TimeoutMs": 10000, "TopicData": [{"Name": "~o",
        "PartitionData": [{"Index": 0, "Records": {"batches": [{"time": 5000, "records": [
            {"v": "a", "t": 5}, {"v": "b", "t": 9}, {"v": "c", "t": 1}]}]}}]}]});
    let appended = json!({"message.timestamp.type": "LogAppendTime"});
    suite
        .case(
            Case::named("records whose times don't rise")
                .setup([topic("~o", 1), vec![ask(Api::Produce, falling).at(12)]])
                .ask(of("~o", 0, 5000))
                .ask(of("~o", 0, 5001))
                .ask(of("~o", 0, 5006))
                .ask(of("~o", 0, -3)),
        )
        .case(
            Case::named("records with the time of their append")
                .setup([topic_with("~l", 1, &appended), records("~l", 0, 2)])
                .ask(of("~l", 0, 1000))
                .ask(of("~l", 0, -3)),
        )
}

fn refused(suite: Suite) -> Suite {
    let end = |partition: i32| json!({"PartitionIndex": partition, "Timestamp": -1});
    suite
        .case(Case::named("a partition twice").ask(json!({
            "ReplicaId": -1, "Topics": [{"Name": "^t", "Partitions": [
                end(0), {"PartitionIndex": 0, "Timestamp": -2}, end(1)]}],
        })))
        .case(Case::named("a topic twice").ask(json!({
            "ReplicaId": -1, "Topics": [
                {"Name": "^t", "Partitions": [end(0)]}, {"Name": "^t", "Partitions": [end(1)]}],
        })))
        .case(Case::named("unknown partitions and topics").ask(json!({
            "ReplicaId": -1, "Topics": [
                {"Name": "^t", "Partitions": [end(3), end(-1)]},
                {"Name": "~no", "Partitions": [end(0)]},
                {"Name": "", "Partitions": [end(0)]},
            ],
        })))
        .case(Case::named("a topic without partitions").ask(json!({
            "ReplicaId": -1, "Topics": [{"Name": "^t", "Partitions": []}],
        })))
        .case(Case::named("no topic").ask(json!({"ReplicaId": -1, "Topics": []})))
}

/// What is said of epochs, replicas and times to wait.
fn told(suite: Suite) -> Suite {
    let epoch = |name: &str, epoch: i32| {
        let row = |partition: i32| json!({"PartitionIndex": partition, "CurrentLeaderEpoch": epoch, "Timestamp": -1});
        Case::named(name).versions(4..=11).ask(json!({
            "ReplicaId": -1, "Topics": [{"Name": "^t", "Partitions": [row(0), row(1), row(7)]}],
        }))
    };
    let asked_by = |name: &str, said: Value| {
        let mut request = at(0, -1);
        if let (Some(request), Value::Object(said)) = (request.as_object_mut(), said) {
            request.extend(said);
        }
        Case::named(name).ask(request)
    };
    suite
        .case(epoch("the leader's epoch", 0))
        .case(epoch("an epoch to come", 1))
        .case(asked_by("a replica that there is", json!({"ReplicaId": 1})))
        .case(asked_by(
            "a replica that there isn't",
            json!({"ReplicaId": 5}),
        ))
        .case(asked_by("a consumer that debugs", json!({"ReplicaId": -2})))
        .case(asked_by("what is committed", json!({"IsolationLevel": 1})).versions(2..=11))
        .case(asked_by("no time to wait", json!({"TimeoutMs": -5})).versions(10..=11))
}
