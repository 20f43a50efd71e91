//! `cargo xtask kills`: kills the broker again and again while producers write, and holds
//! its logs against what it promised. The loop itself is `tests/examples/kills.rs`. Beside our own
//! clients kafka-python, librdkafka and Apache Kafka's producer write, none of them started twice;
//! what they were told is read back by kcat.

use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use crate::packages::need;
use crate::process::output;
use crate::{Outcome, binaries, clients, root};

/// Kills of a smoke: enough for both signals, a kill during recovery and a full check.
const SMOKE_KILLS: u64 = 12;

/// How often.
#[derive(Args, Debug)]
pub(crate) struct KillsArguments {
    /// How many kills by kill -9; every fifth life of the broker ends by SIGTERM, which isn't counted.
    #[arg(long, default_value_t = 200)]
    count: u64,
    /// Only a few, under our clients and kafka-python: librdkafka would have to be built, and Kafka's
    /// producer needs a JDK and Maven.
    #[arg(long)]
    smoke: bool,
    /// This binary, instead of a build of the tree.
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// Runs the suite.
pub(crate) fn run(arguments: &KillsArguments) -> Outcome {
    need("kcat", "kcat")?;
    let binary = match &arguments.binary {
        Some(binary) => binary.clone(),
        None => binaries::millrace()?,
    };
    let count = if arguments.smoke {
        SMOKE_KILLS
    } else {
        arguments.count
    };
    let python = clients::python::install("kafka-python")?;
    let script = root().join("tests/clients/kafka_python_writer.py");
    let mut words = vec![binary, count.to_string().into()];
    words.extend(["--".into(), "kafka-python".into(), python, script]);
    if !arguments.smoke {
        let program = clients::rust::build_rdkafka("writer")?;
        words.extend(["--".into(), "librdkafka".into(), program]);
        need("java", "default-jdk-headless")?;
        need("mvn", "maven")?;
        output(Command::new(root().join("xtask/kafka-peer")).arg("install"))?;
        let script = root().join("tests/clients/kafka_producer_writer.sh");
        words.extend(["--".into(), "kafka-producer".into(), script]);
    }
    let words: Vec<String> = words
        .iter()
        .map(|word| word.display().to_string())
        .collect();
    binaries::run_example("kills", &words)
}
