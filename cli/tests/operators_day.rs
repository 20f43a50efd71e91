//! The day in `docs/operating.md`, really lived: install, start, a full disk, a lost directory, damage,
//! a newer format, deletion, the dashboard. What always holds: each command and each quoted line is
//! one that stands in the page (`of_page`).
//!
//! The package itself is `cargo xtask package`'s, Kafka's own tools are `cargo xtask tools`'s.

#![expect(
    clippy::unwrap_used,
    reason = "these are tests: an unwrap that fails is a failed test"
)]

#[path = "bad_input/stage.rs"]
#[expect(dead_code, reason = "what only the other tests of this kind use")]
mod stage;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use millrace_client::{Client, Error, NewTopic, OffsetOf, Topic};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::DeleteTopicsRequest;
use millrace_protocol::messages::delete_topics_request::DeleteTopicState;
use millrace_protocol::records::{CHECKED_FROM, checksum};

use stage::{Node, Place, connect, everything, millrace, produce, says, topic};

/// Nothing wrong; something is, or stands in the way; the configuration or the command line is.
const WELL: i32 = 0;
const WRONG: i32 = 1;
const REFUSED: i32 = 2;
/// Where the page's node has its configuration.
const FILE: &str = "/etc/millrace/millrace.properties";
/// A disk of the tests takes some dozen records of this length.
const LONG: usize = 900_000;

fn page() -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join("../docs/operating.md")).unwrap()
}

/// Words that stand in the page.
fn of_page(words: &'static str) -> &'static str {
    assert!(page().contains(words), "docs/operating.md lacks {words:?}");
    words
}

/// Runs a command of the page on a path of ours instead of the one there; code, and what it said.
fn run(words: &'static str, theirs: &str, ours: &Path) -> (i32, String) {
    let words = of_page(words).replace(theirs, &ours.display().to_string());
    let mut words = words.split(' ');
    assert_eq!(words.next(), Some("millrace"));
    said(millrace().args(words))
}

fn said(command: &mut Command) -> (i32, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let said = String::from_utf8([stdout, stderr].concat()).unwrap();
    (status.code().unwrap(), said)
}

fn is_storage_error(result: &Result<i64, Error>) -> bool {
    let code = ErrorCode::KafkaStorageError;
    matches!(result, Err(Error::Broker { code: told, .. }) if *told == code)
}

async fn delete(client: &Client, name: &str) {
    let mut state = DeleteTopicState::default();
    state.name = Some(name.into());
    let mut request = DeleteTopicsRequest::default();
    request.topics = vec![state];
    request.timeout_ms = 60_000;
    let answer = client.call(&request).await.unwrap();
    let row = answer.read().unwrap().responses.into_iter().next().unwrap();
    assert_eq!(row.error_code, 0, "{name}");
}

/// The configuration file of a node, as the package's is.
fn configuration(place: &Place, more: &str) -> PathBuf {
    let path = place.path("millrace.properties");
    let text = format!(
        "{}\nlisteners=PLAINTEXT://127.0.0.1:0\nadmin.listener=127.0.0.1:0\n{more}\n",
        place.dirs(&["data"])
    );
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn installed_looked_at_and_started() {
    let place = Place::new();
    let file = configuration(&place, "num.partitions=3");
    let (code, told) = run("millrace config log.retention", "-", Path::new("-"));
    assert_eq!(code, WELL, "{told}");
    says(&told, &["log.retention.ms", "log.retention.bytes"]);
    let doctor = "millrace doctor --config /etc/millrace/millrace.properties";
    let (code, told) = run(doctor, FILE, &file);
    assert_eq!(code, WELL, "{told}");
    says(&told, &["the configuration is valid", "data will be made"]);
    let mut to_a_script = millrace();
    to_a_script.args(["doctor", of_page("--json"), "--config"]);
    let (code, told) = said(to_a_script.arg(&file));
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, told["serviceable"].as_bool()), (WELL, Some(true)));
    assert!(told["findings"].as_array().unwrap().len() > 3);
    assert!(!place.path("data").exists(), "nothing was touched");
    let mut serve = millrace();
    of_page("millrace serve --config /etc/millrace/millrace.properties");
    serve.args(["serve", "--config"]).arg(&file);
    let node = Node::start(&place, serve);
    says(&node.page(of_page("/health/ready")), &["200 OK"]);
    // It runs now: doctor says so, check doesn't disturb it, dump-log reads along.
    let (_, told) = run(doctor, FILE, &file);
    says(&told, &["a broker has it open"]);
    let data = place.path("data");
    let (code, told) = run(
        "millrace check /var/lib/millrace",
        "/var/lib/millrace",
        &data,
    );
    assert_eq!(code, WRONG);
    says(&told, &["in use by another process"]);
    let dump = "millrace dump-log --json /var/lib/millrace";
    let (code, told) = run(dump, "/var/lib/millrace", &data);
    assert_eq!(code, WELL, "{told}");
    node.stop();
    // A file with a mistake.
    let file = configuration(&place, "num.partitions=none");
    let (code, told) = run(doctor, FILE, &file);
    assert_eq!(code, REFUSED, "{told}");
    says(&told, &["num.partitions=none", "millrace.properties"]);
}

