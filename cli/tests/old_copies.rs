//! A log directory in whose place an older copy was put, as a restored backup is: the real binary on
//! real directories (`docs/durability.md` A1).

#![expect(
    clippy::unwrap_used,
    reason = "these are tests: an unwrap that fails is a failed test"
)]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use millrace_client::{Client, ClientOptions, Error, NewTopic, Topic};
use millrace_host::Host;
use millrace_host::real::{Options, RealHost};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::records::{self, BatchBuilder};

const LOOK_EVERY: Duration = Duration::from_millis(5);
const PARTITIONS: i32 = 4;

/// A broker of the binary under test; killed when dropped.
struct Served {
    child: Child,
    client: Client,
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Two log directories below `root`, `a` with the metadata log and `b`.
fn serve_command(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.env("RUST_LOG", "error").stdin(Stdio::null());
    command.arg("serve");
    let log_dirs = format!("log.dirs={0}/a,{0}/b", root.display());
    for setting in [
        "listeners=PLAINTEXT://127.0.0.1:0",
        "admin.listener=",
        &log_dirs,
    ] {
        command.args(["--set", setting]);
    }
    command
}

async fn serve(host: &Host, root: &Path) -> Served {
    let (said, errors) = (root.join("said"), root.join("errors"));
    let mut child = serve_command(root)
        .stdout(fs::File::create(&said).unwrap())
        .stderr(fs::File::create(&errors).unwrap())
        .spawn()
        .unwrap();
    let address: SocketAddr = loop {
        let text = fs::read_to_string(&said).unwrap();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let address = whole
            .lines()
            .find_map(|line| line.strip_prefix("listening on PLAINTEXT://")?.parse().ok());
        if let Some(address) = address {
            break address;
        }
        assert_eq!(child.try_wait().unwrap(), None, "the broker ended");
        let soon = host.clock.now().mono + LOOK_EVERY;
        host.clock.sleep_until(soon).await;
    };
    let client = Client::connect(host, address, ClientOptions::default()).await;
    Served {
        child,
        client: client.unwrap(),
    }
}

/// Appends a record to every partition; gives the codes of those that refuse it.
async fn produce(broker: &Served, topic: &Topic) -> Vec<ErrorCode> {
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
            let refused = serve_command(root).output().unwrap();
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
