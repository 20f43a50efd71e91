//! The `millrace` binary: reads its command line and runs one command. What a library user might
//! want lives in the library crates, not here.

mod check;
mod demo;
mod dump_log;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Millrace: a log broker that speaks the Apache Kafka protocol. Without a command it serves.
#[derive(Debug, Parser)]
#[command(name = "millrace", version, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeOptions,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a broker until SIGINT or SIGTERM.
    Serve(ServeOptions),
    /// Shows the main job: produces 100,000 records, kills its broker, checks all of them.
    Demo,
    /// Verifies a log directory whose broker isn't running; --rebuild-ledger mends a lost ledger.
    Check(check::CheckOptions),
    /// Shows what stands in segments, indexes, snapshots, ledgers, journals and metadata.
    DumpLog(dump_log::DumpLogOptions),
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

fn main() -> ExitCode {
    let line = CommandLine::parse();
    match line.command {
        Some(Command::Serve(options)) => serve::run(options),
        Some(Command::Demo) => demo::run(),
        Some(Command::Check(options)) => check::run(&options),
        Some(Command::DumpLog(options)) => dump_log::run(&options),
        None => serve::run(line.serve),
    }
}
