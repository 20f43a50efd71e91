//! `cargo xtask kills`: kills the release binary again and again while producers write, and holds
//! its logs against what it promised. The loop itself is `tests/examples/kills.rs`. Beside our own
//! clients kafka-python and librdkafka write; what they were told is read back by kcat.

use clap::Args;

use crate::packages::need;
use crate::{Outcome, binaries, clients, root};

/// Kills of a smoke: enough for both signals, a kill during recovery and a full check.
const SMOKE_KILLS: u64 = 12;

/// How often.
#[derive(Args, Debug)]
pub(crate) struct KillsArguments {
    /// How many kills; kill -9 and SIGTERM in turn.
    #[arg(long, default_value_t = 200)]
    count: u64,
    /// Only a few, without librdkafka, which would have to be built.
    #[arg(long)]
    smoke: bool,
}

/// Runs the suite.
pub(crate) fn run(arguments: &KillsArguments) -> Outcome {
    need("kcat", "kcat")?;
    let binary = binaries::millrace()?;
    let count = if arguments.smoke {
        SMOKE_KILLS
    } else {
        arguments.count
    };
    let python = clients::kafka_python::install()?;
    let script = root().join("tests/clients/kafka_python_writer.py");
    let mut words = vec![binary, count.to_string().into()];
    words.extend(["--".into(), python, script]);
    if !arguments.smoke {
        words.extend(["--".into(), clients::rdkafka::build("writer")?]);
    }
    let words: Vec<String> = words
        .iter()
        .map(|word| word.display().to_string())
        .collect();
    binaries::run_example("kills", &words)
}
