//! The Go clients, franz-go, Sarama and kafka-go: `tests/clients/go`, a module of its own with a
//! program for each.

use std::process::Command;

use super::place;
use crate::packages::need;
use crate::process::succeed;
use crate::root;

/// franz-go.
pub(super) fn franz_go() -> Result<Vec<String>, String> {
    build("franz")
}

/// Sarama.
pub(super) fn sarama() -> Result<Vec<String>, String> {
    build("sarama")
}

/// kafka-go.
pub(super) fn kafka_go() -> Result<Vec<String>, String> {
    build("kafkago")
}

fn build(program: &str) -> Result<Vec<String>, String> {
    need("go", "golang-go")?;
    let built = place("go")?.join(program);
    let mut build = Command::new("go");
    build.args(["build", "-mod=readonly", "-o"]).arg(&built);
    build.arg(format!("./{program}"));
    succeed(build.current_dir(root().join("tests/clients/go")))?;
    Ok(vec![built.display().to_string()])
}
