//! `millrace dump-log` as an operator uses it: the real binary on what a real broker left.

#![expect(
    clippy::unwrap_used,
    reason = "these are tests: an unwrap that fails is a failed test"
)]

mod served;

use std::fs;
use std::path::Path;

use millrace_client::{Client, ClientOptions, NewTopic};
use millrace_host::real::{Options, RealHost};
use millrace_protocol::records::{self, BatchBuilder};
use serde_json::Value;

use served::{Served, millrace, serve_command};

const RECORDS: i64 = 20;

/// Standard output and whether all was sound.
fn dump(arguments: &[&str], paths: &[&Path]) -> (bool, String) {
    let mut command = millrace();
    let output = command.arg("dump-log").args(arguments).args(paths).output();
    let output = output.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

fn json(paths: &[&Path]) -> Vec<Value> {
    let (sound, said) = dump(&["--json", "--records"], paths);
    assert!(sound, "{said}");
    let lines = said.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn of_kind<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["kind"] == kind).collect()
}

/// A log directory of a broker that was killed after some records were acknowledged.
fn killed(data: &Path) {
    let machine = RealHost::start(&Options::default()).unwrap();
    let host = machine.host();
    machine.block_on(async {
        let command = serve_command(&data.display().to_string());
        let broker = Served::start(&host, command, &data.with_extension("said")).await;
        let options = ClientOptions::default();
        let client = Client::connect(&host, broker.address, options)
            .await
            .unwrap();
        let topic = client
            .create_topic(&NewTopic::new("orders", 1))
            .await
            .unwrap();
        for number in 0..RECORDS {
            let mut batch = BatchBuilder::new(records::Options::default());
            let value = format!("order {number}");
            let key = (number % 2 == 0).then_some(&b"k\xff"[..]);
            batch.push(0, key, Some(value.as_bytes()), &[]).unwrap();
            let pending = client.send_batch(&topic, 0, batch.build()).await.unwrap();
            pending.wait().await.unwrap();
        }
    });
}

#[test]
fn everything_that_a_broker_leaves_can_be_read() {
    let temporary = tempfile::tempdir().unwrap();
    let data = temporary.path().join("data");
    killed(&data);

    let partition = json(&[&data.join("orders-0")]);
    let (batches, shown) = (of_kind(&partition, "batch"), of_kind(&partition, "record"));
    assert_eq!(batches.len() as i64, RECORDS);
    for (number, record) in shown.iter().enumerate() {
        assert_eq!(record["offset"], number);
        assert_eq!(record["payload"], format!("order {number}"));
        match number % 2 {
            0 => assert_eq!(record["key"]["hex"], "6bff"),
            _ => assert_eq!(record["key"], Value::Null),
        }
    }
    let identity = of_kind(&partition, "partition")[0]["topicId"].clone();

    let own = json(&[&data]);
    assert_eq!(of_kind(&own, "format")[0]["nodeId"], 1);
    assert!(!of_kind(&own, "ledger").is_empty());
    let journaled: Vec<_> = of_kind(&own, "data")
        .into_iter()
        .filter(|entry| entry["partition"] == format!("{}/0", identity.as_str().unwrap()))
        .collect();
    assert_eq!(journaled.last().unwrap()["nextOffset"], RECORDS);
    assert!(
        of_kind(&own, "commit")
            .iter()
            .all(|commit| commit["isvalid"] == true)
    );

    let metadata = json(&[&data.join("__cluster_metadata-0")]);
    let words: Vec<_> = of_kind(&metadata, "record")
        .iter()
        .map(|record| record["payload"].as_str().unwrap().to_owned())
        .collect();
    for what in ["LeaderChange", "RegisterBroker", "name: \"orders\""] {
        assert!(
            words.iter().any(|word| word.contains(what)),
            "{what}: {words:?}"
        );
    }
}

#[test]
fn damage_is_told_where_it_stands_and_in_the_exit_code() {
    let temporary = tempfile::tempdir().unwrap();
    let data = temporary.path().join("data");
    killed(&data);
    let path = data.join("orders-0").join("00000000000000000000.log");
    let (sound, said) = dump(&["--from-offset", "18", "--max-batches", "1"], &[&path]);
    assert!(
        sound && said.contains("\nbatch baseOffset: 18 lastOffset: 18 count: 1"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 2, "{said}");

    let mut content = fs::read(&path).unwrap();
    let at = content.len() - 3;
    content[at] ^= 0x20;
    fs::write(&path, content).unwrap();
    let (sound, said) = dump(&[], &[&path]);
    assert!(
        !sound && said.contains("what: the checksum is wrong"),
        "{said}"
    );
    let (sound, said) = dump(&[], &[&temporary.path().join("missing")]);
    assert!(!sound && said.contains("missing"), "{said}");
}
