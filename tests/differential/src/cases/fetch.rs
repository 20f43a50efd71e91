//! `Fetch`: records from every place of a log, within every limit, with epochs, and the sessions of
//! KIP-227 with all that can go wrong in them.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use crate::case::{Case, Step, Suite, ask, records, topic, topic_with};

/// A partition as it is asked for, with what is said of it.
fn partition(index: i32, offset: i64, said: &Value) -> Value {
    let mut row = json!({
        "Partition": index, "FetchOffset": offset, "PartitionMaxBytes": 1_000_000,
    });
    merge(&mut row, said);
    row
}

/// A request with these partitions of the suite's topic and what else is said.
fn fetch(partitions: &[Value], said: &Value) -> Value {
    of("^t", partitions, said)
}

fn of(topic: &str, partitions: &[Value], said: &Value) -> Value {
    let id = format!("${}_id", topic.trim_start_matches(['~', '^']));
    let mut request = json!({
        "ReplicaId": -1, "MaxWaitMs": 0, "MinBytes": 1, "MaxBytes": 1_000_000,
        "Topics": [{"Topic": topic, "TopicId": id, "Partitions": partitions}],
    });
    merge(&mut request, said);
    request
}

fn merge(into: &mut Value, said: &Value) {
    let into = into.as_object_mut().expect("it is an object");
    into.extend(said.as_object().expect("so is this").clone());
}

/// One partition from an offset.
fn from(index: i32, offset: i64) -> Value {
    fetch(&[partition(index, offset, &json!({}))], &json!({}))
}

pub(super) fn suite() -> Suite {
    let suite = Suite::of(Api::Fetch).shared([
        topic("^t", 4),
        records("^t", 0, 5),
        records("^t", 1, 3),
        vec![ask(
            Api::DeleteRecords,
            json!({"Topics": [{"Name": "^t", "Partitions": [{"PartitionIndex": 1, "Offset": 2}]}],
                "TimeoutMs": 10000}),
        )],
        (0..4).map(|at| two_records("^t", 3, at)).collect(),
    ]);
    broken(sessions(told(limits(places(suite)))))
}

/// A batch of two records.
fn two_records(topic: &str, partition: i32, at: i64) -> Step {
    let batch = json!({"time": 1000 + at, "records": [{"v": "v".repeat(100)}, {"v": "b"}]});
    ask(
        Api::Produce,
        json!({"Acks": -1, "TimeoutMs": 10000, "TopicData": [{"Name": topic, "PartitionData": [
            {"Index": partition, "Records": {"batches": [batch]}}]}]}),
    )
    .at(12)
}

fn places(suite: Suite) -> Suite {
    let mut suite = suite.case(
        Case::named("from the beginning")
            .ask(from(0, 0))
            .vary()
            // A wait of 25 days.
            .without("MaxWaitMs", "max"),
    );
    for (name, index, offset) in [
        ("within a batch", 0, 2),
        ("the end", 0, 5),
        ("past the end", 0, 6),
        ("the largest offset", 0, i64::MAX),
        ("before the beginning", 0, -1),
        ("far before the beginning", 0, i64::MIN),
        ("deleted records", 1, 1),
        ("the first that isn't deleted", 1, 2),
        ("an empty partition", 2, 0),
        ("past the end of an empty partition", 2, 1),
        ("a partition that there isn't", 9, 0),
        ("a negative partition", -1, 0),
    ] {
        suite = suite.case(Case::named(name).ask(from(index, offset)));
    }
    suite
        .case(Case::named("several partitions").ask(fetch(
            &[
                partition(1, 2, &json!({})),
                partition(9, 0, &json!({})),
                partition(0, 3, &json!({})),
                partition(2, 0, &json!({})),
                partition(1, 0, &json!({})),
            ],
            &json!({}),
        )))
        .case(Case::named("a topic that there isn't").ask(json!({
            "ReplicaId": -1, "MaxWaitMs": 0, "MinBytes": 1, "MaxBytes": 1000, "Topics": [
                {"Topic": "~no", "TopicId": "00000000000000070000000000000007", "Partitions": [partition(0, 0, &json!({}))]},
                {"Topic": "^t", "TopicId": "$t_id", "Partitions": [partition(0, 0, &json!({}))]},
            ],
        })))
        .case(Case::named("a topic without partitions").ask(fetch(&[], &json!({}))))
        .case(Case::named("nothing").ask(json!({
            "ReplicaId": -1, "MaxWaitMs": 0, "MinBytes": 1, "MaxBytes": 1000, "Topics": [],
        })))
        .case(Case::named("only what is committed").ask(fetch(
            &[partition(0, 0, &json!({})), partition(2, 0, &json!({}))],
            &json!({"IsolationLevel": 1}),
        )))
        .case(Case::named("an isolation that nobody knows").ask(fetch(
            &[partition(0, 0, &json!({}))],
            &json!({"IsolationLevel": 2}),
        )))
}

