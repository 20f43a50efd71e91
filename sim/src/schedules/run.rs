//! How a model is run: by how many schedules, of which kinds, and one again.
//!
//! The environment says how often (`SCHEDULES_COUNT`, for each model; several times as often where
//! a run is short), from which seed (`SCHEDULES_SEED`), where a schedule that fails is left and what
//! was done is told (`SCHEDULES_DIR`), and which one is run again (`SCHEDULES_REPLAY`, a file below
//! that directory, in a directory named after its model).

use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

/// Schedules of a model when the environment doesn't say.
const COUNT: usize = 1_000;
/// How often a schedule of the second kind takes the turn from the task that goes first.
const PCT_DEPTH: usize = 3;
/// Scheduling points in one run of a model, at most: no model has a tenth of it.
const STEPS_MAX: usize = 100_000;
/// Bytes of one task's stack: unoptimised code needs more than shuttle's 60 KiB.
const STACK: usize = 512 * 1024;

fn set<T: FromStr>(name: &str) -> Option<T> {
    env::var(name).ok()?.parse().ok()
}

fn config(failures: FailurePersistence) -> Config {
    let mut config = Config::new();
    config.stack_size = STACK;
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    config.failure_persistence = failures;
    // Orders weaker than SeqCst are not modelled: host::sync says so.
    config.silence_warnings = true;
    config
}

/// The file of the directory in which each model tells what was done, a line each.
const REPORT: &str = "report";

/// Tells people and whoever adds up.
#[expect(clippy::print_stdout, reason = "what a suite did is read by people")]
fn say(line: &str) {
    println!("{line}");
    if let Some(dir) = set::<PathBuf>("SCHEDULES_DIR") {
        let report = OpenOptions::new()
            .create(true)
            .append(true)
            .open(dir.join(REPORT));
        // One write: models run side by side.
        let told = report.and_then(|mut report| report.write_all(format!("{line}\n").as_bytes()));
        told.expect("the report can be written");
    }
}

/// How long one run of a model is, against others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Hundreds of steps: a log directory is opened.
    Long,
    /// A few dozen.
    Short,
}

impl Length {
    /// How many times as many schedules are due.
    fn times(self) -> usize {
        match self {
            Self::Long => 1,
            Self::Short => 4,
        }
    }
}

/// Runs a model: half of its schedules drawn at every step, half by PCT, which finds what needs a
/// few changes at the right places.
///
/// # Panics
/// When a run does, or its tasks wait for each other; the schedule is left behind.
#[expect(
    clippy::disallowed_methods,
    reason = "how long a suite took is no part of a run"
)]
pub fn explore(model: &str, length: Length, body: impl Fn() + Send + Sync + 'static) {
    let dir: Option<PathBuf> = set("SCHEDULES_DIR");
    let dir = dir.map(|dir| dir.join(model));
    if let Some(file) = set::<PathBuf>("SCHEDULES_REPLAY") {
        if dir.is_some_and(|dir| file.starts_with(dir)) {
            let scheduler =
                ReplayScheduler::new_from_file(&file).expect("the schedule is readable");
            Runner::new(scheduler, config(FailurePersistence::None)).run(body);
            say(&format!("{model}: {} did not fail", file.display()));
        }
        return;
    }
    let failures = match &dir {
        Some(dir) => {
            std::fs::create_dir_all(dir).expect("a directory for failing schedules can be made");
            FailurePersistence::File(Some(dir.clone()))
        }
        None => FailurePersistence::Print,
    };
    let count: usize = set("SCHEDULES_COUNT").unwrap_or(COUNT);
    let count = count * length.times();
    let seed = set("SCHEDULES_SEED").unwrap_or(1);
    let started = Instant::now();
    let body = Arc::new(body);
    let same = Arc::clone(&body);
    let drawn = RandomScheduler::new_from_seed(seed, count - count / 2);
    let drawn = Runner::new(drawn, config(failures.clone())).run(move || body());
    let pct = PctScheduler::new_from_seed(seed, PCT_DEPTH, count / 2);
    let pct = Runner::new(pct, config(failures)).run(move || same());
    let seconds = started.elapsed().as_secs_f32();
    say(&format!(
        "{model}: {} schedules, {drawn} drawn and {pct} by PCT, in {seconds:.1} s",
        drawn + pct
    ));
}

/// Runs a model into which a bug was planted: it must fail, within the schedules of a smoke.
///
/// # Panics
/// When it doesn't.
pub fn caught(model: &str, bug: &str, body: impl Fn() + Send + Sync + 'static) {
    if env::var_os("SCHEDULES_REPLAY").is_some() {
        return;
    }
    let runs = Arc::new(AtomicUsize::new(0));
    let begun = Arc::clone(&runs);
    let body = Arc::new(body);
    let result = catch_unwind(AssertUnwindSafe(|| {
        let counted = || {
            let (begun, body) = (Arc::clone(&begun), Arc::clone(&body));
            move || {
                begun.fetch_add(1, Ordering::Relaxed);
                body();
            }
        };
        let drawn = RandomScheduler::new_from_seed(1, COUNT - COUNT / 2);
        Runner::new(drawn, config(FailurePersistence::None)).run(counted());
        let pct = PctScheduler::new_from_seed(1, PCT_DEPTH, COUNT / 2);
        Runner::new(pct, config(FailurePersistence::None)).run(counted());
    }));
    assert!(
        result.is_err(),
        "{model} did not find {bug} in {COUNT} schedules"
    );
    let runs = runs.load(Ordering::Relaxed);
    say(&format!("{model}: found {bug} at schedule {runs}"));
}
