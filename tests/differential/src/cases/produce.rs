//! `Produce`: batches of every form that is taken or refused, and what idempotent producers send
//! again, too late or too early.

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use crate::case::{Case, Step, Suite, ask, topic, topic_with};

/// A request with one batch for partition 0 of a topic.
fn one(topic: &str, acks: i16, records: &Value) -> Value {
    let id = format!("${}_id", topic.trim_start_matches(['~', '^']));
    json!({"Acks": acks, "TimeoutMs": 10000, "TopicData": [
        {"Name": topic, "TopicId": id, "PartitionData": [{"Index": 0, "Records": records}]},
    ]})
}

/// A batch of one record, with what is said of it.
fn batch(said: Value) -> Value {
    let mut batch = json!({"time": 1000, "records": [{"k": "key", "v": "value"}]});
    let fields = batch.as_object_mut().expect("it is an object");
    if let Value::Object(said) = said {
        fields.extend(said);
    }
    json!({"batches": [batch]})
}

/// A batch of an idempotent producer.
fn of_producer(epoch: i16, sequence: i32, count: i32) -> Value {
    let records: Vec<Value> = (0..count)
        .map(|i| json!({"k": "key", "v": format!("{epoch}-{sequence}-{i}")}))
        .collect();
    batch(json!({
        "producer_id": "$pid", "epoch": epoch, "sequence": sequence, "records": records,
    }))
}