fn limits(suite: Suite) -> Suite {
    let limited = |name: &'static str, partition_bytes: i32, said: Value| {
        Case::named(name).ask(fetch(
            &[
                partition(3, 0, &json!({"PartitionMaxBytes": partition_bytes})),
                partition(0, 0, &json!({"PartitionMaxBytes": partition_bytes})),
            ],
            &said,
        ))
    };
    suite
        .case(limited("no byte of a partition", 0, json!({})))
        .case(limited("one byte of a partition", 1, json!({})))
        .case(limited("fewer than no byte", -1, json!({})))
        .case(limited("no byte at all", 1000, json!({"MaxBytes": 0})))
        .case(limited("one byte in all", 1000, json!({"MaxBytes": 1})))
        .case(limited(
            "fewer than none in all",
            1000,
            json!({"MaxBytes": -1}),
        ))
        .case(limited(
            "bytes for one partition and a bit",
            1000,
            json!({"MaxBytes": 300}),
        ))
        .case(limited("no byte is enough", 1000, json!({"MinBytes": 0})))
        .case(limited(
            "a negative wait",
            1000,
            json!({"MaxWaitMs": -1, "MinBytes": 100_000}),
        ))
        .case(limited(
            "fewer bytes than are waited for",
            1000,
            json!({"MaxWaitMs": 50, "MinBytes": 100_000}),
        ))
        .case(Case::named("nothing, after a wait").ask(fetch(
            &[partition(2, 0, &json!({}))],
            &json!({"MaxWaitMs": 50}),
        )))
        .case(comes_while_it_waits())
}

/// Many batches, one after the other, so that a fetch that doesn't wait for the last can't have them all.
fn comes_while_it_waits() -> Case {
    let waiting = of(
        "~w",
        &[partition(0, 0, &json!({}))],
        &json!({"MaxWaitMs": 30000, "MinBytes": 16 * 170}),
    );
    let case = Case::named("records that come while it waits").setup([topic("~w", 1)]);
    let case = case.step(Step::own(waiting).on("waiting").begin());
    let case = (0..16).fold(case, |case, at| case.step(two_records("~w", 0, at)));
    case.step(Step::finish("waiting"))
}

/// What is said of epochs, replicas and racks.
fn told(suite: Suite) -> Suite {
    let mut suite = suite;
    for (name, said) in [
        ("the leader's epoch", json!({"CurrentLeaderEpoch": 0})),
        ("an epoch to come", json!({"CurrentLeaderEpoch": 1})),
        (
            "an epoch far to come",
            json!({"CurrentLeaderEpoch": i32::MAX}),
        ),
    ] {
        suite = suite.case(Case::named(name).versions(9..=18).ask(fetch(
            &[
                partition(0, 0, &said),
                partition(9, 0, &said),
                partition(0, 99, &said),
            ],
            &json!({}),
        )));
    }
    for (name, epoch, offset) in [
        ("the last record was of the leader's epoch", 0, 2),
        ("the last record was of an epoch to come", 1, 2),
        ("the last record was of the epoch, at the end", 0, 5),
        ("the last record was of the epoch, past the end", 0, 7),
    ] {
        suite = suite.case(Case::named(name).versions(12..=18).ask(fetch(
            &[partition(0, offset, &json!({"LastFetchedEpoch": epoch}))],
            &json!({}),
        )));
    }
    readers(suite)
}

