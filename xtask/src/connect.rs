//! `cargo xtask connect`: Kafka Connect, distributed, with its file connectors and Debezium's for a real
//! `PostgreSQL`, and a program that materialises a topic into tables with its position in the same
//! transaction. All of them run at once, on one broker, while that broker, the workers and the program
//! are killed (kill -9) and started again, and columns are added. Afterwards files and tables are
//! compared with what came out of the topics, line by line and row by row.
//!
//! What always holds: nobody is killed before what was there at the kill before has come through; what
//! is missing on this machine is installed by name or the suite fails.

mod broker;
mod connectors;
mod lines;
mod postgres;
mod programs;
mod rest;
mod rounds;
mod workers;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, ValueEnum};

use crate::brokers::Kind;
use crate::process::{Watched, println};
use crate::{Outcome, binaries};
use broker::Broker;
use postgres::Postgres;
use programs::Programs;
use workers::{Worker, now};

/// Against what else.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Against {
    /// Apache Kafka with its defaults, to tell the suite's mistakes from the product's.
    Kafka,
}

/// How.
#[derive(Args, Debug)]
pub(crate) struct ConnectArguments {
    /// One worker, a kill of each kind, few rows: about a minute.
    #[arg(long)]
    smoke: bool,
    /// Another broker than Millrace.
    #[arg(long)]
    against: Option<Against>,
    /// This binary, instead of a build of the tree.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Draws the changes of the tables.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leaves the workers' logs and the broker's directory where they are.
    #[arg(long)]
    keep: bool,
}

/// How much is done.
struct Extent {
    workers: usize,
    /// Rows of each table before anything is captured.
    rows: u32,
    /// Rounds of kills.
    rounds: u32,
    /// Whether a worker is killed during the snapshot, and all of them at once.
    hard: bool,
}

const SMOKE: Extent = Extent {
    workers: 1,
    rows: 500,
    rounds: 1,
    hard: false,
};
const WHOLE: Extent = Extent {
    workers: 2,
    rows: 20_000,
    rounds: 5,
    hard: true,
};

/// Runs the suite.
pub(crate) fn run(arguments: &ConnectArguments) -> Outcome {
    let extent = if arguments.smoke { SMOKE } else { WHOLE };
    let kind = arguments.against.map_or(Kind::Millrace, |_| Kind::Kafka);
    let binary = match kind {
        Kind::Millrace => binaries::chosen(arguments.binary.as_deref())?,
        Kind::Kafka => PathBuf::new(),
    };
    let mut directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    directory.disable_cleanup(arguments.keep);
    let mut stage = Stage::set(kind, &binary, &extent, directory.path())?;
    stage.internal_topics()?;
    stage.create_connectors(extent.hard)?;
    stage.kill_in_rounds(&extent, arguments.seed)?;
    if extent.hard {
        stage.compare(&["compacted"])?;
    }
    stage.compare(&["lines", "tables", "sink"])?;
    stage.pause(extent.hard)?;
    stage.read_again()?;
    stage.compare(&["lines", "again"])?;
    stage.delete()?;
    stage.say(&format!(
        "killed: broker {}, workers {}, sink {}",
        stage.broker_kills, stage.worker_kills, stage.sink_kills
    ));
    stage.end()
}

/// Everything that runs.
struct Stage {
    // Dropped in this order: workers first, so that they don't complain of what is gone.
    workers: Vec<Worker>,
    sink: Option<Watched>,
    broker: Broker,
    postgres: Postgres,
    programs: Programs,
    directory: PathBuf,
    broker_kills: u32,
    worker_kills: u32,
    sink_kills: u32,
    begun: Instant,
}

impl Stage {
    fn set(kind: Kind, binary: &Path, extent: &Extent, directory: &Path) -> Result<Self, String> {
        let programs = Programs::install()?;
        let begun = now();
        let postgres = Postgres::start(extent.rows)?;
        let broker = Broker::start(kind, binary, directory)?;
        let address = broker.address();
        let workers = (1..=extent.workers)
            .map(|nth| Worker::start(nth, &address, &programs.plugins, directory));
        let workers = workers.collect::<Result<_, String>>()?;
        std::fs::write(directory.join("lines.txt"), "").map_err(|error| error.to_string())?;
        Ok(Self {
            workers,
            sink: None,
            broker,
            postgres,
            programs,
            directory: directory.to_owned(),
            broker_kills: 0,
            worker_kills: 0,
            sink_kills: 0,
            begun,
        })
    }

    /// Prints what happens or was found, with the seconds since the beginning.
    fn say(&self, what: &str) {
        println(&format!("{:>4} s  {what}", self.begun.elapsed().as_secs()));
    }

    /// Has things compared, and prints what was found.
    fn compare(&self, what: &[&str]) -> Outcome {
        let (address, source) = (self.broker.address(), self.postgres.source());
        let directory = self.directory.display().to_string();
        let kills = (self.broker_kills + self.worker_kills).to_string();
        for kind in what {
            let arguments = [*kind, &address, &source, &directory, &kills];
            self.say(self.programs.run("check.py", &arguments)?.trim());
        }
        Ok(())
    }

    /// Ends all; what the broker leaves is sound.
    fn end(self) -> Outcome {
        drop((self.workers, self.sink));
        self.broker.stop()
    }
}
