//! `cargo xtask clients`: clients that others wrote against the release binary. Each makes topics,
//! produces with each codec it has, consumes, and compares what came back with what was sent; the
//! members of groups join, share, leave, commit and rewind.
//!
//! What always holds: a client that is missing is installed by its package's name, or the suite
//! fails; none is skipped.

mod go;
mod java;
pub(crate) mod kafka_python;
mod kafka_tools;
mod kcat;
pub(crate) mod rdkafka;
mod record;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};

use record::Recorder;

use crate::process::Watched;
use crate::{Outcome, binaries};

/// A broker on an empty directory listens within this.
const START_LIMIT: Duration = Duration::from_secs(30);
/// A broker that was asked to end is gone within this.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// A client, or a set of tools of one maker.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    /// librdkafka's command line, Debian's package.
    Kcat,
    /// The Python client, from the Python package index.
    KafkaPython,
    /// franz-go and Sarama, from the Go module proxy; need Go.
    Go,
    /// Apache Kafka's Java consumers, from Maven Central; need a JDK and Maven.
    Java,
    /// The Rust binding of librdkafka, from the crate registry; builds with make and a C compiler.
    Rdkafka,
    /// Apache Kafka's own tools, from Maven Central; need a JDK and Maven.
    KafkaTools,
}

/// Which clients.
#[derive(Args, Debug)]
pub(crate) struct ClientsArguments {
    /// Only this one; all without it.
    client: Option<Client>,
    /// Only those that take seconds: all but rdkafka, which is long to build, and Kafka's tools.
    #[arg(long, conflicts_with = "client")]
    smoke: bool,
    /// Writes what they and the broker say to each other to this file, as seeds for the fuzzers.
    #[arg(long, conflicts_with = "smoke")]
    record: Option<PathBuf>,
    /// This binary, instead of a release build of the tree.
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// Runs the suite.
pub(crate) fn run(arguments: &ClientsArguments) -> Outcome {
    let binary = match &arguments.binary {
        Some(binary) => binary.clone(),
        None => binaries::millrace()?,
    };
    let chosen = match arguments.client {
        Some(client) => vec![client],
        None if arguments.smoke => {
            vec![Client::Kcat, Client::KafkaPython, Client::Go, Client::Java]
        }
        None => Client::value_variants().to_vec(),
    };
    let mut lines = String::new();
    for client in chosen {
        let recorder = arguments.record.as_ref().map(|_| Recorder::bind());
        let mut recorder = recorder.transpose()?;
        let broker = Served::start(&binary, recorder.as_mut())?;
        match client {
            Client::Kcat => kcat::run(&broker)?,
            Client::KafkaPython => kafka_python::run(&broker)?,
            Client::Go => go::run(&broker)?,
            Client::Java => java::run(&broker)?,
            Client::Rdkafka => rdkafka::run(&broker)?,
            Client::KafkaTools => kafka_tools::run(&broker)?,
        }
        let data = broker.stop()?;
        if client == Client::KafkaTools {
            kafka_tools::dump_logs(&data.path().join("data"))?;
        }
        if let Some(recorder) = recorder {
            let name = client.to_possible_value();
            let name = name.map_or_else(String::new, |value| value.get_name().to_owned());
            lines.push_str(&recorder.lines(&name));
        }
    }
    match &arguments.record {
        Some(file) => std::fs::write(file, record::together(&lines))
            .map_err(|error| format!("{}: {error}", file.display())),
        None => Ok(()),
    }
}

/// A broker on a free port with a directory of its own.
pub(crate) struct Served {
    broker: Watched,
    /// Where it runs.
    pub(crate) directory: tempfile::TempDir,
    /// Where it listens, `127.0.0.1:port`.
    pub(crate) address: String,
}

impl Served {
    /// Starts it; clients reach it by the recorder, where there is one.
    fn start(binary: &Path, recorder: Option<&mut Recorder>) -> Result<Self, String> {
        Self::with(binary, &["data"], recorder)
    }

    /// Starts it on log directories of these names.
    pub(crate) fn on(binary: &Path, directories: &[&str]) -> Result<Self, String> {
        Self::with(binary, directories, None)
    }

    fn with(
        binary: &Path,
        directories: &[&str],
        recorder: Option<&mut Recorder>,
    ) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let paths = directories.iter().map(|name| directory.path().join(name));
        let paths: Vec<String> = paths.map(|path| path.display().to_string()).collect();
        // Short, so that nobody waits long; not nothing, since kafka-python may assign before it knows
        // the topic, and then never does again.
        let mut line = format!(
            "{} serve --set listeners=PLAINTEXT://127.0.0.1:0 --set admin.listener= \
             --set group.initial.rebalance.delay.ms=500 --set log.dirs={}",
            binary.display(),
            paths.join(",")
        );
        if let Some(recorder) = &recorder {
            line.push_str(" --set advertised.listeners=PLAINTEXT://");
            line.push_str(recorder.address());
        }
        let mut broker = Watched::start(&line, directory.path())?;
        let listening = broker.wait_for_line("say that it listens", START_LIMIT, |line| {
            line.starts_with("listening on ")
        })?;
        let address = listening
            .split_once("://")
            .and_then(|(_, rest)| rest.split([',', ' ']).next())
            .ok_or_else(|| format!("no address in `{listening}`"))?
            .to_owned();
        let address = match recorder {
            None => address,
            Some(recorder) => {
                recorder.serve(&address);
                recorder.address().to_owned()
            }
        };
        Ok(Self {
            broker,
            directory,
            address,
        })
    }

    /// Ends it cleanly and gives its directory.
    pub(crate) fn stop(mut self) -> Result<tempfile::TempDir, String> {
        self.broker.terminate()?;
        let status = self.broker.wait(STOP_LIMIT)?;
        if status.success() {
            Ok(self.directory)
        } else {
            Err(format!(
                "the broker ended with {status} after SIGTERM; it must end with 0"
            ))
        }
    }
}

/// Where clients that are built or installed for the suite stay between runs.
fn place(name: &str) -> Result<PathBuf, String> {
    let place = binaries::target_directory()?.join("clients").join(name);
    std::fs::create_dir_all(&place)
        .map_err(|error| format!("cannot make {}: {error}", place.display()))?;
    Ok(place)
}
