//! `cargo xtask SUITE`: what a developer runs that `cargo test` does not. One file per suite; a
//! suite is a row in [`Suite`] and a `run` that says what failed.

mod process;
mod readme;
mod vectors;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Developer commands of Millrace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    suite: Suite,
}

#[derive(Debug, Subcommand)]
enum Suite {
    /// Runs the README's first two commands literally, in a clone in a directory of its own.
    Readme,
    /// Records Kafka's own bytes for every message and version (needs a JDK and Maven).
    Vectors,
}

/// What a suite comes back with: on failure, what failed and where to look.
type Outcome = Result<(), String>;

fn main() -> ExitCode {
    let outcome = match Arguments::parse().suite {
        Suite::Readme => readme::run(),
        Suite::Vectors => vectors::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the repository.
fn root() -> std::path::PathBuf {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("xtask is a directory of the workspace")
        .to_owned()
}
