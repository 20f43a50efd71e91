//! The whole broker in the simulation: fresh seeds for some time, seeds that are always the same, or
//! one seed again. `cargo xtask sim` builds and runs it.
//!
//! A suite runs in two processes, one for each core: what a run reaches is counted by its thread.

use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use millrace_host::real::{Options, RealHost};
use millrace_tests::faults::Only;
use millrace_tests::seeds::once_failed;
use millrace_tests::shape::Row;
use millrace_tests::shrink::{command, in_words, shrink};
use millrace_tests::simulation::{Failure, Setup, run_setup};
use millrace_tests::tally::{Least, Tally};
use serde_json::Value;
use tracing_subscriber::EnvFilter;

/// Processes of a suite.
const PARTS: u64 = 2;
/// How long a failure is shrunk.
const SHRINK_FOR: Duration = Duration::from_secs(90);
/// What the smoke must show.
const LEAST: Least = Least {
    records: 1_000_000,
    faults: 2_000,
};

/// Seeds of the fixed range that fail, and what nobody has explained or mended yet: each is a finding
/// that every run tells, and leaves this list when it is.
const OPEN: &[(u64, &str)] = &[];

fn is_open(seed: u64) -> bool {
    OPEN.iter().any(|(open, _)| *open == seed)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["seed", seed] => replay(seed, "-", "-"),
        ["seed", seed, row, only] => replay(seed, row, only),
        ["seconds", seconds] => suite(&["fresh", seconds], None),
        ["range", first, count] => suite(&["fixed", first, count], Some(LEAST)),
        ["shrink", seed] => again(seed),
        ["survey", first, count] => survey(first, count),
        ["fresh", seconds, _] => number(seconds).and_then(fresh),
        ["fixed", first, count, part] => fixed(first, count, part),
        _ => Err(usage()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("sim: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> String {
    "usage: sim seed N [ROW|- NUMBERS|none|-] | sim seconds N | sim range FIRST COUNT \
     | sim survey FIRST COUNT | sim shrink N"
        .to_owned()
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| usage())
}

/// One seed again, of one row when a test of that row failed, with its last events when it fails.
/// `RUST_LOG` makes the broker talk.
fn replay(seed: &str, row: &str, only: &str) -> Result<(), String> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .without_time()
        .init();
    let named = |name: &str| {
        let mut rows = Row::ALL.into_iter();
        rows.find(|row| format!("{row:?}") == name)
            .ok_or_else(|| format!("the rows are {:?}", Row::ALL))
    };
    let numbers = |list: &str| {
        let numbers = list
            .split(',')
            .filter(|one| !one.is_empty() && *one != "none");
        let numbers: Result<Vec<u32>, _> = numbers.map(str::parse).collect();
        numbers.map(Only::of).map_err(|_| usage())
    };
    let setup = Setup {
        seed: number(seed)?,
        keep_lines: true,
        row: (row != "-").then(|| named(row)).transpose()?,
        only: (only != "-").then(|| numbers(only)).transpose()?,
        ..Setup::default()
    };
    eprintln!("sim: the faults:\n{}", in_words(setup));
    let outcome = run_setup(setup).map_err(|failure| failure.reason)?;
    eprintln!("sim: seed {seed}: {outcome:#?}");
    Ok(())
}

/// Runs the same suite in as many processes as there are parts, and shows what they came to.
fn suite(arguments: &[&str], least: Option<Least>) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let part = |part: u64| {
        let mut command = Command::new(&program);
        command.args(arguments).arg(part.to_string());
        let child = command.stdout(Stdio::piped()).spawn();
        child.map_err(|error| format!("can't start a part: {error}"))
    };
    let parts: Vec<_> = (0..PARTS).map(part).collect::<Result<_, _>>()?;
    let (mut tally, mut hashes, mut failed) = (Tally::default(), Vec::new(), false);
    for part in parts {
        let output = part.wait_with_output().map_err(|error| error.to_string())?;
        failed |= !output.status.success();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let last = text.lines().last().unwrap_or_default();
        let said: Value = serde_json::from_str(last).unwrap_or_default();
        if let Some(of_part) = Tally::from_json(&said) {
            tally.merge(&of_part);
            hashes.push(said.get("hash").and_then(Value::as_u64));
        }
    }
    eprintln!("{}", tally.table());
    for (seed, what) in OPEN {
        eprintln!("sim: seed {seed} is an open finding: {what}");
    }
    if failed {
        return Err("a seed failed; the command that runs it again stands above".to_owned());
    }
    if hashes.iter().any(|hash| *hash != hashes[0]) {
        return Err(format!("one seed is two runs in two processes: {hashes:?}"));
    }
    least.map_or(Ok(()), |least| tally.shows(least))
}