#[test]
fn every_exit_code_is_as_the_page_says() {
    of_page("| 0 | ended cleanly | did what was asked, found nothing wrong |");
    of_page("| 1 | machine or data don't let it go on");
    of_page("| 2 | the configuration or the command line is refused | the same |");
    let place = Place::new();
    place.start(&["data"]).stop();
    let data = place.path("data");
    let nowhere = place.path("nowhere");
    let with = |words: &[&str], path: &Path| said(millrace().args(words).arg(path)).0;
    assert_eq!(with(&["check"], &data), WELL);
    assert_eq!(with(&["check"], &nowhere), WRONG);
    assert_eq!(with(&["dump-log"], &data), WELL);
    assert_eq!(with(&["dump-log"], &nowhere), WRONG);
    for command in ["serve", "check", "dump-log", "doctor", "config"] {
        let mut wrong = millrace();
        let (code, told) = said(wrong.args([command, "--no-such-option"]));
        assert_eq!(code, REFUSED, "{command}: {told}");
        let (code, _) = said(millrace().args([command, "--help"]));
        assert_eq!(code, WELL, "{command}");
    }
    assert_eq!(said(millrace().args(["config", "no.such.key"])).0, WRONG);
    Place::refuses(
        place.serve(&["data"], &["num.partitions=0"]),
        REFUSED,
        &["num.partitions"],
    );
    Place::refuses(place.serve(&["data"], &["node.id=7"]), WRONG, &["node 1"]);
}

/// A file system of some megabytes that outlives the brokers on it.
struct Disk(Child);

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Disk {
    /// `None`, with a word, where the machine allows none.
    fn new(path: &Path, size: &str) -> Option<Self> {
        let script =
            format!("mount -t tmpfs -o size={size} tmpfs \"$1\" && echo ready && read wait");
        fs::create_dir_all(path).unwrap();
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", &script, "sh"]).arg(path);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = piped.spawn().ok()?;
        let mut line = String::new();
        let said = BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line);
        let disk = Self(holder);
        if said.is_ok() && line == "ready\n" {
            return Some(disk);
        }
        eprintln!("no mount namespace here: nothing is proven");
        None
    }

    /// The command where this disk is mounted.
    fn inside(&self, command: &Command) -> Command {
        let id = self.0.id().to_string();
        let mut there = Command::new("nsenter");
        there.args(["-t", &id, "-U", "-m", "--preserve-credentials"]);
        there.arg(command.get_program()).args(command.get_args());
        there.stdin(Stdio::null());
        there
    }
}

