//! `millrace check` as an operator uses it: the real binary on a real directory.

#![expect(
    clippy::unwrap_used,
    reason = "these are tests: an unwrap that fails is a failed test"
)]

mod served;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use millrace_client::{Client, ClientOptions, NewTopic, PartitionReader};
use millrace_host::Host;
use millrace_host::real::{Options, RealHost};
use millrace_protocol::records::{self, BatchBuilder};

use served::{Served, millrace, serve_command};

const TOPIC: &str = "orders";

async fn serve(host: &Host, data: &Path) -> Served {
    Served::start(host, command(data), &data.with_extension("said")).await
}

fn command(data: &Path) -> Command {
    serve_command(&data.display().to_string())
}

fn check(arguments: &[&str], data: &Path) -> (bool, String) {
    let output: Output = millrace()
        .arg("check")
        .args(arguments)
        .arg(data)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

async fn produce(host: &Host, broker: &Served, from: i64, count: i64) {
    let client = Client::connect(host, broker.address, ClientOptions::default())
        .await
        .unwrap();
    let topic = match client.topic(TOPIC).await {
        Ok(topic) => topic,
        Err(_) => client.create_topic(&NewTopic::new(TOPIC, 1)).await.unwrap(),
    };
    for number in from..from + count {
        let mut batch = BatchBuilder::new(records::Options::default());
        let value = format!("order {number}");
        batch.push(0, None, Some(value.as_bytes()), &[]).unwrap();
        let pending = client.send_batch(&topic, 0, batch.build()).await.unwrap();
        assert_eq!(pending.wait().await.unwrap().base_offset, number);
    }
}

/// Every value must be there in order.
async fn read_back(host: &Host, broker: &Served, count: i64) {
    let client = Client::connect(host, broker.address, ClientOptions::default())
        .await
        .unwrap();
    let topic = client.topic(TOPIC).await.unwrap();
    let mut reader = PartitionReader::new(&client, &topic, 0).await.unwrap();
    let mut scratch = records::Scratch::new(1 << 20);
    let mut next = 0;
    loop {
        let batches = reader.next().await.unwrap();
        if batches.is_empty() {
            break;
        }
        for batch in &batches {
            for record in records::record_iter(batch, &mut scratch).unwrap() {
                let record = record.unwrap();
                let value = format!("order {next}");
                assert_eq!(
                    (record.offset, record.value),
                    (next, Some(value.as_bytes()))
                );
                next += 1;
            }
        }
    }
    assert_eq!(next, count);
}

fn partition(data: &Path) -> PathBuf {
    data.join("orders-0").join("00000000000000000000.log")
}

#[test]
fn a_lost_ledger_is_rebuilt_and_nothing_is_lost() {
    let machine = RealHost::start(&Options::default()).unwrap();
    let host = machine.host();
    let temporary = tempfile::tempdir().unwrap();
    let data = temporary.path().join("data");
    machine.block_on(async {
        let broker = serve(&host, &data).await;
        produce(&host, &broker, 0, 20).await;

        let (sound, said) = check(&[], &data);
        assert!(
            !sound && said.contains("is in use by another process"),
            "{said}"
        );
        let (_, said) = check(&["--rebuild-ledger"], &data);
        assert!(said.contains("is in use by another process"), "{said}");
        drop(broker);

        // Killed: what the journal holds is not in the segments for certain, and that is sound.
        let (sound, said) = check(&[], &data);
        assert!(
            sound && said.contains("sound: all that was durable"),
            "{said}"
        );
        assert!(said.contains("orders-0 wasn't closed"), "{said}");
        let (sound, said) = check(&["--rebuild-ledger"], &data);
        assert!(!sound && said.contains("nothing to rebuild"), "{said}");

        for name in ["ledger.0", "ledger.1"] {
            fs::write(data.join(name), b"rot").unwrap();
        }
        let refused = command(&data).output().unwrap();
        let said = String::from_utf8(refused.stderr).unwrap();
        let way_out = format!("millrace check --rebuild-ledger {}", data.display());
        assert!(
            !refused.status.success() && said.contains(&way_out),
            "{said}"
        );
        assert!(!check(&[], &data).0);

        let (sound, said) = check(&["--rebuild-ledger"], &data);
        assert!(sound, "{said}");
        assert!(
            said.contains("orders-0: 1 segments, 20 offsets up to 20"),
            "{said}"
        );
        assert!(said.contains("the broker may be started"), "{said}");

        let broker = serve(&host, &data).await;
        read_back(&host, &broker, 20).await;
        produce(&host, &broker, 20, 5).await;
        read_back(&host, &broker, 25).await;
        drop(broker);
        let broker = serve(&host, &data).await;
        read_back(&host, &broker, 25).await;
    });
}

#[test]
fn damage_in_a_segment_is_found_and_said() {
    let machine = RealHost::start(&Options::default()).unwrap();
    let host = machine.host();
    let temporary = tempfile::tempdir().unwrap();
    let data = temporary.path().join("data");
    machine.block_on(async {
        let broker = serve(&host, &data).await;
        produce(&host, &broker, 0, 5).await;
        drop(broker);
        // A second start settles what the first one journaled.
        let broker = serve(&host, &data).await;
        produce(&host, &broker, 5, 1).await;
        drop(broker);
    });
    let mut bytes = fs::read(partition(&data)).unwrap();
    bytes[70] ^= 1;
    fs::write(partition(&data), bytes).unwrap();
    let (sound, said) = check(&[], &data);
    assert!(!sound, "{said}");
    assert!(
        said.contains("damage: orders-0: segment 0 is damaged at byte 0"),
        "{said}"
    );

    let nothing = temporary.path().join("nothing");
    fs::create_dir(&nothing).unwrap();
    let (sound, said) = check(&[], &nothing);
    assert!(
        !sound && said.contains("no log directory of Millrace"),
        "{said}"
    );
}

#[test]
fn what_somebody_removed_is_damage_and_what_was_named_wrongly_is_said() {
    let temporary = tempfile::tempdir().unwrap();
    let data = temporary.path().join("data");
    let machine = RealHost::start(&Options::default()).unwrap();
    let host = machine.host();
    machine.block_on(async {
        let broker = serve(&host, &data).await;
        produce(&host, &broker, 0, 3).await;
    });
    let says = |data: &Path, sound: bool, words: &[&str]| {
        let (told, said) = check(&[], data);
        assert_eq!(told, sound, "{said}");
        for word in words {
            assert!(said.contains(word), "{said:?} lacks {word:?}");
        }
    };
    says(&data, true, &["wasn't closed"]);
    // As somebody does who looks for room.
    let journal = data.join("journal.0000000001.0");
    let away = temporary.path().join("away");
    fs::rename(&journal, &away).unwrap();
    let words = ["damage: journal.0000000001.0 is missing: somebody removed it"];
    says(&data, false, &words);
    fs::rename(&away, &journal).unwrap();
    let identity = data.join("orders-0/partition.metadata");
    fs::rename(&identity, &away).unwrap();
    says(
        &data,
        true,
        &["orders-0: its partition.metadata is missing"],
    );
    fs::rename(&away, &identity).unwrap();
    says(
        &data.join("orders-0"),
        false,
        &["no log directory of Millrace"],
    );
    says(
        &temporary.path().join("nowhere"),
        false,
        &["nowhere", "No such file"],
    );
    says(&identity, false, &["partition.metadata", "Not a directory"]);
    fs::write(data.join("millrace.format"), "nonsense").unwrap();
    says(
        &data,
        false,
        &["millrace.format is damaged", "put it back from a copy"],
    );
}
