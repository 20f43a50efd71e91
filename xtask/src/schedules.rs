//! `cargo xtask schedules`: models of what several tasks do at the same time, in the product's own
//! code, by schedules that shuttle chooses. The models are tests of `sim`, `log` and `server` that
//! are there with the feature `schedules` only.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::process::{println, succeed};
use crate::{Outcome, binaries};

/// Schedules of each long model, so that all models together are past a million.
const COUNT: usize = 40_000;
/// The same of a smoke.
const SMOKE_COUNT: usize = 2_000;
/// The rooms with models.
const ROOMS: [&str; 3] = ["millrace-sim", "millrace-log", "millrace-server"];

/// How many schedules, or which one.
#[derive(Args, Debug)]
pub(crate) struct SchedulesArguments {
    /// Schedules of each model; four times as many where a run is short.
    #[arg(long, default_value_t = COUNT)]
    count: usize,
    /// Where the draws begin.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A few schedules that are always the same.
    #[arg(long, conflicts_with_all = ["count", "seed", "replay"])]
    smoke: bool,
    /// A schedule that failed, by the file that it was left in.
    #[arg(long)]
    replay: Option<PathBuf>,
}

/// Runs the suite.
pub(crate) fn run(arguments: &SchedulesArguments) -> Outcome {
    let dir = binaries::target_directory()?.join("schedules-report");
    if arguments.replay.is_none() && dir.exists() {
        fs::remove_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    }
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut cargo = binaries::cargo();
    cargo.args(["test", "--quiet", "--locked", "--profile", "schedules"]);
    for room in ROOMS {
        let feature = format!("{room}/schedules");
        cargo.args(["--package", room, "--features", &feature]);
    }
    cargo.args(["--lib", "--test", "schedules", "--", "schedules"]);
    let count = if arguments.smoke {
        SMOKE_COUNT
    } else {
        arguments.count
    };
    cargo.env("SCHEDULES_DIR", &dir);
    cargo.env("SCHEDULES_COUNT", count.to_string());
    cargo.env("SCHEDULES_SEED", arguments.seed.to_string());
    if let Some(file) = &arguments.replay {
        let file = fs::canonicalize(file);
        let file = file.map_err(|error| format!("the schedule can't be read: {error}"))?;
        cargo.env("SCHEDULES_REPLAY", file);
    }
    let outcome = succeed(&mut cargo);
    report(&dir)?;
    outcome.map_err(|error| format!("{error}{}", replays(&dir)))
}

/// Prints what every model did, and all schedules together.
fn report(dir: &Path) -> Outcome {
    let report = fs::read_to_string(dir.join("report"));
    let report = report.map_err(|error| format!("no model told what it did: {error}"))?;
    let mut lines: Vec<&str> = report.lines().collect();
    lines.sort_unstable();
    let mut total = 0_u64;
    for line in lines {
        println(line);
        let mut words = line.split_whitespace().skip(1);
        let count = words.next().and_then(|word| word.parse::<u64>().ok());
        total += count
            .filter(|_| words.next() == Some("schedules,"))
            .unwrap_or(0);
    }
    println(&format!("{total} schedules in all"));
    Ok(())
}

/// A command for each schedule that failed.
fn replays(dir: &Path) -> String {
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
    let models = entries(dir).filter(|entry| entry.path().is_dir());
    let files = models.flat_map(|model| entries(&model.path()).collect::<Vec<_>>());
    let command = "\nagain: cargo xtask schedules --replay ";
    let commands: Vec<String> = files
        .map(|file| format!("{command}{}", file.path().display()))
        .collect();
    commands.concat()
}
