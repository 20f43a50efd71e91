//! franz-go and Sarama, the Go clients: `tests/clients/go`, a module of its own.

use std::process::Command;

use super::{Served, place};
use crate::packages::need;
use crate::process::{output, println, succeed};
use crate::{Outcome, root};

/// Runs the clients.
pub(super) fn run(broker: &Served) -> Outcome {
    need("go", "golang-go")?;
    let program = place("go")?.join("clients");
    let mut build = Command::new("go");
    build.args(["build", "-mod=readonly", "-o"]).arg(&program);
    succeed(build.current_dir(root().join("tests/clients/go")))?;
    let said = output(Command::new(program).arg(&broker.address))?;
    println(said.trim());
    Ok(())
}
