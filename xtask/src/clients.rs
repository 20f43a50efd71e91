//! `cargo xtask clients`: clients that others wrote, each in its own language, through the same
//! scenarios against the broker; what came of it is the table in `docs/clients.md`.
//!
//! What always holds: a client that is missing is installed by its package's name at a version that
//! stands here, or the suite fails; none is skipped. What runs against Millrace runs unchanged
//! against Apache Kafka (`--against kafka`).

mod broker;
mod cell;
mod go;
mod java;
mod javascript;
mod kafka_tools;
mod kcat;
pub(crate) mod python;
mod record;
mod rows;
pub(crate) mod rust;
mod scenario;
mod table;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};

pub(crate) use broker::{Kind, Served, end, free_port, serve};
use cell::Cell;
use record::Recorder;
use rows::{Client, ROWS, When};
use scenario::Scenario;
use table::Cells;

use crate::process::println;
use crate::{Outcome, binaries};

/// Scenarios of one client that run at once: most of their time they wait.
const LANES: usize = 4;
/// Kafka's own tools, beside the clients: what they do isn't in the table.
const TOOLS: &str = "kafka-tools";

/// Whose broker.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Against {
    /// Ours.
    #[default]
    Millrace,
    /// Apache Kafka 4.3.1: shows whether a driver is right. The table stays as it is.
    Kafka,
}

/// Which clients, and how.
#[derive(Args, Debug)]
pub(crate) struct ClientsArguments {
    /// Only these; all without it, but those that take too long to build.
    #[arg(value_parser = PossibleValuesParser::new(ROWS.iter().map(|row| row.name).chain([TOOLS])))]
    names: Vec<String>,
    /// Only these scenarios.
    #[arg(long)]
    scenario: Vec<Scenario>,
    /// Whose broker.
    #[arg(long, value_enum, default_value_t)]
    against: Against,
    /// Only the clients that are there in seconds.
    #[arg(long, conflicts_with = "names")]
    smoke: bool,
    /// Writes what they and the broker say to each other to this file, as seeds for the fuzzers.
    #[arg(long, conflicts_with_all = ["smoke", "against"])]
    record: Option<PathBuf>,
    /// This binary, instead of a build of the tree.
    #[arg(long)]
    binary: Option<PathBuf>,
}

impl ClientsArguments {
    fn wants(&self, client: &Client) -> bool {
        if !self.names.is_empty() {
            return self.names.iter().any(|name| name == client.name);
        }
        match client.when {
            When::Smoke => true,
            When::Whole => !self.smoke,
            When::Named => false,
        }
    }

    fn scenarios(&self) -> Vec<Scenario> {
        let all = Scenario::value_variants().iter().copied();
        let chosen = all.filter(|one| self.scenario.is_empty() || self.scenario.contains(one));
        chosen.collect()
    }

    fn kind(&self) -> Result<Kind, String> {
        match (self.against, &self.binary) {
            (Against::Kafka, _) => Ok(Kind::Kafka),
            (Against::Millrace, Some(binary)) => {
                let binary = std::path::absolute(binary).map_err(|error| error.to_string())?;
                Ok(Kind::Millrace(binary))
            }
            (Against::Millrace, None) => binaries::millrace().map(Kind::Millrace),
        }
    }
}

