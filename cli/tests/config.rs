//! `millrace config`: what it lists, and in which forms.

#![expect(
    clippy::unwrap_used,
    reason = "these are tests: an unwrap that fails is a failed test"
)]

use std::process::{Command, Output, Stdio};

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.arg("config").args(arguments).stdin(Stdio::null());
    command.output().unwrap()
}

fn says(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_key_is_explained_with_the_value_that_it_would_have() {
    let said = says(&["--set", "log.retention.hours=2"]);
    for part in [
        "log.retention.hours=2  (file, environment or option, default 168)",
        "retention.ms=7200000  (file, environment or option, default 604800000)",
        "log.roll.ms=(none)  (default, no default)",
        "durability=fsync  (default)",
        "Millrace's, string, of a topic: one of fsync, page-cache.",
        "The broker's: log.retention.ms, log.retention.minutes, log.retention.hours.",
    ] {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
}

#[test]
fn a_name_chooses_and_json_says_the_same() {
    let said = says(&["segment.jitter"]);
    assert_eq!(
        said.lines()
            .filter(|line| !line.is_empty() && !line.starts_with(' '))
            .count(),
        1
    );
    let all: serde_json::Value = serde_json::from_str(&says(&["retention", "--json"])).unwrap();
    let all = all.as_array().unwrap();
    assert!(
        all.len() > 5
            && all
                .iter()
                .all(|key| key["name"].as_str().unwrap().contains("retention"))
    );
    let ms = all
        .iter()
        .find(|key| key["name"] == "retention.ms")
        .unwrap();
    assert_eq!(
        (&ms["value"], &ms["type"]),
        (&"604800000".into(), &"long".into())
    );
    assert_eq!(ms["synonyms"][0]["name"], "log.retention.hours");
}

#[test]
fn a_key_of_kafkas_that_is_refused_is_explained() {
    for (name, reason) in [
        ("ssl.keystore.location", "there is no encryption yet"),
        ("leader.replication.throttled.rate", "one node"),
        ("num.io.threads", "follow the number of processors"),
    ] {
        let said = says(&[name]);
        assert!(
            said.contains("(refused)") && said.contains(reason),
            "{said}"
        );
        let all: serde_json::Value = serde_json::from_str(&says(&[name, "--json"])).unwrap();
        assert_eq!(all[0]["refused"], true);
        let refused = run(&["--set", &format!("{name}=1")]);
        let words = String::from_utf8(refused.stderr).unwrap();
        assert!(words.contains(reason), "{words}");
    }
    let said = says(&["remote.copy.lag.ms"]);
    assert!(said.contains("no tiered storage"), "{said}");
    assert!(says(&[]).contains("zookeeper.connect  (refused)"));
}

#[test]
fn the_file_that_it_writes_sets_nothing_and_what_is_wrong_has_its_code() {
    let file = says(&["--properties"]);
    assert!(
        file.lines()
            .all(|line| line.is_empty() || line.starts_with('#'))
    );
    assert_eq!(run(&["no.such.key"]).status.code(), Some(1));
    assert_eq!(run(&["--set", "nope=1"]).status.code(), Some(2));
}
