//! A bad environment, as an operator meets it: the real binary says in one line what happened, to
//! what, and what to do, and ends with an error; what it can bear while it runs it bears.
//!
//! What needs a file system of its own gets one in a mount namespace. Where the machine allows no
//! such namespace that test says so and proves nothing; simulated disks hold the same rules.

#![expect(
    clippy::unwrap_used,
    reason = "these are tests: an unwrap that fails is a failed test"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use bytes::Bytes;
use millrace_client::{Acks, Client, ClientOptions, Error, NewTopic, PartitionReader, Topic};
use millrace_host::Host;
use millrace_host::real::{Options, RealHost};
use millrace_protocol::records::{self, BatchBuilder, CHECKED_FROM, checksum};
use tempfile::TempDir;

/// The script that runs the command it is given and changes nothing.
const PLAINLY: &str = r#"exec "$@""#;
/// Runs it with at most so many files open.
const FILES_64: &str = r#"ulimit -n 64; exec "$@""#;
const FILES_128: &str = r#"ulimit -n 128; exec "$@""#;
/// Runs it with a small limit that it may raise.
const FILES_SOFT_64: &str = r#"ulimit -Sn 64; exec "$@""#;

fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_millrace")
}

/// `millrace serve` under a shell script, in a mount namespace of its own if `apart`.
fn serve(script: &str, apart: bool, sets: &[&str]) -> Command {
    let mut command = if apart {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", script, "sh"]);
        command
    } else {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]);
        command
    };
    command.args([binary(), "serve"]);
    let defaults = ["listeners=PLAINTEXT://127.0.0.1:0", "admin.listener="];
    for set in defaults.iter().chain(sets) {
        command.args(["--set", set]);
    }
    command.env("RUST_LOG", "off").stdin(Stdio::null());
    command
}

/// One line on standard error that has all the words, and exit code 1.
fn says(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("millrace: "), "{said}");
    for word in words {
        assert!(said.contains(word), "{said:?} lacks {word:?}");
    }
}

fn refuses(sets: &[&str], words: &[&str]) {
    says(&refusal(serve(PLAINLY, false, sets)), words);
}

/// What a broker that must not start says.
fn refusal(mut command: Command) -> Output {
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    if !line.is_empty() {
        drop(child.kill());
        drop(child.wait());
        panic!("it serves: {line}");
    }
    child.wait_with_output().unwrap()
}

/// A broker of the binary under test; killed when dropped.
struct Served {
    child: Child,
    address: SocketAddr,
    // A broker that writes to a closed pipe would end.
    _output: BufReader<ChildStdout>,
}

impl Served {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on PLAINTEXT://");
        let address = address.expect("the first line says where it listens");
        Self {
            child,
            address: address.parse().unwrap(),
            _output: output,
        }
    }

    /// Ends it cleanly.
    fn stop(mut self) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        assert!(sent.unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A machine and a directory for data.
struct Place {
    machine: RealHost,
    data: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            machine: RealHost::start(&Options::default()).unwrap(),
            data: TempDir::new().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.data.path().join(name)
    }

    /// The setting that puts the data into a directory of that name.
    fn dirs(&self, names: &[&str]) -> String {
        let paths = names.iter().map(|name| self.path(name));
        let paths: Vec<String> = paths.map(|path| path.display().to_string()).collect();
        format!("log.dirs={}", paths.join(","))
    }

    /// Formats a directory by serving from it once.
    fn formatted(&self, name: &str) -> PathBuf {
        Served::start(serve(PLAINLY, false, &[&self.dirs(&[name])])).stop();
        self.path(name)
    }
}

async fn connect(host: &Host, address: SocketAddr) -> Client {
    let options = ClientOptions::default();
    Client::connect(host, address, options).await.unwrap()
}

fn batch(bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new(records::Options::default());
    let value = vec![b'v'; bytes];
    builder.push(0, None, Some(&value), &[]).unwrap();
    builder.build()
}

async fn produce(client: &Client, topic: &Topic, bytes: usize) -> Result<(), Error> {
    let produced = client.produce(topic, 0, Acks::All, batch(bytes)).await;
    produced.map(drop)
}