/// Runs the suite.
pub(crate) fn run(arguments: &ClientsArguments) -> Outcome {
    let mut suite = Suite {
        kind: arguments.kind()?,
        scenarios: arguments.scenarios(),
        is_recorded: arguments.record.is_some(),
        frames: String::new(),
        failures: Vec::new(),
    };
    let mut found = BTreeMap::new();
    for client in ROWS.iter().filter(|client| arguments.wants(client)) {
        match suite.client(client) {
            Ok(cells) => {
                found.insert(client.name, cells);
            }
            Err(reason) => suite.fails(&format!("{}: {reason}", client.name)),
        }
    }
    let has_tools = arguments.names.iter().any(|name| name == TOOLS);
    let is_whole = arguments.names.is_empty() && arguments.scenario.is_empty();
    let is_ours = arguments.against == Against::Millrace;
    if has_tools || is_whole && is_ours && !arguments.smoke {
        suite.tools()?;
    }
    if let Some(file) = &arguments.record {
        std::fs::write(file, record::together(&suite.frames))
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    if is_ours && let Err(reason) = table::settle(&found, !arguments.smoke) {
        suite.failures.push(reason);
    }
    match suite.failures.len() {
        0 => Ok(()),
        count => Err(format!("{count} failed:\n{}", suite.failures.join("\n"))),
    }
}

/// A run of the suite.
struct Suite {
    kind: Kind,
    scenarios: Vec<Scenario>,
    is_recorded: bool,
    /// What clients and broker said, when it is recorded.
    frames: String,
    failures: Vec<String>,
}

impl Suite {
    fn fails(&mut self, reason: &str) {
        println(&format!("FAILED {reason}\n"));
        let first = reason.lines().next().unwrap_or_default();
        self.failures.push(first.to_owned());
    }

    /// Has a client run the scenarios against a broker of its own, several at once; the one that
    /// kills the broker at the end, alone.
    fn client(&mut self, client: &Client) -> Result<Cells, String> {
        let driver = (client.install)()?;
        let mut cells = Cells::new();
        let mut recorder = self.recorder()?;
        let mut broker = Served::start(self.kind.clone(), recorder.as_mut())?;
        let scenarios = self.scenarios.iter().copied();
        let (alone, beside): (Vec<_>, Vec<_>) =
            scenarios.partition(|&scenario| scenario == Scenario::Restart);
        let address = broker.address.clone();
        let words = |scenario| words(&driver, &address, client, scenario);
        let beside = at_once(&beside, |scenario| {
            let mut refuse = || Err(format!("{} may not restart the broker", scenario.name()));
            cell::run(&words(scenario), &mut refuse)
        });
        self.note(client, beside, &broker.tail(), &mut cells);
        for scenario in alone {
            let cell = cell::run(&words(scenario), &mut || broker.restart());
            self.note(client, vec![(scenario, cell)], &broker.tail(), &mut cells);
        }
        broker.stop()?;
        self.keep(recorder, client.name);
        Ok(cells)
    }

    /// Keeps and tells what came of some scenarios; of what failed, with the broker's words.
    fn note(
        &mut self,
        client: &Client,
        came: Vec<(Scenario, Result<Cell, String>)>,
        broker: &str,
        cells: &mut Cells,
    ) {
        for (scenario, cell) in came {
            let which = format!("{} {}", client.name, scenario.name());
            match cell {
                Ok(cell) => {
                    cells.insert(scenario, cell);
                }
                Err(reason) => {
                    self.fails(&format!(
                        "{which}: {reason}\nthe broker's last words:\n{broker}"
                    ));
                }
            }
        }
    }

    /// Kafka's own tools produce with each codec and delete; its dump tool reads what they left.
    fn tools(&mut self) -> Outcome {
        let mut recorder = self.recorder()?;
        let broker = Served::start(self.kind.clone(), recorder.as_mut())?;
        kafka_tools::run(&broker)?;
        let left = broker.stop()?;
        self.keep(recorder, TOOLS);
        kafka_tools::dump_logs(&left.path().join("data"))
    }

    fn recorder(&self) -> Result<Option<Recorder>, String> {
        self.is_recorded.then(Recorder::bind).transpose()
    }

    fn keep(&mut self, recorder: Option<Recorder>, name: &str) {
        if let Some(recorder) = recorder {
            self.frames.push_str(&recorder.lines(name));
        }
    }
}

/// A driver's command: names of topics and groups that it makes begin with the last word.
fn words(driver: &[String], address: &str, client: &Client, scenario: Scenario) -> Vec<String> {
    let scenario = scenario.name();
    let prefix = format!("{}-{scenario}", client.name);
    let arguments = [address.to_owned(), scenario, prefix];
    driver.iter().cloned().chain(arguments).collect()
}

/// Runs some scenarios, [`LANES`] at once; what came of each, in their order.
fn at_once(
    scenarios: &[Scenario],
    run: impl Fn(Scenario) -> Result<Cell, String> + Sync,
) -> Vec<(Scenario, Result<Cell, String>)> {
    let waiting = Mutex::new(scenarios.iter().copied().collect::<VecDeque<_>>());
    let came = Mutex::new(BTreeMap::new());
    let next = || lock(&waiting).pop_front();
    let lane = || {
        while let Some(scenario) = next() {
            let cell = run(scenario);
            lock(&came).insert(scenario, cell);
        }
    };
    std::thread::scope(|lanes| {
        for _ in 0..LANES {
            lanes.spawn(lane);
        }
    });
    let came = came.into_inner().unwrap_or_else(PoisonError::into_inner);
    came.into_iter().collect()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where clients that are built or installed for the suite stay between runs.
fn place(name: &str) -> Result<PathBuf, String> {
    let place = binaries::target_directory()?.join("clients").join(name);
    std::fs::create_dir_all(&place)
        .map_err(|error| format!("cannot make {}: {error}", place.display()))?;
    Ok(place)
}
