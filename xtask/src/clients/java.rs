//! Apache Kafka's own Java consumers and administrator in groups: `xtask/java/Groups.java`, which
//! Java runs from its source.

use std::process::Command;

use super::Served;
use crate::packages::need;
use crate::process::{output, println};
use crate::{Outcome, root};

/// Runs the client.
pub(super) fn run(broker: &Served) -> Outcome {
    need("java", "default-jdk-headless")?;
    need("mvn", "maven")?;
    let mut peer = Command::new(root().join("xtask/kafka-peer"));
    let source = root().join("xtask/java/Groups.java");
    let said = output(peer.arg("class").arg(source).arg(&broker.address))?;
    println(said.trim());
    Ok(())
}
