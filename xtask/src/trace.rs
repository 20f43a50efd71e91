//! `cargo xtask trace`: the broker under strace and load: for every acknowledged acks=all
//! request, write → sync returned → answer sent; and without its syncs the same check fails. The
//! program is `tests/examples/trace.rs`.

use clap::Args;

use crate::packages::need;
use crate::{Outcome, binaries};

/// Batches of each small producer in a smoke.
const SMOKE_BATCHES: u64 = 150;

/// How much load.
#[derive(Args, Debug)]
pub(crate) struct TraceArguments {
    /// Batches of each of the four producers of small batches; others send in proportion.
    #[arg(long, default_value_t = 1500)]
    batches: u64,
    /// Only a few.
    #[arg(long)]
    smoke: bool,
}

/// Runs the suite.
pub(crate) fn run(arguments: &TraceArguments) -> Outcome {
    need("strace", "strace")?;
    need("kcat", "kcat")?;
    let binary = binaries::millrace()?;
    let batches = if arguments.smoke {
        SMOKE_BATCHES
    } else {
        arguments.batches
    };
    binaries::run_example(
        "trace",
        &[binary.display().to_string(), batches.to_string()],
    )
}
