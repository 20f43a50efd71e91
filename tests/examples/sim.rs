//! The whole broker in the simulation, on fresh seeds for some time or on one seed again.
//! `cargo xtask sim` builds and runs it.

use std::process::ExitCode;
use std::time::Duration;

use millrace_host::real::{Options, RealHost};
use millrace_tests::shape::Row;
use millrace_tests::simulation::{Setup, run, run_setup};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["seed", seed] => replay(seed, None),
        ["seed", seed, row] => replay(seed, Some(row)),
        ["seconds", seconds] => seconds.parse().map_err(|_| usage()).and_then(fresh),
        ["range", first, count] => range(first, count),
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
    "usage: sim seed N [ROW] | sim seconds N | sim range FIRST COUNT".to_owned()
}

/// One seed again, of one row when a test of that row failed, with its last events when it fails.
/// `RUST_LOG` makes the broker talk.
fn replay(seed: &str, row: Option<&str>) -> Result<(), String> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .without_time()
        .init();
    let named = |name: &str| {
        let mut rows = Row::ALL.into_iter();
        rows.find(|row| format!("{row:?}") == name)
            .ok_or_else(|| format!("the rows are {:?}", Row::ALL))
    };
    let setup = Setup {
        seed: seed.parse().map_err(|_| usage())?,
        keep_lines: true,
        row: row.map(named).transpose()?,
        bug: None,
    };
    let outcome = run_setup(setup).map_err(|failure| failure.reason)?;
    eprintln!("sim: seed {seed}: {outcome:#?}");
    Ok(())
}

/// Seeds that nobody has tried, until time is up or one fails.
fn fresh(seconds: u64) -> Result<(), String> {
    let machine = RealHost::start(&Options::default()).map_err(|error| error.to_string())?;
    let host = machine.host();
    let deadline = host.clock.now().mono + Duration::from_secs(seconds);
    // Short enough to be typed.
    let seeds = std::iter::repeat_with(|| host.rng.next_u64() >> 24);
    all(seeds.take_while(|_| host.clock.now().mono < deadline))
}

/// The same seeds each time: what a gate may depend on.
fn range(first: &str, count: &str) -> Result<(), String> {
    let number = |text: &str| text.parse::<u64>().map_err(|_| usage());
    let first = number(first)?;
    all(first..first.saturating_add(number(count)?))
}

/// Runs seeds until one fails.
fn all(seeds: impl Iterator<Item = u64>) -> Result<(), String> {
    let (mut runs, mut owed, mut ends) = (0_u64, 0, [0; 3]);
    for seed in seeds {
        let outcome = run(seed, false).map_err(|reason| {
            format!("{reason}\nafter {runs} sound runs; again: cargo xtask sim --seed {seed}")
        })?;
        runs += 1;
        owed += outcome.owed;
        ends.iter_mut()
            .zip(outcome.ends)
            .for_each(|(sum, n)| *sum += n);
    }
    let [power_cuts, kills, stops] = ends;
    eprintln!(
        "sim: {runs} runs, {power_cuts} power cuts, {kills} kills, {stops} stops; \
         {owed} records owed, every one present, once, in order, at its offset"
    );
    Ok(())
}
