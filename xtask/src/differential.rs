//! `cargo xtask differential`: Millrace held against what Apache Kafka 4.3.1 answered to a table of
//! cases (`tests/differential`). `record` asks Apache Kafka anew, on its defaults; that needs a JDK (17
//! or later) and Maven, comparing needs neither. `meta` shows that the cases bite: each handler is altered in
//! turn (`tests/examples/differential_meta`).
//!
//! Always: both brokers are fresh, on the same properties; nothing outlives the run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::brokers::{free_port, peer};
use crate::packages::need;
use crate::process::{Watched, println, succeed};
use crate::{Outcome, binaries, root};

/// A broker listens within this.
const START_LIMIT: Duration = Duration::from_mins(1);
/// A broker that was asked to end is gone within this.
const STOP_LIMIT: Duration = Duration::from_mins(1);

/// What `kafka-peer` sets although it was asked for Kafka's defaults, as far as clients see it.
const PROPERTIES: [&str; 3] = [
    "node.id=1",
    "broker.rack=RACK1",
    "offsets.topic.replication.factor=1",
];

/// APIs of which something differs that nobody has settled yet, each a finding. A run of all tells of
/// them and passes; one of such an API alone does not.
const OPEN: &[&str] = &[];

/// Millrace against Apache Kafka's recorded answers.
#[derive(Debug, Args)]
pub(crate) struct DifferentialArguments {
    /// What to do; without it, compare.
    #[arg(value_enum)]
    what: Option<What>,
    /// Only this API's cases, as `ListOffsets`.
    #[arg(long)]
    api: Option<String>,
    /// Only cases with this in their name.
    #[arg(long)]
    case: Option<String>,
    /// Compare a broker that runs already, started for this.
    #[arg(long)]
    against: Option<String>,
    /// The binary of Millrace; without it, it is built.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Record twice, on two brokers; both must come out alike.
    #[arg(long)]
    twice: bool,
    /// Alter a few handlers alone.
    #[arg(long, conflicts_with = "api")]
    smoke: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// Ask Apache Kafka anew and write `tests/differential/recorded`.
    Record,
    /// Alter each handler in turn, in a broker built for that: some case must fail each time.
    Meta,
}

/// Runs the suite.
pub(crate) fn run(arguments: &DifferentialArguments) -> Outcome {
    match arguments.what {
        Some(What::Record) | None if arguments.smoke => {
            Err("a smoke is of `differential meta`: the rest has none".into())
        }
        Some(What::Record) => record(arguments),
        Some(What::Meta) => meta(arguments),
        None => compare(arguments),
    }
}

/// The test of the test.
fn meta(arguments: &DifferentialArguments) -> Outcome {
    let which = if arguments.smoke {
        Some("--smoke".to_owned())
    } else {
        arguments.api.clone()
    };
    let which: Vec<String> = which.into_iter().collect();
    binaries::run_example("differential_meta", &which)
}

fn record(arguments: &DifferentialArguments) -> Outcome {
    need("java", "default-jdk-headless")?;
    need("mvn", "maven")?;
    record_once(arguments)?;
    if arguments.twice {
        let first = recorded()?;
        record_once(arguments)?;
        let second = recorded()?;
        let differ: Vec<&str> = first
            .iter()
            .filter(|(name, text)| second.get(*name) != Some(text))
            .map(|(name, _)| name.as_str())
            .collect();
        if !differ.is_empty() {
            return Err(format!(
                "recorded twice and not alike: {}; git diff shows where",
                differ.join(", ")
            ));
        }
        println("recorded twice, alike");
    }
    Ok(())
}

/// The files of the record.
fn recorded() -> Result<BTreeMap<String, Vec<u8>>, String> {
    let directory = root().join("tests/differential/recorded");
    let entries = std::fs::read_dir(&directory).map_err(|error| error.to_string())?;
    let mut files = BTreeMap::new();
    for entry in entries {
        let entry = entry.map_err(|error| error.to_string())?;
        let text = std::fs::read(entry.path()).map_err(|error| error.to_string())?;
        files.insert(entry.file_name().to_string_lossy().into_owned(), text);
    }
    Ok(files)
}

/// Apache Kafka on a directory of its own, ended when it is dropped.
struct Kafka(tempfile::TempDir);

impl Drop for Kafka {
    fn drop(&mut self) {
        if let Err(reason) = succeed(Command::new(peer()).arg("stop").arg(self.0.path())) {
            eprintln!("xtask: {reason}");
        }
    }
}

fn record_once(arguments: &DifferentialArguments) -> Outcome {
    let port = free_port()?;
    let kafka = Kafka(tempfile::tempdir().map_err(|error| error.to_string())?);
    let mut start = Command::new(peer());
    start
        .arg("start")
        .arg(kafka.0.path())
        .env("KAFKA_PLAIN", "1")
        .env("KAFKA_PORT", port.to_string())
        .stdout(Stdio::null());
    succeed(&mut start)?;
    differential(arguments, "record", &format!("127.0.0.1:{port}"))
}

fn compare(arguments: &DifferentialArguments) -> Outcome {
    if let Some(address) = &arguments.against {
        return differential(arguments, "compare", address);
    }
    let binary = match &arguments.binary {
        Some(binary) => binary.clone(),
        None => binaries::millrace()?,
    };
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let address = format!("127.0.0.1:{}", free_port()?);
    let mut millrace = start(&binary, directory.path(), &address)?;
    differential(arguments, "compare", &address)?;
    millrace.terminate()?;
    millrace.wait(STOP_LIMIT).map(drop)
}

/// Millrace on the properties that Kafka has.
fn start(binary: &Path, directory: &Path, address: &str) -> Result<Watched, String> {
    let binary = std::path::absolute(binary).map_err(|error| error.to_string())?;
    let mut line = format!(
        "{} serve --set listeners=PLAINTEXT://{address} --set admin.listener= --set log.dirs={}",
        binary.display(),
        directory.join("data").display()
    );
    for property in PROPERTIES {
        line.push_str(" --set ");
        line.push_str(property);
    }
    let mut millrace = Watched::start(&line, directory)?;
    millrace.wait_for_line("say that it listens", START_LIMIT, |line| {
        line.starts_with("listening on ")
    })?;
    Ok(millrace)
}

/// Runs the program that asks and compares.
fn differential(arguments: &DifferentialArguments, what: &str, address: &str) -> Outcome {
    let mut command = binaries::example("differential")?;
    command.args([what, "--address", address]);
    if what == "compare" && arguments.api.is_none() {
        for api in OPEN {
            command.args(["--open", api]);
        }
    }
    for (name, value) in [("--api", &arguments.api), ("--case", &arguments.case)] {
        if let Some(value) = value {
            command.args([name, value]);
        }
    }
    succeed(&mut command)
}
