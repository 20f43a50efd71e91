//! `millrace doctor` as an operator uses it: the real binary on real directories.

#![expect(
    clippy::unwrap_used,
    reason = "these are tests: an unwrap that fails is a failed test"
)]

mod served;

use std::fs;
use std::path::Path;

use millrace_host::real::{Options, RealHost};

use served::{Served, millrace, serve_command};

/// Exit code and what it says about a node with these log directories.
fn doctor(log_dirs: &str, more: &[&str]) -> (Option<i32>, String) {
    let mut command = millrace();
    command.arg("doctor");
    for setting in [
        &format!("log.dirs={log_dirs}"),
        "listeners=PLAINTEXT://127.0.0.1:0",
    ] {
        command.args(["--set", setting]);
    }
    let output = command.args(more).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_sound_machine_serves_and_nothing_is_left_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let (data, missing) = (temporary.path().join("data"), temporary.path().join("more"));
    fs::create_dir(&data).unwrap();
    let dirs = format!("{},{}", data.display(), missing.display());
    let (code, said) = doctor(&dirs, &[]);
    assert_eq!(code, Some(0), "{said}");
    for words in [
        "data is empty; the first start formats it",
        "more will be made",
        "a sync of 4 KiB takes",
        "data threads",
        "of memory (",
        "open files (",
        "are on one file system",
        "listener PLAINTEXT can have 127.0.0.1:0",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(names(&data).is_empty());
    assert_eq!(names(temporary.path()), ["data"]);
}

#[test]
fn a_directory_in_use_is_told_and_not_disturbed() {
    let temporary = tempfile::tempdir().unwrap();
    let data = temporary.path().join("data");
    let shown = data.display().to_string();
    let machine = RealHost::start(&Options::default()).unwrap();
    let host = machine.host();
    machine.block_on(async {
        let said = data.with_extension("said");
        let broker = Served::start(&host, serve_command(&shown), &said).await;
        let listener = format!("listeners=PLAINTEXT://{}", broker.address);
        let (code, said) = doctor(&shown, &["--set", &listener]);
        assert_eq!(code, Some(0), "{said}");
        for words in ["a broker has it open", "is taken: a broker is running"] {
            assert!(said.contains(words), "{words}: {said}");
        }
    });
    let (code, said) = doctor(&shown, &["--set", "node.id=7"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("is of node 1") && said.contains("node 7"),
        "{said}"
    );
}

#[test]
fn what_stands_in_the_way_is_told() {
    let temporary = tempfile::tempdir().unwrap();
    let foreign = temporary.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("notes"), "mine").unwrap();
    let (code, said) = doctor(&foreign.display().to_string(), &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no log directory of Millrace"), "{said}");
    assert_eq!(names(&foreign), ["notes"]);

    let nowhere = temporary.path().join("a/b/c");
    let (code, said) = doctor(&nowhere.display().to_string(), &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("nor does the directory above it"), "{said}");

    // A file system in memory that nearly every Linux has; where it is missing the rest stands.
    let (code, said) = doctor("/dev/shm/millrace-doctor-is-here", &[]);
    if names(Path::new("/dev")).contains(&"shm".to_owned()) {
        assert!(
            code == Some(1) && said.contains("which is memory"),
            "{said}"
        );
    }

    let (code, said) = doctor(
        &foreign.display().to_string(),
        &["--set", "num.partition=3"],
    );
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("num.partitions"), "{said}");
}
