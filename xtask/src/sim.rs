//! `cargo xtask sim`: the whole broker in the simulation with fresh seeds for as long as asked, or
//! one seed again. The program is `tests/examples/sim.rs`; it shrinks the faults of a seed that fails
//! and prints the command that replays it with them.

use clap::Args;

use crate::{Outcome, binaries};

/// The seeds of a smoke: always the same, so that a gate depends on no draw.
pub(crate) const SMOKE_FIRST: u64 = 1_000;
pub(crate) const SMOKE_COUNT: u64 = 300;

/// Which seeds.
#[derive(Args, Debug)]
pub(crate) struct SimArguments {
    /// For how long to try fresh seeds.
    #[arg(long, default_value_t = 600, conflicts_with = "seed")]
    seconds: u64,
    /// This seed, once, with its last events when it fails.
    #[arg(long)]
    seed: Option<u64>,
    /// That seed judged by this row of promises; drawn from the seed otherwise.
    #[arg(long, requires = "seed")]
    row: Option<String>,
    /// That seed with these of its faults only: numbers with commas between them, or `none`.
    #[arg(long, requires = "seed")]
    only: Option<String>,
    /// Seeds that are always the same, which must show enough.
    #[arg(long, conflicts_with_all = ["seed", "seconds"])]
    smoke: bool,
}

/// Runs the suite.
pub(crate) fn run(arguments: &SimArguments) -> Outcome {
    let arguments = match arguments.seed {
        Some(seed) => {
            let or_drawn = |said: &Option<String>| said.clone().unwrap_or_else(|| "-".to_owned());
            let (row, only) = (or_drawn(&arguments.row), or_drawn(&arguments.only));
            vec!["seed".to_owned(), seed.to_string(), row, only]
        }
        None if arguments.smoke => {
            vec![
                "range".to_owned(),
                SMOKE_FIRST.to_string(),
                SMOKE_COUNT.to_string(),
            ]
        }
        None => vec!["seconds".to_owned(), arguments.seconds.to_string()],
    };
    binaries::run_example("sim", &arguments)
}