/// What is in partition 0 of a topic.
fn look(topic: &str) -> Step {
    let id = format!("${}_id", topic.trim_start_matches(['~', '^']));
    ask(
        Api::Fetch,
        json!({"MaxWaitMs": 0, "MinBytes": 0, "MaxBytes": 10_000_000, "Topics": [{"TopicId": id,
            "Partitions": [{"Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 10_000_000}]}]}),
    )
}

fn producer() -> Vec<Step> {
    let request = json!({"TransactionalId": null, "TransactionTimeoutMs": 60000});
    vec![ask(Api::InitProducerId, request).save("pid", "ProducerId")]
}

/// One request, behind it what the topic holds.
fn then_look(name: &'static str, records: &Value) -> Case {
    Case::named(name)
        .setup([topic("~t", 1)])
        .ask(one("~t", -1, records))
        .after([look("~t")])
}

pub(super) fn suite() -> Suite {
    let suite = Suite::of(Api::Produce).shared([topic("^t", 2)]);
    internal(large(idempotent(configured(forms(acks(whole(suite)))))))
}

fn whole(suite: Suite) -> Suite {
    suite
        .case(
            then_look("a batch", &batch(json!({})))
                .vary()
                // No answer comes.
                .without("Acks", "0")
                // Nor here: Kafka's handler fails on its way.
                .without("TopicData[].PartitionData[].Records", "null"),
        )
        .case(
            Case::named("two partitions of two topics")
                .setup([topic("~t", 2), topic("~u", 1)])
                .ask(json!({"Acks": -1, "TimeoutMs": 10000, "TopicData": [
                    {"Name": "~t", "TopicId": "$t_id", "PartitionData": [
                        {"Index": 1, "Records": batch(json!({}))},
                        {"Index": 0, "Records": batch(json!({}))}]},
                    {"Name": "~u", "TopicId": "$u_id", "PartitionData": [
                        {"Index": 0, "Records": batch(json!({}))}]},
                ]}))
                .after([look("~t"), look("~u")]),
        )
        .case(
            Case::named("partitions and topics that there aren't, beside one that there is")
                .setup([topic("~t", 1)])
                .ask(json!({"Acks": 1, "TimeoutMs": 10000, "TopicData": [
                    {"Name": "~t", "TopicId": "$t_id", "PartitionData": [
                        {"Index": 1, "Records": batch(json!({}))},
                        {"Index": 0, "Records": batch(json!({}))},
                        {"Index": -1, "Records": batch(json!({}))}]},
                    {"Name": "~no", "TopicId": "00000000000000070000000000000007", "PartitionData": [
                        {"Index": 0, "Records": batch(json!({}))}]},
                ]}))
                .after([look("~t")]),
        )
        .case(Case::named("nothing").ask(json!({"Acks": 1, "TimeoutMs": 1000, "TopicData": []})))
        .case(Case::named("a topic and no partition").ask(json!({"Acks": 1, "TimeoutMs": 1000,
            "TopicData": [{"Name": "^t", "TopicId": "$t_id", "PartitionData": []}]})))
        .case(
            Case::named("a transactional id, though no transaction")
                .setup([topic("~t", 1)])
                .ask(json!({"TransactionalId": "~x", "Acks": -1, "TimeoutMs": 1000, "TopicData": [
                    {"Name": "~t", "TopicId": "$t_id", "PartitionData": [
                        {"Index": 0, "Records": batch(json!({}))}]}]}))
                .after([look("~t")]),
        )
}

fn acks(suite: Suite) -> Suite {
    let mut suite = suite;
    for (name, acks) in [("acks of 1", 1), ("acks of 2", 2), ("acks of -2", -2)] {
        suite = suite.case(
            Case::named(name)
                .setup([topic("~t", 1)])
                .ask(one("~t", acks, &batch(json!({}))))
                .after([look("~t")]),
        );
    }
    let unasked = |name, records: Value| {
        let mut case = Case::named(name).setup([topic("~t", 1)]);
        for version in [3, 8, 12, 13] {
            case = case.step(
                ask(Api::Produce, one("~t", 0, &records))
                    .at(version)
                    .silent(),
            );
        }
        case.versions(13..=13).after([look("~t")])
    };
    suite
        .case(unasked("acks of 0", batch(json!({}))))
        .case(
            Case::named("acks of 0 and a batch that is refused")
                .setup([topic("~t", 1)])
                .step(ask(
                    Api::Produce,
                    one("~t", 0, &batch(json!({"crc": "bad"}))),
                ))
                .versions(13..=13)
                .after([look("~t")]),
        )
        .case(
            Case::named("no time to wait")
                .setup([topic("~t", 1)])
                .ask(json!({"Acks": 1, "TimeoutMs": -1, "TopicData": [
                    {"Name": "~t", "TopicId": "$t_id", "PartitionData": [
                        {"Index": 0, "Records": batch(json!({}))}]}]}))
                .after([look("~t")]),
        )
}

/// Codecs, formats and attributes.
fn forms_known() -> Vec<(&'static str, Value)> {
    let three = json!([{"v": "a"}, {"k": "k", "v": null}, {"k": null, "v": "c", "h": [["n", "v"], ["n", null]]}]);
    vec![
        ("three records", json!({"records": three})),
        ("gzip", json!({"records": three, "codec": "gzip"})),
        ("snappy", json!({"records": three, "codec": "snappy"})),
        ("lz4", json!({"records": three, "codec": "lz4"})),
        ("zstd", json!({"records": three, "codec": "zstd"})),
        ("no record", json!({"records": []})),
        ("a wrong checksum", json!({"crc": "bad"})),
        ("magic 0", json!({"magic": 0})),
        ("magic 1", json!({"magic": 1})),
        ("magic 3", json!({"magic": 3})),
        ("a codec that nobody knows", json!({"attributes": 5})),
        ("gzip that isn't", json!({"attributes": 1})),
        (
            "a codec and no record",
            json!({"records": [], "attributes": 1}),
        ),
        ("a control batch", json!({"attributes": 0x20})),
        ("a transactional batch", json!({"attributes": 0x10})),
        (
            "a transactional batch of a producer",
            json!({"attributes": 0x10, "producer_id": 5, "epoch": 0, "sequence": 0}),
        ),
        (
            "the time of the append, said by the client",
            json!({"attributes": 8}),
        ),
        ("a delete horizon", json!({"attributes": 0x40})),
        ("attributes that nobody knows", json!({"attributes": 0x80})),
    ]
}

/// Counts, lengths, times and producers.
fn forms_odd() -> Vec<(&'static str, Value)> {
    let three = json!([{"v": "a"}, {"k": "k", "v": null}, {"k": null, "v": "c", "h": [["n", "v"], ["n", null]]}]);
    vec![
        (
            "more records than it says",
            json!({"records": three, "count": 2}),
        ),
        (
            "fewer records than it says",
            json!({"records": three, "count": 4}),
        ),
        (
            "a last offset too low",
            json!({"records": three, "last_delta": 1}),
        ),
        (
            "a last offset too high",
            json!({"records": three, "last_delta": 3}),
        ),
        ("a negative count", json!({"count": -1})),
        ("a length too long", json!({"length": 1000})),
        ("a length too short", json!({"length": 48})),
        ("a negative length", json!({"length": -1})),
        ("a base offset", json!({"base": 7})),
        ("a leader epoch", json!({"leader_epoch": 9})),
        (
            "times that don't rise",
            json!({"records": [{"v": "a", "t": 5}, {"v": "b", "t": -3}]}),
        ),
        ("no time", json!({"time": -1})),
        ("a negative time", json!({"time": -2})),
        ("a time to come", json!({"time": 32_503_680_000_000_i64})),
        ("the beginning of time", json!({"time": 0})),
        (
            "a producer without an epoch",
            json!({"producer_id": 5, "epoch": -1, "sequence": 0}),
        ),
        (
            "a producer without a sequence",
            json!({"producer_id": 5, "epoch": 0, "sequence": -1}),
        ),
        (
            "a negative producer",
            json!({"producer_id": -2, "epoch": 0, "sequence": 0}),
        ),
    ]
}

/// Batches as they may and may not look.
fn forms(suite: Suite) -> Suite {
    let mut suite = suite;
    for (name, said) in forms_known().into_iter().chain(forms_odd()) {
        suite = suite.case(then_look(name, &batch(said)));
    }
    let two = json!({"batches": [{"records": [{"v": "a"}]}, {"records": [{"v": "b"}]}]});
    suite
        .case(then_look("two batches", &two))
        .case(then_look("no batch", &json!({"batches": []})))
        .case(then_look("a few bytes", &json!({"hex": "000102"})))
        .case(then_look("many bytes", &json!({"hex": "00".repeat(100)})))
        .case(then_look(
            "bytes behind a batch",
            &json!({"batches": [{"records": [{"v": "a"}]}, {"hex": "00"}]}),
        ))
}

/// Topics that take other batches than by default.
fn configured(suite: Suite) -> Suite {
    let with = |name: &'static str, configs: Value, records: &Value| {
        Case::named(name)
            .setup([topic_with("~t", 1, &configs)])
            .ask(one("~t", -1, records))
            .after([look("~t")])
    };
    let keyless = batch(json!({"records": [{"k": "k", "v": "a"}, {"v": "b"}, {"v": "c"}]}));
    let big = batch(json!({"records": [{"v": {"long": 600}}]}));
    suite
        .case(with(
            "records without keys for a compacted topic",
            json!({"cleanup.policy": "compact"}),
            &keyless,
        ))
        .case(with(
            "records with keys for a compacted topic",
            json!({"cleanup.policy": "compact,delete"}),
            &batch(json!({})),
        ))
        .case(with(
            "the time of the append",
            json!({"message.timestamp.type": "LogAppendTime"}),
            &batch(json!({})),
        ))
        .case(with(
            "a topic's own codec",
            json!({"compression.type": "gzip"}),
            &keyless,
        ))
        .case(with(
            "no codec, by the topic",
            json!({"compression.type": "uncompressed"}),
            &batch(json!({"codec": "zstd"})),
        ))
        .case(with(
            "the topic's codec already",
            json!({"compression.type": "lz4"}),
            &batch(json!({"codec": "lz4"})),
        ))
        .case(with(
            "more bytes than the topic takes",
            json!({"max.message.bytes": "600"}),
            &big,
        ))
        .case(with(
            "records of different times, one too old",
            json!({"message.timestamp.before.max.ms": "1000"}),
            &batch(json!({"records": [{"v": "a"}, {"v": "b"}]})),
        ))
        .case(with(
            "a time to come that is allowed",
            json!({"message.timestamp.after.max.ms": "9223372036854775807"}),
            &batch(json!({"time": 32_503_680_000_000_i64})),
        ))
        .case(with(
            "more replicas asked for than there are",
            json!({"min.insync.replicas": "2"}),
            &batch(json!({})),
        ))
}

fn idempotent(suite: Suite) -> Suite {
    let sequence = |name: &'static str, sends: &[(i16, i32, i32)]| {
        let mut case = Case::named(name).setup([topic("~t", 1), producer()]);
        for (epoch, sequence, count) in sends {
            case = case.ask(one("~t", -1, &of_producer(*epoch, *sequence, *count)));
        }
        case.after([look("~t")])
    };
    suite
        .case(sequence("a producer in order", &[(0, 0, 1), (0, 1, 3), (0, 4, 1)]))
        .case(sequence("the last batch again", &[(0, 0, 2), (0, 2, 2), (0, 2, 2)]))
        .case(sequence("the first of five again", &[(0, 0, 1), (0, 1, 1), (0, 2, 1), (0, 3, 1), (0, 4, 1), (0, 0, 1)]))
        .case(sequence("the first of six again", &[(0, 0, 1), (0, 1, 1), (0, 2, 1), (0, 3, 1), (0, 4, 1), (0, 5, 1), (0, 0, 1)]))
        .case(sequence("a part of a batch again", &[(0, 0, 3), (0, 1, 2), (0, 0, 2), (0, 3, 1)]))
        .case(sequence("a gap", &[(0, 0, 1), (0, 2, 1), (0, 1, 1)]))
        .case(sequence("a first sequence that isn't 0", &[(0, 7, 1), (0, 8, 1)]))
        .case(sequence("a higher epoch", &[(0, 0, 1), (1, 0, 1), (0, 1, 1), (1, 1, 1)]))
        .case(sequence("a higher epoch that doesn't begin at 0", &[(0, 0, 1), (1, 1, 1)]))
        .case(sequence("the old epoch's batch again", &[(3, 0, 1), (4, 0, 1), (3, 0, 1)]))
        .case(sequence("past the last sequence", &[(0, i32::MAX - 1, 2), (0, 0, 1), (0, i32::MAX - 1, 2)]))
        .case(sequence("over the last sequence", &[(0, i32::MAX - 1, 4), (0, 2, 1)]))
        .case(
            Case::named("two batches of a producer in two partitions, one of them a gap")
                .setup([topic("~t", 2), producer()])
                .ask(json!({"Acks": -1, "TimeoutMs": 10000, "TopicData": [
                    {"Name": "~t", "TopicId": "$t_id", "PartitionData": [
                        {"Index": 0, "Records": of_producer(0, 0, 1)},
                        {"Index": 1, "Records": of_producer(0, 0, 1)}]}]}))
                .ask(json!({"Acks": -1, "TimeoutMs": 10000, "TopicData": [
                    {"Name": "~t", "TopicId": "$t_id", "PartitionData": [
                        {"Index": 0, "Records": of_producer(0, 5, 1)},
                        {"Index": 1, "Records": of_producer(0, 1, 1)}]}]}))
                .after([look("~t")]),
        )
        .case(
            Case::named("two producers in one request")
                .setup([topic("~t", 2), producer()])
                .ask(json!({"Acks": -1, "TimeoutMs": 10000, "TopicData": [
                    {"Name": "~t", "TopicId": "$t_id", "PartitionData": [
                        {"Index": 0, "Records": of_producer(0, 0, 1)},
                        {"Index": 1, "Records": batch(json!({"producer_id": 77_777, "epoch": 0, "sequence": 0}))}]}]}))
                .after([look("~t")]),
        )
        .case(
            Case::named("records of the append's time, again")
                .setup([topic_with("~t", 1, &json!({"message.timestamp.type": "LogAppendTime"})), producer()])
                .ask(one("~t", -1, &of_producer(0, 0, 1)))
                .ask(one("~t", -1, &of_producer(0, 0, 1))),
        )
}

fn large(suite: Suite) -> Suite {
    let of = |bytes: usize| batch(json!({"records": [{"v": {"long": bytes}}]}));
    let case = |name: &'static str, topic: Vec<Step>, bytes| {
        Case::named(name)
            .setup([topic])
            .versions(8..=13)
            .ask(one("~t", -1, &of(bytes)))
            .after([ask(
                Api::ListOffsets,
                json!({"ReplicaId": -1, "Topics": [{"Name": "~t",
                "Partitions": [{"PartitionIndex": 0, "Timestamp": -1}]}]}),
            )])
    };
    suite
        .case(case(
            "a little less than the most bytes",
            topic("~t", 1),
            1_048_400,
        ))
        .case(case("more than the most bytes", topic("~t", 1), 1_048_600))
        .case(case(
            "more than a segment",
            topic_with(
                "~t",
                1,
                &json!({"segment.bytes": "1048576", "max.message.bytes": "2000000"}),
            ),
            1_100_000,
        ))
}

fn internal(suite: Suite) -> Suite {
    let groups = || {
        ask(
            Api::Metadata,
            json!({"Topics": [{"Name": "__consumer_offsets"}], "AllowAutoTopicCreation": false}),
        )
        .save("groups_id", "Topics[0].TopicId")
    };
    let to_groups = || {
        json!({"Acks": -1, "TimeoutMs": 10000, "TopicData": [{"Name": "__consumer_offsets", "TopicId": "$groups_id",
            "PartitionData": [{"Index": 0, "Records": batch(json!({}))}]}]})
    };
    let coordinator = || {
        ask(Api::FindCoordinator, json!({"CoordinatorKeys": ["~g"]}))
            .until("Coordinators[0].ErrorCode", 0)
    };
    suite.case(
        Case::named("the topic of groups")
            .setup([vec![coordinator(), groups()]])
            .ask(to_groups()),
    )
}