/// Whether the machine lets this user mount a file system in a namespace of its own.
fn can_mount(at: &Path) -> bool {
    let mount = r#"mount -t tmpfs -o size=1m tmpfs "$1""#;
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", mount, "sh"]).arg(at);
    let tried = command.stderr(Stdio::null()).status();
    let can = tried.is_ok_and(|status| status.success());
    if !can {
        eprintln!("no mount namespace here: nothing is proven");
    }
    can
}

#[test]
fn a_port_that_is_taken_is_named_with_a_way_out() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let data = place.dirs(&["a"]);
    let listeners = format!("listeners=PLAINTEXT://127.0.0.1:{port}");
    refuses(&[&data, &listeners], &[&port, "taken", "--set listeners="]);
    let admin = format!("admin.listener=127.0.0.1:{port}");
    refuses(
        &[&data, &admin],
        &[&port, "in use", "--set admin.listener="],
    );
    assert!(!place.path("a").exists(), "nothing was touched");
}

#[test]
fn too_few_open_files_are_refused_and_a_limit_that_may_be_raised_is() {
    let place = Place::new();
    let data = place.dirs(&["a"]);
    let refused = refusal(serve(FILES_64, false, &[&data]));
    says(&refused, &["64", "128", "ulimit -n", "LimitNOFILE"]);
    Served::start(serve(FILES_SOFT_64, false, &[&data])).stop();
}

#[test]
fn a_directory_that_is_not_this_nodes_is_refused() {
    let place = Place::new();
    let a = place.formatted("a");
    let (a, data) = (a.to_str().unwrap(), place.dirs(&["a"]));
    let owner = Served::start(serve(PLAINLY, false, &[&data]));
    refuses(&[&data], &[a, "in use", "log.dirs"]);
    owner.stop();
    refuses(&[&data, "node.id=2"], &[a, "node 1", "node.id=1"]);
    let b = place.formatted("b");
    refuses(
        &[&place.dirs(&["a", "b"])],
        &[a, b.to_str().unwrap(), "cluster"],
    );
    // Without metadata of its own it is one more directory, of another cluster.
    fs::remove_file(b.join("quorum-state")).unwrap();
    fs::remove_dir_all(b.join("__cluster_metadata-0")).unwrap();
    let both = place.dirs(&["a", "b"]);
    refuses(
        &[&both],
        &[b.to_str().unwrap(), "belongs to cluster", "log.dirs"],
    );
    let kafka = place.path("kafka");
    fs::create_dir_all(kafka.join("t-0")).unwrap();
    fs::write(kafka.join("meta.properties"), "version=1\n").unwrap();
    refuses(&[&place.dirs(&["kafka"])], &["Apache Kafka", "log.dirs"]);
}

#[test]
fn a_directory_of_a_newer_format_is_refused() {
    let place = Place::new();
    let path = place.formatted("a").join("millrace.format");
    let mut newer = fs::read(&path).unwrap();
    // After the magic: the number of the format. At the end: the checksum.
    newer[4..8].copy_from_slice(&99_u32.to_le_bytes());
    let end = newer.len() - 4;
    let as_in_a_batch = [&[0; CHECKED_FROM][..], &newer[..end]].concat();
    newer[end..].copy_from_slice(&checksum(&as_in_a_batch).to_le_bytes());
    fs::write(&path, &newer).unwrap();
    refuses(&[&place.dirs(&["a"])], &["format 99", "newer"]);
    assert_eq!(fs::read(&path).unwrap(), newer);
}

#[test]
fn a_path_that_is_no_directory_is_refused() {
    let place = Place::new();
    fs::write(place.path("file"), "").unwrap();
    let file = place.path("file");
    let file = file.to_str().unwrap();
    refuses(&[&place.dirs(&["file"])], &[file, "log.dirs"]);
    refuses(&[&place.dirs(&["file/below"])], &[file, "log.dirs"]);
}

#[test]
fn a_directory_without_permission_is_refused() {
    let place = Place::new();
    // The superuser may do everything, so he becomes somebody else.
    let as_nobody = r#"test "$(id -u)" = 0 || exec "$@"
        exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@""#;
    place.formatted("a");
    let script = format!("chmod 000 {}; {as_nobody}", place.path("a").display());
    let output = refusal(serve(&script, false, &[&place.dirs(&["a"])]));
    if matches!(output.status.code(), Some(126 | 127)) {
        eprintln!("nobody may not run the binary: nothing is proven");
        return;
    }
    says(&output, &["Permission denied", "owner", "mode"]);
    let restored = Command::new("chmod")
        .arg("700")
        .arg(place.path("a"))
        .status();
    assert!(restored.unwrap().success());
}