/// Seeds that nobody has tried, until time is up or one fails.
fn fresh(seconds: u64) -> Result<(), String> {
    let machine = RealHost::start(&Options::default()).map_err(|error| error.to_string())?;
    let host = machine.host();
    let deadline = host.clock.now().mono + Duration::from_secs(seconds);
    // Short enough to be typed.
    let seeds = std::iter::repeat_with(|| host.rng.next_u64() >> 24);
    let seeds = seeds.take_while(|_| host.clock.now().mono < deadline);
    all(seeds.map(setup), None)
}

/// The same seeds each time: what a gate may depend on, and all that ever failed. Every part runs the
/// first one too, so that two processes can be held against each other, and a seed of its rows twice.
fn fixed(first: &str, count: &str, part: &str) -> Result<(), String> {
    let (first, count, part) = (number(first)?, number(count)?, number(part)?);
    let step = usize::try_from(PARTS).unwrap_or(usize::MAX);
    let mine = (first + 1 + part..first.saturating_add(count)).step_by(step);
    let mine = mine.filter(|seed| !is_open(*seed)).map(setup);
    let outcome = run_setup(setup(first)).map_err(|failure| failure.reason)?;
    for row in Row::ALL.into_iter().skip(part as usize).step_by(step) {
        same_twice(row)?;
    }
    let once_failed = once_failed().skip(part as usize).step_by(step);
    all(once_failed.chain(mine), Some(outcome.trace.hash))
}

/// Whatever the row, and the faults that it has of its own, a seed is one run.
fn same_twice(row: Row) -> Result<(), String> {
    let setup = Setup {
        row: Some(row),
        ..setup(row as u64)
    };
    let run = || run_setup(setup).map_err(|failure| explain(setup, failure));
    if run()? == run()? {
        return Ok(());
    }
    Err(format!("{} is two runs", command(setup)))
}

/// One seed that fails, with the faults that it takes.
fn again(seed: &str) -> Result<(), String> {
    let setup = setup(number(seed)?);
    match run_setup(setup) {
        Ok(_) => Ok(()),
        Err(failure) => Err(explain(setup, failure)),
    }
}

/// Every failure of some seeds, a line each, and the table of the others.
fn survey(first: &str, count: &str) -> Result<(), String> {
    let (first, count) = (number(first)?, number(count)?);
    let mut tally = Tally::default();
    for seed in first..first.saturating_add(count) {
        eprintln!("sim: seed {seed}");
        match run_setup(setup(seed)) {
            Ok(outcome) => tally.add(&outcome),
            Err(failure) => {
                let reason: Vec<&str> = failure.reason.lines().take(2).collect();
                say(format_args!("{:?} {}", failure.rules, reason.join(" ")));
            }
        }
    }
    say(format_args!("{}", tally.table()));
    Ok(())
}

fn setup(seed: u64) -> Setup {
    Setup {
        seed,
        ..Setup::default()
    }
}

/// Runs seeds until one fails, and says what they came to in one line of output.
fn all(setups: impl Iterator<Item = Setup>, hash: Option<u64>) -> Result<(), String> {
    let mut tally = Tally::default();
    let mut failed = Ok(());
    for setup in setups {
        match run_setup(setup) {
            Ok(outcome) => tally.add(&outcome),
            Err(failure) => {
                failed = Err(explain(setup, failure));
                break;
            }
        }
    }
    let mut said = tally.to_json();
    if let Some(hash) = hash {
        said["hash"] = hash.into();
    }
    say(format_args!("{said}"));
    failed
}

/// A line for whoever runs this program.
#[expect(clippy::print_stdout, reason = "the output of a developer's tool")]
fn say(line: std::fmt::Arguments<'_>) {
    println!("{line}");
}

/// A failure with the faults that it takes, and the command that shows it again.
fn explain(setup: Setup, failure: Failure) -> String {
    eprintln!(
        "sim: {}\nsim: again: {}; it is shrunk now",
        failure.reason,
        command(setup)
    );
    let Ok(machine) = RealHost::start(&Options::default()) else {
        return failure.reason;
    };
    let host = machine.host();
    let until = host.clock.now().mono + SHRINK_FOR;
    let shrunk = shrink(setup, failure, || host.clock.now().mono < until);
    let only = Some(shrunk.only);
    let setup = Setup { only, ..setup };
    format!(
        "{}\nthe faults that it takes, found in {} tries:\n{}\nagain: {}",
        shrunk.failure.reason,
        shrunk.tries,
        in_words(setup),
        command(setup)
    )
}
