//! The commands that ask a cluster, against a broker of the same binary: what a person reads, what a
//! program reads, and with which exit code each ends.

#![expect(
    clippy::unwrap_used,
    reason = "these are tests: an unwrap that fails is a failed test"
)]

mod served;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use millrace_host::real::{Options, RealHost};
use serde_json::Value;
use served::{Served, millrace, serve_command};
use tempfile::TempDir;

/// A broker, and a home for who asks it.
struct Cluster {
    // Ends before its directory goes.
    broker: Served,
    dir: TempDir,
    _machine: RealHost,
}

impl Cluster {
    fn start() -> Self {
        let machine = RealHost::start(&Options::for_processors(1)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data").display().to_string();
        let said = dir.path().join("said");
        let host = machine.host();
        let mut serve = serve_command(&data);
        // The first member of a group need not wait for others.
        serve.args(["--set", "group.initial.rebalance.delay.ms=0"]);
        let broker = machine.block_on(Served::start(&host, serve, &said));
        Self {
            broker,
            dir,
            _machine: machine,
        }
    }

    /// A command that names the cluster by the environment.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command_without_cluster(arguments);
        command.env("MILLRACE_BOOTSTRAP_SERVER", self.broker.address.to_string());
        command
    }

    fn command_without_cluster(&self, arguments: &[&str]) -> Command {
        let mut command = millrace();
        command
            .args(arguments)
            .env("XDG_CONFIG_HOME", self.dir.path());
        for variable in ["MILLRACE_BOOTSTRAP_SERVER", "MILLRACE_CONTEXT"] {
            command.env_remove(variable);
        }
        command
    }

    /// What a command prints that succeeds.
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same, as JSON.
    fn json(&self, arguments: &[&str]) -> Value {
        let said = self.says(&[arguments, &["--output", "json"]].concat());
        assert_eq!(said.lines().count(), 1, "one line: {said}");
        serde_json::from_str(&said).unwrap()
    }

    /// With this on its standard input.
    fn fed(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    }

    /// The exit code and standard error of a command that fails.
    fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.command(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), said)
    }
}

#[test]
fn records_come_out_as_they_went_in() {
    let cluster = Cluster::start();
    cluster.says(&["topic", "create", "orders", "-p", "3"]);
    let input = b"apple:1\npear:2\nno key\nempty:\n";
    let output = cluster.fed(
        &[
            "produce",
            "orders",
            "-K",
            ":",
            "-Z",
            "-H",
            "from=test",
            "-z",
            "zstd:3",
            "-v",
        ],
        input,
    );
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 4);

    let said = cluster.says(&["consume", "orders", "-e", "-f", r"%k=%s (%S) %h\n"]);
    let mut lines: Vec<&str> = said.lines().collect();
    lines.sort_unstable();
    let expected = [
        "=no key (6) from=test",
        "apple=1 (1) from=test",
        "empty= (-1) from=test",
        "pear=2 (1) from=test",
    ];
    assert_eq!(lines, expected);

    // As JSON through a second topic: the same records at the same times.
    let json = cluster.says(&["consume", "orders", "-e", "--output", "json"]);
    let copied = cluster.fed(
        &["produce", "copy", "--create", "--json", "-p", "0"],
        json.as_bytes(),
    );
    assert!(copied.status.success(), "{copied:?}");
    let again = cluster.says(&["consume", "copy", "-e", "--output", "json"]);
    let records = |text: &str| {
        let mut all: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        for record in &mut all {
            for place in ["topic", "partition", "offset"] {
                record[place] = Value::Null;
            }
        }
        all.sort_by_key(Value::to_string);
        all
    };
    assert_eq!(records(&again), records(&json));

    // Files whole, and bytes that are no text.
    let file = cluster.dir.path().join("bytes");
    fs::write(&file, b"a\nb\xff").unwrap();
    cluster.says(&[
        "produce",
        "copy",
        "--whole",
        "-p",
        "0",
        "-k",
        "file",
        &file.display().to_string(),
    ]);
    let said = cluster.says(&["consume", "copy", "-o", "-1", "-c", "1", "--output", "json"]);
    let record: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(record["value_base64"], "YQpi/w==");
    assert_eq!(
        (record["key"].as_str(), record["offset"].as_i64()),
        (Some("file"), Some(4))
    );
}

