//! kafka-python, in a virtual environment of its own: `tests/clients/kafka_python.py`.

use std::path::PathBuf;
use std::process::Command;

use super::{Served, place};
use crate::packages::need;
use crate::process::{output, println, succeed};
use crate::{Outcome, root};

/// The client and the codecs that it leaves to other packages, each a version that is known to work.
const PACKAGES: [&str; 4] = [
    "kafka-python==3.0.12",
    "lz4==4.4.4",
    "python-snappy==0.7.3",
    "zstandard==0.23.0",
];

/// Runs the client.
pub(super) fn run(broker: &Served) -> Outcome {
    let python = install()?;
    let script = root().join("tests/clients/kafka_python.py");
    let said = output(Command::new(&python).arg(script).arg(&broker.address))?;
    println(said.trim());
    Ok(())
}

/// Installs it where it is missing; the interpreter that has it.
pub(crate) fn install() -> Result<PathBuf, String> {
    need("python3", "python3-venv")?;
    let place = place("kafka-python")?;
    let python = place.join("bin/python");
    if !python.exists() {
        succeed(Command::new("python3").args(["-m", "venv"]).arg(&place))?;
    }
    // Does nothing when they are there.
    succeed(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet"])
            .args(PACKAGES),
    )?;
    Ok(python)
}