#[test]
fn a_read_only_file_system_is_refused() {
    let place = Place::new();
    if !can_mount(place.data.path()) {
        return;
    }
    let a = place.formatted("a");
    let script = format!(
        r#"mount --bind {0} {0} && mount -o remount,ro,bind {0} && exec "$@""#,
        place.data.path().display()
    );
    for name in ["a", "fresh"] {
        let output = refusal(serve(&script, true, &[&place.dirs(&[name])]));
        let words = [name, "Read-only file system", "mounted"];
        says(&output, &words);
    }
    assert!(a.join("millrace.format").exists());
}

/// Puts the data on a file system of its own, with a file that takes `filler` of it.
fn on_its_own(place: &Place, size: &str, filler: &str) -> String {
    format!(
        r#"mount -t tmpfs -o size={size} tmpfs {0} && fallocate -l {filler} {0}/filler && exec "$@""#,
        place.data.path().display()
    )
}

#[test]
fn a_disk_without_room_for_a_start_is_refused() {
    let place = Place::new();
    if !can_mount(place.data.path()) {
        return;
    }
    let script = on_its_own(&place, "1m", "512k");
    let output = refusal(serve(&script, true, &[&place.dirs(&["a"])]));
    says(&output, &["no space left", "free some", "log.dirs"]);
}

#[test]
fn a_disk_that_fills_up_refuses_produces_until_there_is_room() {
    let place = Place::new();
    if !can_mount(place.data.path()) {
        return;
    }
    let script = on_its_own(&place, "64m", "32m");
    let sets = [&place.dirs(&["a"]), "log.dir.reserve.bytes=4194304"];
    let broker = Served::start(serve(&script, true, &sets));
    let host = place.machine.host();
    place.machine.block_on(async {
        let client = connect(&host, broker.address).await;
        let topic = client.create_topic(&NewTopic::new("t", 1)).await.unwrap();
        let mut produced = 0;
        let refused = loop {
            match produce(&client, &topic, 900_000).await {
                Ok(()) => produced += 1,
                Err(refused) => break refused,
            }
            assert!(produced < 100, "the disk is never full");
        };
        assert!(
            produced > 3 && refused.is_retriable(),
            "{produced}, {refused}"
        );
        // Reads and metadata go on.
        let mut reader = PartitionReader::new(&client, &topic, 0).await.unwrap();
        assert_eq!((reader.start(), reader.end()), (0, produced));
        assert!(!reader.next().await.unwrap().is_empty());
        client.create_topic(&NewTopic::new("u", 1)).await.unwrap();
        // Room comes back, in the broker's own view of the files.
        let root = format!("/proc/{}/root", broker.child.id());
        let filler = place.path("filler");
        let filler = Path::new(&root).join(filler.strip_prefix("/").unwrap());
        fs::remove_file(filler).unwrap();
        let start = host.clock.now().mono;
        while let Err(refused) = produce(&client, &topic, 900_000).await {
            assert!(refused.is_retriable(), "{refused}");
            let waited = host.clock.now().mono.since(start);
            assert!(waited < Duration::from_secs(5), "{waited:?}");
            let soon = host.clock.now().mono + Duration::from_millis(50);
            host.clock.sleep_until(soon).await;
        }
    });
    broker.stop();
}

#[test]
fn too_many_connections_leave_open_files_for_the_logs() {
    let place = Place::new();
    let broker = Served::start(serve(FILES_128, false, &[&place.dirs(&["a"])]));
    let host = place.machine.host();
    place.machine.block_on(async {
        let client = connect(&host, broker.address).await;
        let mut crowd = Vec::new();
        for _ in 0..400 {
            crowd.extend(TcpStream::connect(broker.address));
        }
        // Topics and records want files; whoever is in is served as if nobody else had come.
        for index in 0..40 {
            let wish = NewTopic::new(format!("t{index}"), 1);
            let topic = client.create_topic(&wish).await.unwrap();
            produce(&client, &topic, 100_000).await.unwrap();
        }
        drop(crowd);
        let newcomer = connect(&host, broker.address).await;
        let topic = newcomer
            .create_topic(&NewTopic::new("new", 1))
            .await
            .unwrap();
        produce(&newcomer, &topic, 1).await.unwrap();
    });
    broker.stop();
}