#[test]
fn consuming_begins_and_ends_where_it_is_told() {
    let cluster = Cluster::start();
    cluster.says(&["topic", "create", "t", "-p", "1"]);
    let line = |number: i64| {
        let ms = number * 1000;
        format!("{{\"value\":\"{number}\",\"timestamp_ms\":{ms}}}\n")
    };
    let lines = (0..10).map(line).collect::<Vec<_>>().concat();
    assert!(
        cluster
            .fed(&["produce", "t", "--json"], lines.as_bytes())
            .status
            .success()
    );
    let consumed = |arguments: &[&str]| {
        let said = cluster.says(&[&["consume", "t", "-f", "%s "], arguments].concat());
        said.trim_end().to_owned()
    };
    assert_eq!(consumed(&["-e"]), "0 1 2 3 4 5 6 7 8 9");
    assert_eq!(consumed(&["-o", "7", "-e"]), "7 8 9");
    assert_eq!(consumed(&["-o", "-2", "-e"]), "8 9");
    assert_eq!(consumed(&["-o", "@4500", "-e"]), "5 6 7 8 9");
    assert_eq!(consumed(&["-o", "@1970-01-01T00:00:08Z", "-e"]), "8 9");
    assert_eq!(consumed(&["-o", "2", "--until", "5"]), "2 3 4");
    assert_eq!(consumed(&["-c", "3"]), "0 1 2");
    assert_eq!(consumed(&["-o", "end", "-e"]), "");
    let (code, said) = cluster.fails(&["consume", "t", "-o", "50", "-c", "1"]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("OFFSET_OUT_OF_RANGE") && said.contains("what to do:"),
        "{said}"
    );

    // Without an end it goes on as records come; a reader that goes away ends it without an error.
    let mut follow = cluster.command(&["consume", "t", "-o", "9"]);
    let mut follow = follow
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(follow.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(cluster.fed(&["produce", "t"], b"ten\n").status.success());
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "9\nten\n");
    drop(out);
    assert!(cluster.fed(&["produce", "t"], b"eleven\n").status.success());
    let output = follow.wait_with_output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
}

#[test]
fn topics_and_their_offsets_are_administered() {
    let cluster = Cluster::start();
    let made = cluster.json(&[
        "topic",
        "create",
        "t",
        "-p",
        "2",
        "-c",
        "retention.ms=60000",
    ]);
    assert_eq!(made["results"][0]["partitions"], 2);
    assert!(
        cluster
            .fed(&["produce", "t", "-p", "1"], b"a\nb\nc\n")
            .status
            .success()
    );
    let listed = cluster.says(&["topic", "list"]);
    assert_eq!(
        listed,
        "TOPIC  PARTITIONS  REPLICAS\nt               2         1\n"
    );
    cluster.says(&["topic", "add-partitions", "t", "--to", "3"]);
    let described = cluster.json(&["topic", "describe", "t"]);
    let partitions = described["topics"][0]["partitions"].as_array().unwrap();
    assert_eq!(
        (partitions.len(), &partitions[1]["end_offset"]),
        (3, &Value::from(3))
    );
    cluster.says(&[
        "topic",
        "trim",
        "t",
        "-p",
        "1",
        "--before",
        "-1",
        "--dry-run",
    ]);
    assert_eq!(
        cluster.json(&["offset", "list", "t", "-p", "1"])["offsets"][0]["start_offset"],
        0
    );
    cluster.says(&["topic", "trim", "t", "-p", "1", "--before", "-1"]);
    assert_eq!(
        cluster.json(&["offset", "list", "t", "-p", "1"])["offsets"][0]["start_offset"],
        2
    );

    let (code, said) = cluster.fails(&["topic", "create", "t", "other name"]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("TOPIC_ALREADY_EXISTS") && said.contains("INVALID_TOPIC"),
        "{said}"
    );
    cluster.says(&["topic", "create", "t", "--if-not-exists"]);
    cluster.says(&["topic", "delete", "t"]);
    assert_eq!(
        cluster.json(&["topic", "list"])["topics"],
        Value::Array(Vec::new())
    );
    let (code, said) = cluster.fails(&["topic", "describe", "t"]);
    assert!(code == 1 && said.contains("misspelt"), "{said}");
}

