//! Building what a suite runs: the shipped binary, and the programs of the tests' room.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::process::succeed;
use crate::root;

/// Cargo, the one that runs us where there is one.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Builds the shipped binary for a suite and says where it is: as it ships, but for the minutes that
/// its last optimisation takes.
pub(crate) fn millrace() -> Result<PathBuf, String> {
    let mut build = cargo();
    build
        .arg("build")
        .args(UNSHIPPED)
        .args(["--package", "millrace"]);
    succeed(&mut build)?;
    Ok(target_directory()?.join("hunt/millrace"))
}

/// Builds it as it ships and says where it is: to give it away, and to measure it.
pub(crate) fn millrace_as_shipped() -> Result<PathBuf, String> {
    succeed(cargo().args(["build", "--release", "--locked", "--package", "millrace"]))?;
    Ok(target_directory()?.join("release/millrace"))
}

/// The binary that somebody chose, by a name that holds in any directory; else a suite's, built.
pub(crate) fn chosen(binary: Option<&Path>) -> Result<PathBuf, String> {
    let Some(binary) = binary else {
        return millrace();
    };
    binary
        .canonicalize()
        .map_err(|error| format!("{}: {error}", binary.display()))
}

/// How programs are built that don't ship: nearly as fast as what does, without the minutes that its
/// last optimisation takes for each.
pub(crate) const UNSHIPPED: [&str; 3] = ["--profile", "hunt", "--locked"];

/// Where cargo puts the examples among them, below the target directory.
pub(crate) const UNSHIPPED_EXAMPLES: &str = "hunt/examples";

/// Builds and runs a program of the tests' room (an example there, so that it does not ship).
pub(crate) fn run_example(name: &str, arguments: &[String]) -> Result<(), String> {
    let mut command = cargo();
    command.args(["run", "--quiet"]).args(UNSHIPPED);
    command.args(["--package", "millrace-tests", "--example", name, "--"]);
    succeed(command.args(arguments))
}

/// Where cargo puts what it builds.
pub(crate) fn target_directory() -> Result<PathBuf, String> {
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version=1"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run cargo metadata: {error}"))?;
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cargo metadata says nothing readable: {error}"))?;
    let directory = metadata["target_directory"].as_str();
    directory
        .map(PathBuf::from)
        .ok_or_else(|| "cargo metadata names no target directory".into())
}
