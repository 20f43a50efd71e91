//! `cargo xtask tools`: Apache Kafka's own tools against the broker, each through its useful
//! options; what each prints is compared with what is there.
//!
//! What always holds: a tool that should succeed must, and one that should be refused must be, with
//! the words that name the reason; none is skipped. The tools come from Maven Central
//! (`xtask/kafka-peer`).

mod cluster;
mod configs;
mod console;
mod files;
mod groups;
mod groups_asked;
mod groups_resets;
mod perf;
mod placement;
mod records;
mod topics;
mod verifiable;

use std::cell::Cell;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::brokers::{Kind, Running, Site};
use crate::clients::Served;
use crate::packages::need;
use crate::process::{Watched, println};
use crate::{Outcome, binaries, root};

/// No tool takes longer than this many seconds; one that waits for an answer that never comes would.
const TOOL_LIMIT_S: &str = "60";
/// Apache Kafka, configured as Millrace is here.
const KAFKA_SETTINGS: [&str; 1] = ["group.initial.rebalance.delay.ms=500"];
/// Records in the topic `r` at first; `t` has five partitions and none.
const RECORDS: usize = 1000;

/// Some of the tools.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// kafka-topics, kafka-configs.
    Topics,
    /// kafka-get-offsets, kafka-delete-records, kafka-replica-verification.
    Records,
    /// kafka-cluster, kafka-broker-api-versions, kafka-features, kafka-metadata-quorum, kafka-acls,
    /// kafka-delegation-tokens.
    Cluster,
    /// kafka-configs on loggers, groups, client metrics and listeners.
    Configs,
    /// kafka-consumer-groups, kafka-groups.
    Groups,
    /// kafka-console-producer, kafka-console-consumer.
    Console,
    /// kafka-producer-perf-test, kafka-consumer-perf-test, kafka-e2e-latency.
    Perf,
    /// kafka-verifiable-producer, kafka-verifiable-consumer.
    Verifiable,
    /// kafka-log-dirs, kafka-leader-election, kafka-reassign-partitions.
    Placement,
}

/// How.
#[derive(Args, Debug)]
pub(crate) struct ToolsArguments {
    /// Only these; all without it.
    part: Option<Part>,
    /// One or two runs of each tool, instead of every option.
    #[arg(long)]
    smoke: bool,
    /// This binary, instead of a build of the tree.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Against Apache Kafka itself, to see what it says: groups, console, perf and verifiable.
    #[arg(long, value_enum, default_value_t = Kind::Millrace, conflicts_with = "binary")]
    against: Kind,
}

impl Part {
    /// Whether what is wanted is what Kafka says as well, word by word.
    fn holds_for_kafka(self) -> bool {
        match self {
            Self::Groups | Self::Console | Self::Perf | Self::Verifiable => true,
            Self::Topics | Self::Records | Self::Cluster | Self::Configs | Self::Placement => false,
        }
    }
}

/// Runs the suite.
pub(crate) fn run(arguments: &ToolsArguments) -> Outcome {
    need("java", "default-jdk-headless")?;
    need("mvn", "maven")?;
    match arguments.against {
        Kind::Millrace => {
            let binary = binaries::chosen(arguments.binary.as_deref())?;
            let broker = Served::on(&binary, &["data", "more"])?;
            let at = (broker.address.clone(), broker.directory.path().to_owned());
            let tools = Tools::new(at, arguments);
            parts(&tools, arguments)?;
            let directory = broker.stop()?;
            let has_groups = arguments.part.is_none_or(|part| part == Part::Groups);
            files::run(&tools, directory.path(), has_groups)?;
            tools.done();
        }
        Kind::Kafka => {
            // No binary of ours is started.
            let site = Site::new(Kind::Kafka, Path::new(""))?.with(&KAFKA_SETTINGS);
            let broker: Running<'_> = site.start()?;
            let tools = Tools::new((site.address(), site.path().into()), arguments);
            parts(&tools, arguments)?;
            broker.stop()?;
            tools.done();
        }
    }
    Ok(())
}

/// Runs those that were asked for.
fn parts(tools: &Tools, arguments: &ToolsArguments) -> Outcome {
    tools.ask(
        "topics",
        &["--create", "--topic", "t", "--partitions", "5"],
        &[],
    )?;
    tools.ask(
        "topics",
        &["--create", "--topic", "r", "--partitions", "1"],
        &[],
    )?;
    tools.produce("r", RECORDS)?;
    for part in Part::value_variants() {
        let is_chosen = arguments.part.is_none_or(|chosen| chosen == *part);
        if !is_chosen || arguments.against == Kind::Kafka && !part.holds_for_kafka() {
            continue;
        }
        match part {
            Part::Topics => topics::run(tools)?,
            Part::Records => records::run(tools)?,
            Part::Cluster => cluster::run(tools)?,
            Part::Configs => configs::run(tools)?,
            Part::Groups => groups::run(tools)?,
            Part::Console => console::run(tools)?,
            Part::Perf => perf::run(tools)?,
            Part::Verifiable => verifiable::run(tools)?,
            Part::Placement => placement::run(tools)?,
        }
    }
    Ok(())
}

/// Kafka's tools, and the broker that they are run against.
struct Tools {
    address: String,
    /// Where the broker runs and files for the tools are written.
    directory: PathBuf,
    /// Whether every option is tried.
    whole: bool,
    runs: Cell<u32>,
}