#[test]
fn configurations_are_set_and_given_back() {
    let cluster = Cluster::start();
    cluster.says(&["topic", "create", "t", "-c", "retention.ms=60000"]);
    let set = [
        "config",
        "set",
        "--topic",
        "t",
        "max.message.bytes=5000",
        "cleanup.policy+=compact",
    ];
    cluster.says(&[&set[..], &["--dry-run"]].concat());
    let get = ["config", "get", "--topic", "t"];
    assert_eq!(cluster.json(&get)["configs"].as_array().unwrap().len(), 1);
    cluster.says(&set);
    cluster.says(&["config", "delete", "--topic", "t", "retention.ms"]);
    let configs = cluster.json(&get);
    let rows = configs["configs"].as_array().unwrap().iter();
    let rows: Vec<_> = rows
        .map(|row| (row["key"].as_str(), row["value"].as_str()))
        .collect();
    let expected = [
        (Some("cleanup.policy"), Some("delete,compact")),
        (Some("max.message.bytes"), Some("5000")),
    ];
    assert_eq!(rows, expected);
    let one = cluster.says(&["config", "get", "--broker", "1", "log.dirs"]);
    assert!(one.contains("STATIC_BROKER_CONFIG"), "{one}");
}

#[test]
fn groups_are_described_reset_and_removed() {
    let cluster = Cluster::start();
    cluster.says(&["topic", "create", "t", "-p", "2"]);
    for partition in ["0", "1"] {
        assert!(
            cluster
                .fed(&["produce", "t", "-p", partition], b"a\nb\nc\nd\n")
                .status
                .success()
        );
    }
    let reset = ["group", "reset", "g", "--topic", "t"];
    let shown = cluster.json(&[&reset[..], &["--to", "latest", "--dry-run"]].concat());
    assert_eq!(
        (
            &shown["results"][0]["before"],
            &shown["results"][0]["after"]
        ),
        (&Value::Null, &Value::from(4))
    );
    assert_eq!(
        cluster.json(&["group", "list"])["groups"],
        Value::Array(Vec::new())
    );
    cluster.says(&[&reset[..], &["--to", "earliest"]].concat());
    let lag = || cluster.json(&["group", "describe", "g"])["groups"][0]["lag"].clone();
    assert_eq!(lag(), 8);
    cluster.says(&["group", "reset", "g", "--shift-by", "3"]);
    assert_eq!(lag(), 2);
    cluster.says(&["group", "reset", "g", "--topic", "t:1", "--to", "-4"]);
    assert_eq!(lag(), 5);
    // Never outside of what the partition has.
    cluster.says(&["group", "reset", "g", "--shift-by", "-100"]);
    assert_eq!(lag(), 8);
    let told = cluster.says(&["group", "describe", "g"]);
    assert!(
        told.starts_with("group g: Empty, members 0, assignor -, lag 8\n"),
        "{told}"
    );
    let listed = cluster.says(&["group", "list", "--state", "empty"]);
    assert!(listed.contains("g      Empty"), "{listed}");
    cluster.says(&["group", "delete-offsets", "g", "--topic", "t:0"]);
    assert_eq!(lag(), 4);
    cluster.says(&["group", "delete", "g"]);
    let (code, said) = cluster.fails(&["group", "describe", "g"]);
    assert!(code == 1 && said.contains("GROUP_ID_NOT_FOUND"), "{said}");
}

