//! Runs the scripts of `tests/scripts/`: commands to one partition or to one coordinator of groups,
//! and what comes of each.
//!
//! A script is a list of blocks: commands, a line `----`, the expected output, an empty line. Lines
//! that start with `#` are for the reader. `MILLRACE_REWRITE=1` writes what came out into the
//! scripts instead of comparing; read the difference before committing it.

mod args;
mod group;
mod partition;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// What commands are given to.
trait Script: Default {
    /// Where its scripts are, in `tests/scripts/`.
    const DIRECTORY: &str;

    /// Runs one command and gives what it prints.
    fn command(&mut self, line: &str) -> String;
}

fn directory(name: &str) -> PathBuf {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scripts");
    all.join(name)
}

/// Runs a script in a world of its own and gives it back with the output that came.
fn run<World: Script>(text: &str) -> String {
    let mut world = World::default();
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    let mut produced = String::new();
    while let Some(line) = lines.next() {
        out.push_str(line);
        out.push('\n');
        if line == "----" {
            // What was expected is dropped; what came stands in its place.
            while lines.next_if(|line| !line.is_empty()).is_some() {}
            out.push_str(&std::mem::take(&mut produced));
        } else if !line.is_empty() && !line.starts_with('#') {
            produced.push_str(&world.command(line));
        }
    }
    out
}

fn differing_line(expected: &str, came: &str) -> String {
    let mut expected = expected.lines();
    let mut came = came.lines();
    let mut number = 0;
    loop {
        number += 1;
        match (expected.next(), came.next()) {
            (None, None) => return "no difference".to_owned(),
            (left, right) if left != right => {
                let (left, right) = (left.unwrap_or("(end)"), right.unwrap_or("(end)"));
                return format!("line {number}:\n  expected: {left}\n  came:     {right}");
            }
            (_, _) => {}
        }
    }
}

#[test]
fn scripts_of_partitions_come_out_as_written() {
    check::<partition::World>();
}

#[test]
fn scripts_of_groups_come_out_as_written() {
    check::<group::World>();
}

fn check<World: Script>() {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory(World::DIRECTORY))
        .expect("the scripts are part of the project")
        .map(|entry| entry.expect("the directory is readable").path())
        .filter(|path| path.extension().is_some_and(|end| end == "txt"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 10, "scripts are missing: {paths:?}");
    let rewrite = std::env::var_os("MILLRACE_REWRITE").is_some();
    let mut failures = String::new();
    for path in paths {
        let text = fs::read_to_string(&path).expect("a script is text");
        let came = run::<World>(&text);
        if rewrite {
            fs::write(&path, came).expect("a script can be rewritten");
        } else if came != text {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            writeln!(failures, "{name}, {}", differing_line(&text, &came))
                .expect("a string takes text");
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