impl Tools {
    fn new((address, directory): (String, PathBuf), arguments: &ToolsArguments) -> Self {
        Self {
            address,
            directory,
            whole: !arguments.smoke,
            runs: Cell::new(0),
        }
    }

    fn done(&self) {
        let runs = self.runs.get();
        println(&format!(
            "kafka tools: {runs} runs, each said what it should"
        ));
    }

    /// Runs a tool that asks the broker and must succeed, and print each of these; gives all of it.
    fn ask(&self, tool: &str, arguments: &[&str], wanted: &[&str]) -> Result<String, String> {
        self.run(tool, &self.at_broker(tool, arguments), true, wanted)
    }

    /// Runs a tool that asks the broker and must be refused, in these words.
    fn refused(&self, tool: &str, arguments: &[&str], wanted: &[&str]) -> Outcome {
        let arguments = self.at_broker(tool, arguments);
        self.run(tool, &arguments, false, wanted).map(drop)
    }

    /// Arguments with the broker's address where the tool wants it.
    fn at_broker<'a>(&'a self, tool: &str, arguments: &[&'a str]) -> Vec<&'a str> {
        let at = ["--bootstrap-server", &self.address];
        // It takes its command before its options.
        if tool == "cluster" {
            return [arguments, &at].concat();
        }
        [&at, arguments].concat()
    }

    /// Runs a tool with these arguments alone.
    fn run(
        &self,
        tool: &str,
        arguments: &[&str],
        succeeds: bool,
        wanted: &[&str],
    ) -> Result<String, String> {
        self.feed(tool, arguments, "", (succeeds, wanted))
    }

    /// Runs a tool that reads `input`.
    fn feed(
        &self,
        tool: &str,
        arguments: &[&str],
        input: &str,
        (succeeds, wanted): (bool, &[&str]),
    ) -> Result<String, String> {
        self.runs.set(self.runs.get() + 1);
        let shown = format!("kafka-{tool} {}", arguments.join(" "));
        let failed = |error: std::io::Error| format!("cannot run `{shown}`: {error}");
        let mut running = Command::new("timeout")
            .arg(TOOL_LIMIT_S)
            .arg(peer())
            .args(["run", tool])
            .args(arguments)
            .current_dir(&self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        // Less than a pipe holds, so that nobody waits for somebody who waits for us.
        if let Some(mut stdin) = running.stdin.take()
            && let Err(error) = stdin.write_all(input.as_bytes())
            && error.kind() != std::io::ErrorKind::BrokenPipe
        {
            return Err(failed(error));
        }
        let output = running.wait_with_output().map_err(failed)?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let first: Vec<&str> = text.lines().take(40).collect();
        let first = first.join("\n");
        if output.status.success() != succeeds {
            let status = output.status;
            return Err(format!("`{shown}` ended with {status}:\n{first}"));
        }
        for words in wanted {
            if !text.contains(words) {
                return Err(format!("`{shown}` doesn't say `{words}`, but:\n{first}"));
            }
        }
        Ok(text)
    }

    /// Runs a tool that never ends, until it prints such a line.
    fn until(&self, tool: &str, arguments: &[&str], wanted: &str) -> Outcome {
        self.runs.set(self.runs.get() + 1);
        let line = format!("{} run {tool} {}", peer().display(), arguments.join(" "));
        let mut running = Watched::start(&line, &self.directory)?;
        let limit = Duration::from_mins(1);
        running.wait_for_line(&format!("say `{wanted}`"), limit, |line| {
            line.contains(wanted)
        })?;
        running.kill()
    }

    /// Writes a file for a tool; gives its name.
    fn file(&self, name: &str, text: &str) -> Result<String, String> {
        let path = self.directory.join(name);
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path.display().to_string())
    }

    /// Has the perf test produce records of 100 bytes.
    fn produce(&self, topic: &str, records: usize) -> Outcome {
        self.produce_as(topic, records, &[])
    }

    /// The same with these properties of the producer.
    fn produce_as(&self, topic: &str, records: usize, properties: &[&str]) -> Outcome {
        let servers = format!("bootstrap.servers={}", self.address);
        let records = records.to_string();
        let arguments = [
            "--topic",
            topic,
            "--num-records",
            &records,
            "--record-size",
            "100",
            "--throughput",
            "-1",
            "--producer-props",
            &servers,
            "acks=all",
        ];
        let arguments = [&arguments[..], properties].concat();
        let said = format!("{records} records sent");
        self.run("producer-perf-test", &arguments, true, &[&said])
            .map(drop)
    }
}

/// An error unless `text` has no such words.
fn absent(text: &str, unwanted: &str) -> Outcome {
    if text.contains(unwanted) {
        Err(format!("`{unwanted}` should not be in:\n{text}"))
    } else {
        Ok(())
    }
}

/// An error unless `text` has such a row of a table, whatever the width of its columns.
fn row(text: &str, cells: &[&str]) -> Outcome {
    let is_row = |line: &str| {
        let found = line.split_whitespace().take(cells.len());
        found.eq(cells.iter().copied())
    };
    if text.lines().any(is_row) {
        return Ok(());
    }
    Err(format!("no row {cells:?} in:\n{text}"))
}

fn peer() -> PathBuf {
    root().join("xtask/kafka-peer")
}

/// The entries of a directory, sorted.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: std::io::Error| format!("cannot list {}: {error}", directory.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        found.push(entry.map_err(failed)?.path());
    }
    found.sort();
    Ok(found)
}
