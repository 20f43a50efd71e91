//! A log directory in whose place an older copy was put, as a restored backup is: the real binary on
//! real directories (`docs/durability.md` A1).

#![expect(
    clippy::unwrap_used,
    reason = "these are tests: an unwrap that fails is a failed test"
)]

mod served;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use millrace_client::{Client, ClientOptions, Error, NewTopic, Topic};
use millrace_host::Host;
use millrace_host::real::{Options, RealHost};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::records::{self, BatchBuilder};

use served::{Served, serve_command};

const PARTITIONS: i32 = 4;

/// A broker, and a client of it.
struct Reached {
    client: Client,
    _broker: Served,
}

/// On two log directories below `root`, `a` with the metadata log and `b`.
fn command(root: &Path) -> Command {
    serve_command(&format!("{0}/a,{0}/b", root.display()))
}

async fn serve(host: &Host, root: &Path) -> Reached {
    let mut command = command(root);
    command.stderr(fs::File::create(root.join("errors")).unwrap());
    let broker = Served::start(host, command, &root.join("said")).await;
    let client = Client::connect(host, broker.address, ClientOptions::default()).await;
    Reached {
        client: client.unwrap(),
        _broker: broker,
    }
}

/// Appends a record to every partition; gives the codes of those that refuse it.
async fn produce(broker: &Reached, topic: &Topic) -> Vec<ErrorCode> {
    let mut refused = Vec::new();
    for partition in 0..PARTITIONS {
        let mut batch = BatchBuilder::new(records::Options::default());
        batch.push(0, None, Some(b"value"), &[]).unwrap();
        let pending = broker.client.send_batch(topic, partition, batch.build());
        match pending.await.unwrap().wait().await {
            Ok(_) => {}
            Err(Error::Broker { code, .. }) => refused.push(code),
            Err(error) => panic!("{error}"),
        }
    }
    refused
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn swap(root: &Path, name: &str, for_name: &str) -> PathBuf {
    let aside = root.join(format!("{name}-aside"));
    fs::rename(root.join(name), &aside).unwrap();
    fs::rename(root.join(for_name), root.join(name)).unwrap();
    aside
}

#[test]
fn an_old_copy_is_refused_by_name_until_the_newer_one_is_back() {
    let machine = RealHost::start(&Options::default()).unwrap();
    let host = machine.host();
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path();
    machine.block_on(async {
        let broker = serve(&host, root).await;
        let new = NewTopic::new("orders", PARTITIONS);
        let topic = broker.client.create_topic(&new).await.unwrap();
        assert_eq!(produce(&broker, &topic).await, []);
        drop(broker);
        copy(&root.join("a"), &root.join("old-a"));
        copy(&root.join("b"), &root.join("old-b"));
        let broker = serve(&host, root).await;
        assert_eq!(produce(&broker, &topic).await, []);
        drop(broker);

        // Beside the metadata: its partitions are offline, the others are served.
        let newer = swap(root, "b", "old-b");
        let broker = serve(&host, root).await;
        assert_eq!(
            produce(&broker, &topic).await,
            [ErrorCode::KafkaStorageError; 2]
        );
        drop(broker);
        let said = fs::read_to_string(root.join("errors")).unwrap();
        assert!(
            said.contains("b is an old copy: it ends with generation 1"),
            "{said}"
        );
        fs::rename(root.join("b"), root.join("old-b")).unwrap();
        fs::rename(&newer, root.join("b")).unwrap();

        // The metadata's: nothing is served.
        let newer = swap(root, "a", "old-a");
        for _ in 0..2 {
            let refused = command(root).output().unwrap();
            let said = String::from_utf8(refused.stderr).unwrap();
            assert!(!refused.status.success(), "{said}");
            assert!(
                said.contains("a is an old copy: it ends with generation 1"),
                "{said}"
            );
            assert!(said.contains("generation 2 of it has served"), "{said}");
            assert!(said.contains("a/.accept-old-copy"), "{said}");
        }
        fs::rename(root.join("a"), root.join("old-a")).unwrap();
        fs::rename(&newer, root.join("a")).unwrap();
        let broker = serve(&host, root).await;
        assert_eq!(produce(&broker, &topic).await, []);
    });
}