/// Who says that it reads: consumers with a rack, and replicas that there aren't.
fn readers(suite: Suite) -> Suite {
    suite
        .case(
            Case::named("a consumer with a rack")
                .versions(11..=18)
                .ask(fetch(
                    &[partition(0, 0, &json!({}))],
                    &json!({"RackId": "a"}),
                )),
        )
        .case(
            Case::named("a consumer that debugs")
                .versions(4..=14)
                .ask(fetch(
                    &[partition(0, 0, &json!({}))],
                    &json!({"ReplicaId": -2}),
                )),
        )
        .case(
            Case::named("a replica that there isn't")
                .versions(4..=14)
                .ask(fetch(
                    &[partition(0, 0, &json!({}))],
                    &json!({"ReplicaId": 5}),
                )),
        )
        .case(
            Case::named("a replica that there isn't, with an epoch")
                .versions(15..=18)
                .ask(fetch(
                    &[partition(0, 0, &json!({}))],
                    &json!({"ReplicaState": {"ReplicaId": 5, "ReplicaEpoch": 1}}),
                ))
                .vary_within("ReplicaState"),
        )
        .case(Case::named("another cluster").versions(12..=18).ask(fetch(
            &[partition(0, 0, &json!({}))],
            &json!({"ClusterId": "another"}),
        )))
        .case(Case::named("a log start").ask(fetch(
            &[partition(1, 2, &json!({"LogStartOffset": 1}))],
            &json!({}),
        )))
}

/// A step of a session: what is asked in which epoch.
fn in_session(epoch: i32, partitions: &[Value], forgotten: &[i32]) -> Value {
    let mut request = fetch(
        partitions,
        &json!({"SessionId": "$session", "SessionEpoch": epoch}),
    );
    if partitions.is_empty() {
        request["Topics"] = json!([]);
    }
    if !forgotten.is_empty() {
        request["ForgottenTopicsData"] =
            json!([{"Topic": "^t", "TopicId": "$t_id", "Partitions": forgotten}]);
    }
    request
}

fn begun(name: &'static str) -> Case {
    let first = fetch(
        &[partition(0, 0, &json!({})), partition(2, 0, &json!({}))],
        &json!({"SessionId": 0, "SessionEpoch": 0}),
    );
    Case::named(name)
        .versions(7..=18)
        .step(Step::own(first).save("session", "SessionId"))
}

