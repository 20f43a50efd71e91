//! `cargo xtask faults`: the broker in trouble that a machine can make: syncs, writes and
//! reads that strace answers in the kernel's place, a full tmpfs, few descriptors, a memory cgroup.
//! The scenarios are in `tests/examples/faults/`. Two of them take root; each says so.

use clap::Args;

use crate::packages::need;
use crate::{Outcome, binaries};

/// Which scenarios.
#[derive(Args, Debug)]
pub(crate) struct FaultsArguments {
    /// Only this one; may be given again. A wrong name lists them.
    #[arg(long)]
    only: Vec<String>,
    /// All of them, shorter.
    #[arg(long)]
    smoke: bool,
}

/// Runs the suite.
pub(crate) fn run(arguments: &FaultsArguments) -> Outcome {
    need("strace", "strace")?;
    need("prlimit", "util-linux")?;
    let binary = binaries::millrace()?;
    let length = if arguments.smoke { "smoke" } else { "full" };
    let mut words = vec![binary.display().to_string(), length.to_owned()];
    words.extend(arguments.only.iter().cloned());
    binaries::run_example("faults", &words)
}
