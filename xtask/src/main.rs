//! `cargo xtask SUITE`: what a developer runs that `cargo test` does not. One file per suite; a
//! suite is a row in [`Suite`] and a `run` that says what failed.

mod binaries;
mod brokers;
mod client;
mod clients;
mod compaction;
mod connect;
mod differential;
mod faults;
mod fuzz;
mod images;
mod instructions;
mod java;
mod kills;
mod librdkafka;
mod mirror;
mod package;
mod packages;
mod planted;
mod process;
mod profile;
mod readme;
mod schedules;
mod security;
mod sim;
mod streams;
mod tools;
mod trace;
mod tsan;
mod vectors;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Developer commands of Millrace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    suite: Suite,
}

#[derive(Debug, Subcommand)]
enum Suite {
    /// The client crate's own scenarios against Millrace and Apache Kafka, one node and three.
    Client(client::ClientArguments),
    /// Clients that others wrote against the broker: codecs, contents, dumps.
    Clients(clients::ClientsArguments),
    /// The same history compacted by Millrace and by Apache Kafka: what is left must be the same.
    Compaction,
    /// Millrace held against what Apache Kafka was recorded to answer, case by case.
    Differential(differential::DifferentialArguments),
    /// Kafka Connect, Debezium with a real `PostgreSQL`, and a sink into one, while all are killed.
    Connect(connect::ConnectArguments),
    /// The broker in trouble: failing syncs, writes and reads, full disk, little memory.
    Faults(faults::FaultsArguments),
    /// Whatever foreign bytes can reach, fed with anything by libFuzzer, from the inputs kept.
    Fuzz(fuzz::FuzzArguments),
    /// Every state that a crash may leave of a log directory, judged and crashed again.
    Images(images::ImagesArguments),
    /// Instructions of hot paths, counted by callgrind, held against what was recorded.
    Instructions(instructions::InstructionsArguments),
    /// Kills the broker again and again while producers write; every promise is checked.
    Kills(kills::KillsArguments),
    /// librdkafka's own perf tool, built; prints where it is.
    Librdkafka,
    /// `MirrorMaker` 2 from Apache Kafka to Millrace and back, with producers and groups that move.
    Mirror(mirror::MirrorArguments),
    /// The Debian package, built; with --smoke installed, started, stopped and removed here.
    Package(package::PackageArguments),
    /// Bugs planted in the product and lies told around it: the general runs must catch each.
    Planted(planted::PlantedArguments),
    /// Where the broker's processor time goes under load, by perf, as flame graphs.
    Profile(profile::ProfileArguments),
    /// Models of tasks that share something, by a million schedules that are chosen one by one.
    Schedules(schedules::SchedulesArguments),
    /// The client crate and the command line against Apache Kafka's listeners with TLS and SASL.
    Security(security::SecurityArguments),
    /// The whole broker in the simulation, with crashes, for fresh seeds or one again.
    Sim(sim::SimArguments),
    /// Runs the README's first two commands literally, in a clone in a directory of its own.
    Readme,
    /// A word count of Kafka Streams while its instances and the broker are killed.
    Streams(streams::StreamsArguments),
    /// Apache Kafka's own tools against the broker, each through its useful options.
    Tools(tools::ToolsArguments),
    /// The broker under strace: no acknowledgement before its sync has returned.
    Trace(trace::TraceArguments),
    /// The broker under `ThreadSanitizer` with load of every kind (needs a nightly compiler).
    Tsan(tsan::TsanArguments),
    /// Records Kafka's own bytes for every message and version (needs a JDK and Maven).
    Vectors,
}

/// What a suite comes back with: on failure, what failed and where to look.
type Outcome = Result<(), String>;

fn main() -> ExitCode {
    let outcome = match Arguments::parse().suite {
        Suite::Client(arguments) => client::run(&arguments),
        Suite::Clients(arguments) => clients::run(&arguments),
        Suite::Compaction => compaction::run(),
        Suite::Differential(arguments) => differential::run(&arguments),
        Suite::Connect(arguments) => connect::run(&arguments),
        Suite::Faults(arguments) => faults::run(&arguments),
        Suite::Fuzz(arguments) => fuzz::run(&arguments),
        Suite::Images(arguments) => images::run(&arguments),
        Suite::Instructions(arguments) => instructions::run(&arguments),
        Suite::Kills(arguments) => kills::run(&arguments),
        Suite::Librdkafka => librdkafka::run(),
        Suite::Mirror(arguments) => mirror::run(&arguments),
        Suite::Package(arguments) => package::run(&arguments),
        Suite::Planted(arguments) => planted::run(&arguments),
        Suite::Profile(arguments) => profile::run(&arguments),
        Suite::Readme => readme::run(),
        Suite::Schedules(arguments) => schedules::run(&arguments),
        Suite::Security(arguments) => security::run(&arguments),
        Suite::Sim(arguments) => sim::run(&arguments),
        Suite::Streams(arguments) => streams::run(&arguments),
        Suite::Tools(arguments) => tools::run(&arguments),
        Suite::Trace(arguments) => trace::run(&arguments),
        Suite::Tsan(arguments) => tsan::run(&arguments),
        Suite::Vectors => vectors::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the repository.
fn root() -> std::path::PathBuf {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("xtask is a directory of the workspace")
        .to_owned()
}
