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
const UNSHIPPED: [&str; 3] = ["--profile", "hunt", "--locked"];

/// The rooms with programs that suites run. They are built together always: by itself each takes
/// other features of some crate at the bottom, and everything above it would be compiled again.
const ROOMS: [&str; 3] = ["millrace-tests", "millrace-images", "millrace-differential"];

/// Builds a program of these rooms (an example there, so that it does not ship), to be run.
pub(crate) fn example(name: &str) -> Result<Command, String> {
    let mut build = cargo();
    build.args(["build", "--quiet"]).args(UNSHIPPED);
    for room in ROOMS {
        build.args(["--package", room]);
    }
    succeed(build.args(["--example", name]))?;
    let mut program = Command::new(target_directory()?.join("hunt/examples").join(name));
    program.current_dir(root());
    Ok(program)
}

/// Builds and runs a program of these rooms.
pub(crate) fn run_example(name: &str, arguments: &[String]) -> Result<(), String> {
    succeed(example(name)?.args(arguments))
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
