//! `cargo xtask sim`: the whole broker in the simulation with fresh seeds for as long as asked, or
//! one seed again. The program is `tests/examples/sim.rs`; it prints the command that replays a
//! seed that failed.

use clap::Args;

use crate::{Outcome, binaries};

/// Seconds of a smoke.
const SMOKE_SECONDS: u64 = 60;

/// Which seeds.
#[derive(Args, Debug)]
pub(crate) struct SimArguments {
    /// For how long to try fresh seeds.
    #[arg(long, default_value_t = 600, conflicts_with = "seed")]
    seconds: u64,
    /// This seed, once, with its last events when it fails.
    #[arg(long)]
    seed: Option<u64>,
    /// A minute of fresh seeds.
    #[arg(long, conflicts_with_all = ["seed", "seconds"])]
    smoke: bool,
}

/// Runs the suite.
pub(crate) fn run(arguments: &SimArguments) -> Outcome {
    let arguments = match arguments.seed {
        Some(seed) => ["seed".to_owned(), seed.to_string()],
        None if arguments.smoke => ["seconds".to_owned(), SMOKE_SECONDS.to_string()],
        None => ["seconds".to_owned(), arguments.seconds.to_string()],
    };
    binaries::run_example("sim", &arguments)
}
