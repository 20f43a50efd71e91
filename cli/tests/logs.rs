//! What `millrace serve` says: as JSON every line is one object, whatever is in it; a slow request
//! has its line; a flood has not.

#![expect(
    clippy::unwrap_used,
    reason = "these are tests: an unwrap that fails is a failed test"
)]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use millrace_client::{Client, ClientOptions, NewTopic};
use millrace_host::real::{Options, RealHost};
use serde_json::Value;

/// `millrace serve` with its log as JSON.
fn serve(data: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.args(["serve", "--log-format", "json"]);
    let log_dirs = format!("log.dirs={}", data.display());
    for setting in [
        "listeners=PLAINTEXT://127.0.0.1:0",
        "admin.listener=127.0.0.1:0",
        &log_dirs,
    ] {
        command.args(["--set", setting]);
    }
    command
        .args(more)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// One that serves; killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Running {
    /// The broker, and what it said of itself when it served.
    fn start(mut command: Command) -> (Self, Value) {
        let mut running = Self(command.spawn().unwrap());
        let mut said = String::new();
        let stdout = running.0.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut said).unwrap();
        (running, serde_json::from_str(&said).unwrap())
    }

    /// Asks it to end; how it did, and every line of its log.
    fn stop(mut self) -> (ExitStatus, Vec<Value>) {
        let id = self.0.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status();
        assert!(asked.unwrap().success());
        let mut log = String::new();
        let mut stderr = self.0.stderr.take().unwrap();
        stderr.read_to_string(&mut log).unwrap();
        (self.0.wait().unwrap(), lines(&log))
    }
}

/// Each line as what it must be.
fn lines(log: &str) -> Vec<Value> {
    log.lines()
        .map(|line| {
            let read: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?}"));
            for field in ["timestamp", "level", "target"] {
                assert!(read[field].is_string(), "{field}: {line}");
            }
            assert!(read["fields"]["message"].is_string(), "{line}");
            read
        })
        .collect()
}

fn told<'a>(lines: &'a [Value], message: &str) -> Vec<&'a Value> {
    let fields = lines.iter().map(|line| &line["fields"]);
    fields
        .filter(|fields| fields["message"] == message)
        .collect()
}

#[test]
fn every_line_is_an_object_whatever_a_client_calls_itself_and_a_flood_is_counted() {
    let temporary = tempfile::tempdir().unwrap();
    // A path that would break a line in two.
    let data = temporary.path().join("da\nta \"x\"");
    let (running, said) = Running::start(serve(&data, &["--set", "request.slow.ms=0"]));
    let said = &said["fields"];
    assert_eq!(said["message"], "serving");
    assert_eq!(said["log_dirs"][0], data.to_str().unwrap());
    assert!(said["sizing"]["processors"].as_u64().unwrap() > 0);
    let address = said["listeners"][0]["address"].as_str().unwrap();
    let machine = RealHost::start(&Options::default()).unwrap();
    let host = machine.host();
    machine.block_on(async {
        let options = ClientOptions {
            client_id: "a\n\u{1b}[31m{\"".to_owned(),
            ..ClientOptions::default()
        };
        let address = address.parse().unwrap();
        let client = Client::connect(&host, address, options).await.unwrap();
        for n in 0..50 {
            let topic = format!("t{n}");
            client
                .create_topic(&NewTopic::new(&topic, 1))
                .await
                .unwrap();
        }
    });
    let (status, lines) = running.stop();
    assert_eq!(status.code(), Some(0));
    assert_eq!(told(&lines, "stopped").len(), 1);
    let slow = told(&lines, "a request was slow");
    // Ten in ten seconds; a machine that is busy takes longer.
    assert!((10..50).contains(&slow.len()), "{} lines", slow.len());
    let create = slow.iter().find(|fields| fields["api"] == "CreateTopics");
    let create = create.unwrap();
    assert_eq!(create["client"], "a\\n\\u{1b}[31m{\\\"");
    for field in [
        "version",
        "connection",
        "request_bytes",
        "response_bytes",
        "took_ms",
        "queue_ms",
        "effect_ms",
        "wait_ms",
        "send_ms",
        "asked_wait_ms",
    ] {
        assert!(create[field].is_u64(), "{field}: {create}");
    }
}

#[test]
fn the_reason_of_a_refusal_is_an_object_too() {
    let temporary = tempfile::tempdir().unwrap();
    std::fs::write(temporary.path().join("notes"), "mine").unwrap();
    let output = serve(temporary.path(), &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).unwrap();
    let last = lines(&log).pop().unwrap();
    assert_eq!(last["level"], "ERROR");
    assert_eq!(last["fields"]["exit_code"], 1);
    let mut refused = serve(temporary.path(), &["--set", "num.partition=3"]);
    let output = refused.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let log = String::from_utf8(output.stderr).unwrap();
    let all = lines(&log);
    assert_eq!(all.len(), 1);
    let words = all[0]["fields"]["message"].as_str().unwrap();
    assert!(words.contains("num.partitions"), "{words}");
}