#[test]
fn a_disk_fills_the_node_is_killed_starts_again_and_deleting_makes_room() {
    let place = Place::new();
    let Some(disk) = Disk::new(&place.path("data"), "64m") else {
        return;
    };
    let sets = [
        "log.segment.delete.delay.ms=1",
        "log.dir.reserve.bytes=4194304",
    ];
    let command = place.serve(&["data"], &sets);
    let start = || Node::start(&place, disk.inside(&command));
    let host = place.host();
    let fill = async |client: &Client, topic: &Topic| {
        let mut taken = 0;
        loop {
            let told = produce(client, topic, &vec![b'f'; LONG]).await;
            if is_storage_error(&told) {
                of_page("error 56 (`KAFKA_STORAGE_ERROR`)");
                assert!(told.unwrap_err().is_retriable());
                return taken;
            }
            assert_eq!(told.unwrap(), taken);
            taken += 1;
        }
    };
    let node = start();
    let (kept, taken) = place.block_on(async {
        let client = connect(&host, &node).await;
        let kept = topic(&client, "kept").await;
        produce(&client, &kept, b"kept").await.unwrap();
        let filling = topic(&client, "filling").await;
        let taken = fill(&client, &filling).await;
        assert!(taken > 3, "{taken}");
        // Reads and metadata go on.
        assert_eq!(everything(&client, &kept).await.len(), 1);
        topic(&client, "more").await;
        (kept, taken)
    });
    says(
        &node.log(),
        &[of_page(
            "the disk of a log directory is full: produces to it are refused until there is room; delete topics, lower retention, or add room",
        )],
    );
    assert!(node.metric(of_page("millrace_log_directory_free_bytes"), "") < 16 << 20);
    node.kill();
    let node = start();
    place.block_on(async {
        let client = connect(&host, &node).await;
        assert_eq!(everything(&client, &kept).await, [(0, b"kept".to_vec())]);
        let filling = client.topic("filling").await.unwrap();
        let end = client
            .list_offset(&filling, 0, OffsetOf::End)
            .await
            .unwrap();
        assert!(end >= Some(taken), "{end:?}, {taken}");
        // A start may have freed a little.
        let mut told = produce(&client, &kept, &vec![b'x'; LONG]).await;
        while told.is_ok() {
            told = produce(&client, &kept, &vec![b'x'; LONG]).await;
        }
        assert!(is_storage_error(&told));
        of_page("--delete --topic filling");
        delete(&client, "filling").await;
        place
            .until("room, without a restart", async || {
                produce(&client, &kept, &vec![b'x'; LONG]).await.is_ok()
            })
            .await;
    });
    node.stop();
}

/// Topics with a record each, some in the directory that will be lost and some beside it.
async fn some_in_each(client: &Client, lost: &Path) -> Vec<Topic> {
    let in_it = || {
        let listed = fs::read_dir(lost).unwrap();
        let names = listed.map(|entry| entry.unwrap().file_name());
        names
            .filter(|name| name.to_string_lossy().starts_with('t'))
            .count()
    };
    let mut topics = Vec::new();
    while in_it() == 0 || in_it() == topics.len() {
        let made = topic(client, &format!("t{}", topics.len())).await;
        produce(client, &made, b"acknowledged").await.unwrap();
        topics.push(made);
    }
    topics
}

#[test]
fn a_directory_is_lost_while_it_serves_and_at_a_start_and_comes_back() {
    let place = Place::new();
    let both = ["data", "more"];
    let node = place.start(&both);
    let host = place.host();
    let (lost, away) = (place.path("more"), place.path("away"));
    let topics = place.block_on(async {
        let client = connect(&host, &node).await;
        let topics = some_in_each(&client, &lost).await;
        fs::rename(&lost, &away).unwrap();
        place
            .until("word of it", async || {
                node.metric(of_page("millrace_partitions_offline"), "") > 0
            })
            .await;
        for topic in &topics {
            let told = client.topic(&topic.name).await.unwrap();
            assert_eq!(told.id, topic.id);
        }
        topics
    });
    says(
        &node.log(),
        &[
            of_page("log directory is offline; nothing more is written to it"),
            of_page(
                "it is no longer where it was opened: somebody removed, renamed or replaced it, or mounted something over it",
            ),
        ],
    );
    assert_eq!(
        node.metric(
            "millrace_log_directory_offline",
            &lost.display().to_string()
        ),
        1
    );
    node.kill();
    fs::create_dir(&lost).unwrap();
    let node = place.start(&both);
    says(
        &node.log(),
        &[
            of_page(
                "a log directory that holds partitions is missing; they are offline until it is back: mount its disk, and name it in log.dirs",
            ),
            of_page(
                "the log directory is empty while one that holds partitions is missing, so it is left alone:",
            ),
        ],
    );
    node.stop();
    fs::remove_dir(&lost).unwrap();
    fs::rename(&away, &lost).unwrap();
    let node = place.start(&both);
    place.block_on(async {
        let client = connect(&host, &node).await;
        for topic in &topics {
            let seen = everything(&client, topic).await;
            assert_eq!(seen[0], (0, b"acknowledged".to_vec()), "{}", topic.name);
        }
    });
    assert_eq!(node.metric("millrace_partitions_offline", ""), 0);
    node.stop();
}

/// Ten records of `orders`, by a node that was stopped since.
fn ten_orders(place: &Place) -> Topic {
    let node = place.start(&["data"]);
    let host = place.host();
    let orders = place.block_on(async {
        let client = connect(&host, &node).await;
        let orders = topic(&client, "orders").await;
        for number in 0..10 {
            let value = format!("order {number}");
            produce(&client, &orders, value.as_bytes()).await.unwrap();
        }
        orders
    });
    node.stop();
    orders
}

