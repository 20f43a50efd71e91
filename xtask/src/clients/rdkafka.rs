//! The rdkafka crate: `tests/clients/rdkafka`, a package of its own outside the workspace.

use std::path::PathBuf;
use std::process::Command;

use super::{Served, place};
use crate::packages::need;
use crate::process::{output, println, succeed};
use crate::{Outcome, root};

/// Runs the client.
pub(super) fn run(broker: &Served) -> Outcome {
    let program = build("millrace-rdkafka-client")?;
    let said = output(Command::new(program).arg(&broker.address))?;
    println(said.trim());
    Ok(())
}

/// Builds the package where it isn't; where the program `name` of it is.
pub(crate) fn build(name: &str) -> Result<PathBuf, String> {
    need("make", "make")?;
    need("cc", "gcc")?;
    let place = place("rdkafka")?;
    let manifest = root().join("tests/clients/rdkafka/Cargo.toml");
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
    Ok(place.join("release").join(name))
}
