//! `cargo xtask instructions`: how many instructions a hot path takes, counted by callgrind, held
//! against what was recorded. Counts don't depend on what else the machine does, so a path that became
//! longer shows, however busy the machine is.
//!
//! What always holds: a count is the difference of two runs, over how many times more the second one
//! goes the path: what a start takes is in neither.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::binaries::{cargo, target_directory};
use crate::packages::need;
use crate::process::{output, println, succeed};
use crate::{Outcome, root};

/// The paths, and how often each is gone in the second run beyond the first.
const PATHS: [(&str, u64); 5] = [
    ("frame-decode", 10_000),
    ("batch-validation", 10_000),
    ("api-versions", 1000),
    ("append", 1000),
    ("fetch", 1000),
];
/// How often it is gone in the first run: buffers have their sizes by then.
const BEFORE: u64 = 200;
/// Where the figures are kept.
const RECORDED: &str = "bench/instructions.tsv";
/// A path that takes so many per cent more than what was recorded has become longer.
const MORE_MAX_PERCENT: f64 = 3.0;

/// What to do with the counts.
#[derive(Args, Debug)]
pub(crate) struct InstructionsArguments {
    /// Records them, in place of holding them against what was recorded.
    #[arg(long)]
    record: bool,
}

/// Counts every path.
pub(crate) fn run(arguments: &InstructionsArguments) -> Outcome {
    need("valgrind", "valgrind")?;
    // As what ships is built; what suites run is cut up by what was built before, and so are its counts.
    let mut build = cargo();
    build.args(["build", "--quiet", "--release", "--locked"]);
    succeed(build.args(["--package", "millrace-bench", "--example", "hot"]))?;
    let program = target_directory()?.join("release/examples/hot");
    let mut counts = BTreeMap::new();
    for (path, more) in PATHS {
        let before = count(&program, path, BEFORE)?;
        let after = count(&program, path, BEFORE + more)?;
        counts.insert(path, after.saturating_sub(before) / more);
    }
    if arguments.record {
        return record(&counts);
    }
    judge(&counts, &recorded()?)
}

/// Instructions of a whole run.
fn count(program: &Path, path: &str, times: u64) -> Result<u64, String> {
    let printed = output(
        Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(program)
            .args([path, &times.to_string()]),
    )?;
    collected(&printed).ok_or_else(|| format!("callgrind counted nothing: {printed}"))
}

/// The number that callgrind prints at its end.
fn collected(printed: &str) -> Option<u64> {
    let line = printed.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(' ').next()?.parse().ok()
}

fn file() -> PathBuf {
    root().join(RECORDED)
}

fn record(counts: &BTreeMap<&str, u64>) -> Outcome {
    let mut lines = vec!["path\tinstructions".to_owned()];
    for (path, count) in counts {
        println(&format!("{path:<20} {count:>10}"));
        lines.push(format!("{path}\t{count}"));
    }
    fs::write(file(), lines.join("\n") + "\n").map_err(|error| format!("{RECORDED}: {error}"))
}

fn recorded() -> Result<BTreeMap<String, u64>, String> {
    let text = fs::read_to_string(file()).map_err(|error| format!("{RECORDED}: {error}"))?;
    let row = |line: &str| {
        let (path, count) = line.split_once('\t')?;
        Some((path.to_owned(), count.parse().ok()?))
    };
    Ok(text.lines().skip(1).filter_map(row).collect())
}

/// Prints both and says which paths became longer.
fn judge(counts: &BTreeMap<&str, u64>, recorded: &BTreeMap<String, u64>) -> Outcome {
    let mut longer = Vec::new();
    for (path, count) in counts {
        let Some(known) = recorded.get(*path) else {
            return Err(format!("{RECORDED} has no {path}: --record"));
        };
        let percent = (*count as f64 / *known as f64 - 1.0) * 100.0;
        println(&format!(
            "{path:<20} {count:>10}  {percent:+.1} % of {known}"
        ));
        if percent > MORE_MAX_PERCENT {
            longer.push(*path);
        }
    }
    if longer.is_empty() {
        Ok(())
    } else {
        let which = longer.join(", ");
        Err(format!(
            "became longer: {which}; record it if that is what it costs"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_the_last_word_of_callgrinds_line() {
        let printed = "==12== Events    : Ir\n==12== Collected : 123456\n==12==\n";
        assert_eq!(collected(printed), Some(123_456));
        assert_eq!(collected("==12== nothing\n"), None);
    }

    #[test]
    fn a_longer_path_fails_and_a_shorter_one_does_not() {
        let recorded = BTreeMap::from([("append".to_owned(), 1000)]);
        assert!(judge(&BTreeMap::from([("append", 1040)]), &recorded).is_err());
        assert!(judge(&BTreeMap::from([("append", 1020)]), &recorded).is_ok());
        assert!(judge(&BTreeMap::from([("append", 500)]), &recorded).is_ok());
        assert!(judge(&BTreeMap::from([("fetch", 500)]), &recorded).is_err());
    }
}