#[test]
fn a_member_of_a_group_goes_on_where_the_group_is() {
    let cluster = Cluster::start();
    cluster.says(&["topic", "create", "t", "-p", "1"]);
    assert!(
        cluster
            .fed(&["produce", "t"], b"a\nb\nc\nd\n")
            .status
            .success()
    );
    // All four come in one batch, of which one is written and committed.
    let consume = ["consume", "t", "--group", "g"];
    assert_eq!(cluster.says(&[&consume[..], &["-c", "1"]].concat()), "a\n");
    let lag = || cluster.json(&["group", "describe", "g"])["groups"][0]["lag"].clone();
    assert_eq!(lag(), 3);
    assert_eq!(
        cluster.says(&[&consume[..], &["-c", "2"]].concat()),
        "b\nc\n"
    );
    // Ended by a signal it commits what it wrote, and leaves.
    let mut member = cluster.command(&consume);
    let mut member = member.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(member.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "d\n");
    let described = cluster.json(&["group", "describe", "g"]);
    let described = &described["groups"][0];
    assert_eq!(
        (
            &described["state"],
            described["members"].as_array().unwrap().len()
        ),
        (&Value::from("Stable"), 1)
    );
    let (code, said) = cluster.fails(&["group", "delete", "g"]);
    assert!(code == 1 && said.contains("alive"), "{said}");
    let pid = member.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert!(member.wait().unwrap().success());
    assert_eq!(lag(), 0);
    assert_eq!(
        cluster.json(&["group", "describe", "g"])["groups"][0]["state"],
        "Empty"
    );
    assert_eq!(cluster.fails(&[&consume[..], &["-o", "5"]].concat()).0, 2);
}

#[test]
fn clusters_have_names() {
    let cluster = Cluster::start();
    let address = cluster.broker.address.to_string();
    let run = |arguments: &[&str]| {
        let output = cluster.command_without_cluster(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code().unwrap(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap().to_string();
    drop(listener);
    assert_eq!(run(&["context", "add", "here", "-b", &address]).0, 0);
    assert_eq!(run(&["context", "add", "nowhere", "-b", &nobody]).0, 0);
    let (code, described, _) = run(&["cluster", "describe", "--output", "json"]);
    assert_eq!(code, 0);
    let described: Value = serde_json::from_str(&described).unwrap();
    let port = cluster.broker.address.port();
    assert_eq!(described["brokers"][0]["port"], port);
    for command in ["log-dirs", "quorum", "features"] {
        assert_eq!(run(&["cluster", command]).0, 0, "{command}");
    }
    // Nobody is there: exit code 3, since the same may succeed later.
    let (code, _, said) = run(&["topic", "list", "--context", "nowhere"]);
    assert!(code == 3 && said.contains("what to do:"), "{said}");
    assert_eq!(run(&["context", "use", "nowhere"]).0, 0);
    assert_eq!(run(&["topic", "list"]).0, 3);
    assert_eq!(run(&["topic", "list", "-b", &address]).0, 0);
    let (_, listed, _) = run(&["context", "list"]);
    assert!(listed.contains("here     "), "{listed}");
    assert_eq!(run(&["context", "remove", "nowhere"]).0, 0);
    let (code, _, said) = run(&["topic", "list", "--context", "nowhere"]);
    assert!(code == 2 && said.contains("context list"), "{said}");
    fs::write(cluster.dir.path().join("millrace/contexts.toml"), "broken").unwrap();
    let (code, _, said) = run(&["context", "add", "x", "-b", &address]);
    assert!(code == 2 && said.contains("contexts.toml"), "{said}");
}

#[test]
fn what_cannot_be_is_said_with_what_to_do() {
    let cluster = Cluster::start();
    let (code, said) = cluster.fails(&["produce", "typo"]);
    assert!(
        code == 1 && said.contains("millrace topic create typo"),
        "{said}"
    );
    let (code, said) = cluster.fails(&["consume", "typo", "-e"]);
    assert!(code == 1 && said.contains("misspelt"), "{said}");
    cluster.says(&["topic", "create", "t", "-c", "max.message.bytes=100"]);
    let output = cluster.fed(&["produce", "t"], &[b'x'; 2000]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("max.message.bytes"), "{said}");
    let output = cluster.fed(
        &["produce", "t", "--json"],
        b"{\"value\":\"a\"}\nnot json\n",
    );
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(1) && said.contains("line 2"),
        "{said}"
    );
    // What stood before it was stored.
    assert_eq!(cluster.says(&["consume", "t", "-e"]), "a\n");
    for wrong in [
        &["consume", "t", "-o", "middle"][..],
        &["consume", "t", "-f", "%q"],
        &["produce", "t", "-z", "zip"],
        &["group", "reset", "g"],
        &["config", "get"],
        &["topic", "list", "--timeout", "soon"],
    ] {
        assert_eq!(cluster.fails(wrong).0, 2, "{wrong:?}");
    }
}