fn sessions(suite: Suite) -> Suite {
    let at = |index, offset| partition(index, offset, &json!({}));
    suite
        .case(begun("a session in which nothing changes").ask(in_session(1, &[], &[])).ask(in_session(2, &[], &[])))
        .case(begun("a session that goes on").ask(in_session(1, &[at(0, 5)], &[])).ask(in_session(2, &[], &[])))
        .case(begun("a session with one partition more").ask(in_session(1, &[at(1, 2), at(0, 5)], &[])).ask(in_session(2, &[], &[])))
        .case(begun("a session with one partition fewer").ask(in_session(1, &[], &[0])).ask(in_session(2, &[at(0, 0)], &[])))
        .case(begun("a partition that is added and forgotten").ask(in_session(1, &[at(1, 2)], &[1])).ask(in_session(2, &[], &[])))
        .case(begun("a session that forgets all").ask(in_session(1, &[], &[0, 2])).ask(in_session(2, &[at(0, 0)], &[])))
        .case(begun("a partition forgotten that isn't in it").ask(in_session(1, &[], &[1, 9])))
        .case(begun("an error in a session, again and again")
            .ask(in_session(1, &[at(0, 99)], &[]))
            .ask(in_session(2, &[], &[]))
            .ask(in_session(3, &[at(0, 5), at(9, 0)], &[]))
            .ask(in_session(4, &[], &[])))
        .case(begun("an epoch that comes too soon").ask(in_session(2, &[], &[])).ask(in_session(1, &[], &[])))
        .case(begun("an epoch that comes again").ask(in_session(1, &[], &[])).ask(in_session(1, &[], &[])))
        .case(begun("a session that is ended").ask(in_session(-1, &[at(0, 4)], &[])).ask(in_session(1, &[], &[])))
        .case(begun("a session that begins anew").ask(in_session(0, &[at(0, 4)], &[])).ask(in_session(1, &[], &[])))
        .case(begun("a session on another connection").step(
            ask(Api::Fetch, in_session(1, &[at(0, 5)], &[])).on("another")).versions(18..=18))
        .case(Case::named("a session that there isn't").versions(7..=18).ask(fetch(
            &[at(0, 0)], &json!({"SessionId": 123_456, "SessionEpoch": 3}))))
        .case(Case::named("an epoch without a session").versions(7..=18).ask(fetch(
            &[at(0, 0)], &json!({"SessionId": 0, "SessionEpoch": 3}))))
        .case(Case::named("a session that there isn't begins anew").versions(7..=18).ask(fetch(
            &[at(0, 0)], &json!({"SessionId": 123_456, "SessionEpoch": 0}))))
        .case(Case::named("a session that there isn't is ended").versions(7..=18).ask(fetch(
            &[at(0, 0)], &json!({"SessionId": 123_456, "SessionEpoch": -1}))))
        .case(Case::named("partitions forgotten outside of a session").versions(7..=18).ask(fetch(
            &[at(0, 0)], &json!({"ForgottenTopicsData": [
                {"Topic": "^t", "TopicId": "$t_id", "Partitions": [0]}]})))
            .vary_within("ForgottenTopicsData"))
        .case(Case::named("a session of nothing").versions(7..=18).ask(json!({
            "ReplicaId": -1, "MaxWaitMs": 0, "MinBytes": 1, "MaxBytes": 1000, "Topics": [],
            "SessionId": 0, "SessionEpoch": 0})))
        .case(Case::named("a session with a topic that there isn't").versions(7..=18).step(Step::own(json!({
            "ReplicaId": -1, "MaxWaitMs": 0, "MinBytes": 1, "MaxBytes": 1000, "SessionId": 0, "SessionEpoch": 0,
            "Topics": [{"Topic": "~no", "TopicId": "00000000000000070000000000000007", "Partitions": [at(0, 0)]}]}))
            .save("session", "SessionId"))
            .ask(in_session(1, &[at(0, 4)], &[]))
            .ask(in_session(2, &[], &[])))
        .case(begun("records that come into a session")
            .versions(13..=18)
            .setup([topic("~n", 1)])
            .ask(of("~n", &[at(0, 0)], &json!({"SessionId": "$session", "SessionEpoch": 1})))
            .step(two_records("~n", 0, 0))
            .ask(in_session(2, &[], &[]))
            .ask(in_session(3, &[], &[])))
        .case(begun("names in a session of ids")
            .versions(13..=18)
            .step(ask(Api::Fetch, in_session(1, &[at(0, 5)], &[])).at(12)))
        .case(begun("ids in a session of names")
            .versions(7..=12)
            .step(ask(Api::Fetch, in_session(1, &[at(0, 5)], &[])).at(13)))
        .case(begun("a topic that is deleted, in a session")
            .versions(13..=18)
            .setup([topic("~d", 1)])
            .ask(of("~d", &[at(0, 0)], &json!({"SessionId": "$session", "SessionEpoch": 1})))
            .step(ask(Api::DeleteTopics, json!({"Topics": [{"Name": "~d"}], "TimeoutMs": 10000})))
            .step(ask(Api::Metadata, json!({"Topics": [{"Name": "~d"}], "AllowAutoTopicCreation": false}))
                .until("Topics[0].ErrorCode", 3))
            .ask(in_session(2, &[], &[])))
}

fn broken(suite: Suite) -> Suite {
    suite
        .case(Case::named("a compressed batch").setup([
            topic_with("~c", 1, &json!({"compression.type": "zstd"})),
            records("~c", 0, 3),
        ]).ask(of("~c", &[partition(0, 1, &json!({}))], &json!({}))))
        .case(Case::named("the time of the append").setup([
            topic_with("~l", 1, &json!({"message.timestamp.type": "LogAppendTime"})),
            records("~l", 0, 3),
        ]).ask(of("~l", &[partition(0, 1, &json!({}))], &json!({}))))
        .case(Case::named("the metadata log").ask(json!({
            "ReplicaId": -1, "MaxWaitMs": 0, "MinBytes": 1, "MaxBytes": 1000, "Topics": [
                {"Topic": "__cluster_metadata", "TopicId": "00000000000000000000000000000001", "Partitions": [partition(0, 0, &json!({}))]},
            ]})))
}
