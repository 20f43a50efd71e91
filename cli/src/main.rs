//! The `millrace` binary: reads its command line and runs one command. What a library user might
//! want lives in the library crates, not here.

mod check;
mod config;
mod demo;
mod doctor;
mod dump_log;
mod logging;
mod manual;
mod remote;
mod serve;
mod sizing;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use millrace_config::{BrokerConfig, ConfigError, Sources};

/// What every command keeps to.
const EXIT_CODES: &str = "\
Exit codes:
  0  it did what was asked; a broker ended cleanly
  1  the machine or the data stand in the way, or something was found to be wrong
  2  the command line or the configuration is refused
  3  no answer from a cluster for now: the same command may succeed later";

/// Exit code for a refused configuration.
const BAD_CONFIGURATION: u8 = 2;

/// Millrace: a log broker that speaks the Apache Kafka protocol. Without a command it serves.
#[derive(Debug, Parser)]
#[command(
    name = "millrace",
    version = env!("BUILD_VERSION"),
    after_help = EXIT_CODES,
    args_conflicts_with_subcommands = true
)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::ServeCommand,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a broker until SIGINT or SIGTERM.
    Serve(serve::ServeCommand),
    /// Shows the main job: produces 100,000 records, kills its broker, checks all of them.
    Demo,
    /// Verifies a log directory whose broker isn't running; --rebuild-ledger mends a lost ledger.
    Check(check::CheckOptions),
    /// Shows what stands in segments, indexes, snapshots, ledgers, journals and metadata.
    DumpLog(dump_log::DumpLogOptions),
    /// Says what on this machine, and in this configuration, will hurt: disks, limits, clock.
    Doctor(doctor::DoctorOptions),
    /// Lists and explains every key, with the value that a broker started so would have; get, set and
    /// delete are about a running cluster.
    Config(config::ConfigOptions),
    /// Lists, makes, describes and removes topics of a cluster.
    Topic(remote::topic::TopicCommand),
    /// Produces records from standard input or files, a line each.
    Produce(Box<remote::produce::ProduceOptions>),
    /// Prints the records of topics; goes on as they come, unless it is told where to end.
    Consume(Box<remote::consume::ConsumeOptions>),
    /// Lists, describes, resets and removes consumer groups.
    Group(remote::group::GroupCommand),
    /// Offsets of a cluster's partitions.
    Offset(remote::offset::OffsetCommand),
    /// Shows a cluster: its brokers, disks, quorum and features.
    Cluster(remote::cluster::ClusterCommand),
    /// Clusters by name, in a file under the user's configuration directory.
    Context(remote::context::ContextCommand),
    /// Prints the manual page, or writes those of all commands.
    Man(manual::ManOptions),
    /// Prints what a shell completes commands and options by.
    Completions(manual::CompletionsOptions),
}

/// How a broker is configured. Stronger first: --set, environment (`MILLRACE_LOG_DIRS` is
/// log.dirs), file, default.
#[derive(Debug, Args)]
struct ServeOptions {
    /// Configuration file, .properties or .toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, by Kafka's name, as log.dirs=/var/lib/millrace. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl ServeOptions {
    /// Reads all sources.
    fn load(self) -> Result<BrokerConfig, ConfigError> {
        BrokerConfig::load(&Sources {
            file: self.config,
            environment: text_environment(),
            set: self.set,
        })
    }
}

/// The environment, without variables that are not text (none of ours is such), and without those that
/// name a cluster for the commands that ask one: they are no keys.
fn text_environment() -> Vec<(String, String)> {
    let mut variables: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    variables.retain(|(name, _)| !remote::VARIABLES.contains(&name.as_str()));
    variables
}

/// Says why the command ends, and with which exit code.
fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    // The one thing said when all else failed; if standard error is closed there is nobody to tell.
    drop(writeln!(io::stderr(), "millrace: {error}"));
    ExitCode::from(code)
}

fn main() -> ExitCode {
    let line = CommandLine::parse();
    match line.command {
        Some(Command::Serve(options)) => serve::run(options),
        Some(Command::Demo) => demo::run(),
        Some(Command::Check(options)) => check::run(&options),
        Some(Command::DumpLog(options)) => dump_log::run(&options),
        Some(Command::Doctor(options)) => doctor::run(options),
        Some(Command::Config(options)) => config::run(options),
        Some(Command::Topic(command)) => remote::topic::run(command),
        Some(Command::Produce(options)) => remote::produce::run(&options),
        Some(Command::Consume(options)) => remote::consume::run(&options),
        Some(Command::Group(command)) => remote::group::run(command),
        Some(Command::Offset(command)) => remote::offset::run(command),
        Some(Command::Cluster(command)) => remote::cluster::run(command),
        Some(Command::Context(command)) => remote::context::run(command),
        Some(Command::Man(options)) => manual::man(&options, CommandLine::command()),
        Some(Command::Completions(options)) => {
            manual::completions(&options, CommandLine::command())
        }
        None => serve::run(line.serve),
    }
}
