//! `cargo xtask tsan`: the broker under `ThreadSanitizer` with load of every kind, std built with it
//! too. Needs a nightly compiler and std's source of the same time; C code (zstd) is not watched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::process::{println, succeed};
use crate::{Outcome, binaries, root};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// With what, and for how long.
#[derive(Args, Debug)]
pub(crate) struct TsanArguments {
    /// Seconds of load in each of the broker's two lives.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The toolchain that has the sanitizer.
    #[arg(long, default_value = "nightly")]
    toolchain: String,
    /// The `library` directory of the compiler's source, where rustup can't bring `rust-src`.
    #[arg(long)]
    library: Option<PathBuf>,
}

/// Runs the suite.
pub(crate) fn run(arguments: &TsanArguments) -> Outcome {
    let directory = binaries::target_directory()?.join("tsan");
    build(arguments, &directory)?;
    let binary = directory.join(TARGET).join("release/millrace");
    let reports = tempfile::tempdir().map_err(|error| error.to_string())?;
    let options = format!(
        "halt_on_error=0 log_path={} suppressions={}",
        reports.path().join("report").display(),
        root().join("xtask/src/tsan.supp").display()
    );
    let package = ["run", "--quiet", "--locked", "--package", "millrace-tests"];
    let mut load = binaries::cargo();
    load.args(package).args(["--example", "load", "--"]);
    load.arg(&binary).arg(arguments.seconds.to_string());
    let loaded = succeed(load.env("TSAN_OPTIONS", options));
    let count = races(reports.path())?;
    loaded?;
    if count > 0 {
        return Err(format!("{count} reports of ThreadSanitizer"));
    }
    println("ThreadSanitizer reported nothing");
    Ok(())
}

fn build(arguments: &TsanArguments, directory: &Path) -> Outcome {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root());
    // The cargo that runs us is another toolchain's.
    for variable in ["CARGO", "RUSTUP_TOOLCHAIN", "RUSTC"] {
        cargo.env_remove(variable);
    }
    cargo.arg(format!("+{}", arguments.toolchain));
    cargo.args(["build", "--release", "--locked", "--package", "millrace"]);
    cargo.args(["-Zbuild-std=std,panic_unwind", "--target", TARGET]);
    cargo.arg("--target-dir").arg(directory);
    cargo.env("RUSTFLAGS", "-Zsanitizer=thread");
    for (key, value) in [
        ("LTO", "off"),
        ("OPT_LEVEL", "1"),
        ("DEBUG_ASSERTIONS", "true"),
    ] {
        cargo.env(format!("CARGO_PROFILE_RELEASE_{key}"), value);
    }
    if let Some(library) = &arguments.library {
        // The only way to tell cargo of a source that rustup did not bring.
        cargo.env("__CARGO_TESTS_ONLY_SRC_ROOT", library);
    }
    succeed(&mut cargo)
}

/// Prints what was reported and counts it.
fn races(directory: &Path) -> Result<usize, String> {
    let mut count = 0;
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let report = fs::read_to_string(entry.path()).map_err(|error| error.to_string())?;
        count += report.matches("WARNING: ThreadSanitizer").count();
        println(&report);
    }
    Ok(count)
}
