//! `cargo xtask kills`: kills the release binary again and again while producers write, and holds
//! its logs against what it promised. The loop itself is `tests/examples/kills.rs`.

use clap::Args;

use crate::{Outcome, binaries};

/// Kills of a smoke: enough for both signals, a kill during recovery and a full check.
const SMOKE_KILLS: u64 = 12;

/// How often.
#[derive(Args, Debug)]
pub(crate) struct KillsArguments {
    /// How many kills; kill -9 and SIGTERM in turn.
    #[arg(long, default_value_t = 200)]
    count: u64,
    /// Only a few.
    #[arg(long)]
    smoke: bool,
}

/// Runs the suite.
pub(crate) fn run(arguments: &KillsArguments) -> Outcome {
    let binary = binaries::millrace()?;
    let count = if arguments.smoke {
        SMOKE_KILLS
    } else {
        arguments.count
    };
    binaries::run_example("kills", &[binary.display().to_string(), count.to_string()])
}
