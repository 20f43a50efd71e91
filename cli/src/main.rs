//! The `millrace` binary: reads its command line and runs one command. What a library user might
//! want lives in the library crates, not here.

mod check;
mod config;
mod demo;
mod doctor;
mod dump_log;
mod logging;
mod manual;
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
  2  the command line or the configuration is refused";

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
    /// Lists and explains every key, with the value that a broker started so would have.
    Config(config::ConfigOptions),
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

/// The environment, without variables that are not text; none of ours is such.
fn text_environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
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
        Some(Command::Man(options)) => manual::man(&options, CommandLine::command()),
        Some(Command::Completions(options)) => {
            manual::completions(&options, CommandLine::command())
        }
        None => serve::run(line.serve),
    }
}
