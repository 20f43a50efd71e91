//! What the binary says of itself: version, exit codes, manual pages, completions.

#![expect(
    clippy::unwrap_used,
    reason = "these are tests: an unwrap that fails is a failed test"
)]

use std::fs;
use std::process::{Command, Stdio};

fn says(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    let output = command
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_version_names_the_commit_where_one_is_known() {
    let said = says(&["--version"]);
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(
        words[..2],
        ["millrace", env!("CARGO_PKG_VERSION")],
        "{said}"
    );
    if let Some(commit) = words.get(2) {
        let commit = commit.trim_matches(['(', ')']);
        assert!(
            commit.len() >= 12 && commit.bytes().all(|b| b.is_ascii_hexdigit()),
            "{said}"
        );
    }
}

#[test]
fn every_command_has_a_page_and_completes() {
    let help = says(&["--help"]);
    assert!(help.contains("Exit codes:"), "{help}");
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(
        commands.contains(&"serve") && commands.contains(&"doctor"),
        "{help}"
    );

    let directory = tempfile::tempdir().unwrap();
    says(&["man", "--dir", &directory.path().display().to_string()]);
    let script = says(&["completions", "bash"]);
    for command in &commands {
        let page = directory.path().join(format!("millrace-{command}.1"));
        let page = fs::read_to_string(page).unwrap();
        assert!(page.contains(".TH") && page.contains("SYNOPSIS"), "{page}");
        assert!(script.contains(command), "{command} isn't completed");
    }
    let first = fs::read_to_string(directory.path().join("millrace.1")).unwrap();
    assert_eq!(first, says(&["man"]));
}
