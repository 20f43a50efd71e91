//! The crates' drivers: `tests/clients/rdkafka` and `rskafka`, packages of their own outside the
//! workspace.

use std::path::PathBuf;
use std::process::Command;

use super::place;
use crate::packages::need;
use crate::process::succeed;
use crate::root;

/// The rdkafka crate's driver.
pub(super) fn rdkafka() -> Result<Vec<String>, String> {
    let program = build_rdkafka("millrace-rdkafka-client")?;
    Ok(vec![program.display().to_string()])
}

/// rskafka's driver.
pub(super) fn rskafka() -> Result<Vec<String>, String> {
    let built = build("rskafka")?.join("millrace-rskafka-client");
    Ok(vec![built.display().to_string()])
}

/// Builds the rdkafka crate's package where it isn't; where the program `name` of it is.
pub(crate) fn build_rdkafka(name: &str) -> Result<PathBuf, String> {
    need("make", "make")?;
    need("cc", "gcc")?;
    Ok(build("rdkafka")?.join(name))
}

/// Builds a package; where its programs are.
fn build(package: &str) -> Result<PathBuf, String> {
    let place = place(package)?;
    let manifest = root().join(format!("tests/clients/{package}/Cargo.toml"));
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build
        .args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--manifest-path",
        ])
        .arg(manifest);
    succeed(build.arg("--target-dir").arg(&place))?;
    Ok(place.join("release"))
}