fn check(data: &Path) -> (i32, String) {
    run(
        "millrace check /var/lib/millrace",
        "/var/lib/millrace",
        data,
    )
}

#[test]
fn a_lost_ledger_is_told_and_made_anew() {
    let place = Place::new();
    let orders = ten_orders(&place);
    let data = place.path("data");
    let (code, told) = check(&data);
    assert_eq!(code, WELL, "{told}");
    says(&told, &["sound: all that was durable is there"]);
    let dump = "millrace dump-log --records /var/lib/millrace/orders-0";
    let (code, told) = run(dump, "/var/lib/millrace/orders-0", &data.join("orders-0"));
    assert_eq!(code, WELL, "{told}");
    says(&told, &["order 0", "order 9"]);
    for name in ["ledger.0", "ledger.1"] {
        fs::write(data.join(name), [0xff; 4096]).unwrap();
    }
    let (code, told) = check(&data);
    assert_eq!(code, WRONG, "{told}");
    says(&told, &["--rebuild-ledger"]);
    Place::refuses(place.serve(&["data"], &[]), WRONG, &["--rebuild-ledger"]);
    let (code, told) = run("millrace check --rebuild-ledger DIR", "DIR", &data);
    assert_eq!(code, WELL, "{told}");
    says(&told, &["the broker may be started"]);
    let node = place.start(&["data"]);
    let host = place.host();
    place.block_on(async {
        let client = connect(&host, &node).await;
        assert_eq!(everything(&client, &orders).await.len(), 10);
    });
    node.stop();
}

#[test]
fn damage_is_found_and_said_and_the_others_are_served() {
    let place = Place::new();
    ten_orders(&place);
    let data = place.path("data");
    let segment = data.join("orders-0/00000000000000000000.log");
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes
        .windows(7)
        .position(|part| part == b"order 5")
        .unwrap();
    bytes[at] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let (code, told) = check(&data);
    assert_eq!(code, WRONG, "{told}");
    let words = [
        "damage: orders-0: segment 0 is damaged at byte",
        "not sound",
    ];
    says(&told, &words);
    let json = "millrace check --json /var/lib/millrace";
    let (code, told) = run(json, "/var/lib/millrace", &data);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, told["sound"].as_bool()), (WRONG, Some(false)));
    assert_eq!(told["findings"][0]["severity"], "damage", "{told}");
    let node = place.start(&["data"]);
    let host = place.host();
    place.block_on(async {
        let client = connect(&host, &node).await;
        let new = client.create_topic(&NewTopic::new("new", 1)).await.unwrap();
        produce(&client, &new, b"others are served").await.unwrap();
        delete(&client, "orders").await;
    });
    node.stop();
    let (code, told) = check(&data);
    assert_eq!(code, WELL, "{told}");
}

#[test]
fn a_newer_format_is_refused_by_all_with_who_wrote_it() {
    let place = Place::new();
    place.start(&["data"]).stop();
    let data = place.path("data");
    let path = data.join("millrace.format");
    let mut newer = fs::read(&path).unwrap();
    // After the magic: the number of the format. At the end: the checksum.
    newer[4..8].copy_from_slice(&2_u32.to_le_bytes());
    let end = newer.len() - 4;
    let as_in_a_batch = [&[0; CHECKED_FROM][..], &newer[..end]].concat();
    newer[end..].copy_from_slice(&checksum(&as_in_a_batch).to_le_bytes());
    fs::write(&path, &newer).unwrap();
    let in_use = data.join(".lock");
    let lines = fs::read_to_string(&in_use).unwrap();
    let own = format!("version=Millrace {}", env!("CARGO_PKG_VERSION"));
    says(&lines, &[&own]);
    fs::write(&in_use, lines.replace(&own, "version=Millrace 9.1.0")).unwrap();
    let words = [
        of_page("has format 2, written by Millrace"),
        of_page("reads up to 1: run Millrace"),
        of_page("or a newer one; nothing was changed"),
        "Millrace 9.1.0",
    ];
    let before = fs::read_dir(&data).unwrap().count();
    Place::refuses(place.serve(&["data"], &[]), WRONG, &words);
    let (code, told) = said(millrace().arg("check").arg(&data));
    assert_eq!(code, WRONG);
    says(&told, &words);
    let dirs = place.dirs(&["data"]);
    let (code, told) = said(millrace().args(["doctor", "--set", &dirs]));
    assert_eq!(code, WRONG);
    says(&told, &words);
    assert_eq!(fs::read(&path).unwrap(), newer);
    assert_eq!(fs::read_dir(&data).unwrap().count(), before);
}
