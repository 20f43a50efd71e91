//! `millrace-bench`: a load generator over the wire, and the floor of the machine below it. Works
//! against Millrace and Apache Kafka alike.

mod client;
mod compaction;
mod compare;
mod cpu;
mod fetching;
mod floor;
mod groups;
mod hold;
mod idle;
mod idle_node;
mod idle_work;
mod load;
mod pace;
mod payload;
mod read;
mod readback;
mod report;
mod start;
mod tail;
mod topics;
mod warm;
mod wire;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use millrace_host::real::{Options, RealHost};
use rustix::process::{Resource, getrlimit, setrlimit};

/// Load over the wire, and what the machine itself needs for the same bytes.
#[derive(Debug, Parser)]
#[command(name = "millrace-bench", disable_help_subcommand = true)]
struct Arguments {
    /// Figures as JSON lines, with the curves that plots are made of.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    measure: Measure,
}

#[derive(Debug, Subcommand)]
enum Measure {
    /// The machine, Apache Kafka and Millrace in one table, scenario by scenario.
    Compare(compare::CompareArguments),
    /// Receives, checks, writes, syncs and sends the same bytes with no broker around them.
    Floor(floor::FloorArguments),
    /// A client library at work, ours or another's: what a record takes of it.
    Client(client::ClientArguments),
    /// Produces batches encoded beforehand, then reads all of them back and checks them.
    Load(load::LoadArguments),
    /// Compaction of two tables: how fast it goes, alone and beside producers, who must not notice.
    Compaction(compaction::CompactionArguments),
    /// Consumer groups: many members that join, live and commit; a start with many offsets.
    Groups(groups::GroupsArguments),
    /// Opens connections that ask for nothing: what the broker keeps in memory for them.
    Hold(hold::HoldArguments),
    /// Makes many partitions and measures what they cost: memory, disk, restarts, deletion.
    Idle(idle::IdleArguments),
    /// Reads a topic from its start to its end, as a consumer that catches up.
    Read(read::ReadArguments),
    /// Starts a broker and times its first acknowledged produce.
    Start(start::StartArguments),
    /// Sends at a fixed rate while a consumer waits: latencies from end to end.
    Tail(tail::TailArguments),
    /// Makes many topics and asks about them: what each answer costs.
    Topics(topics::TopicsArguments),
    /// Touches free memory once, so that a virtual machine's first touch is in nobody's figure.
    Warm(warm::WarmArguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.json {
        report::print_json();
    }
    match run(&arguments.measure) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("millrace-bench: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run(measure: &Measure) -> Result<(), String> {
    // A connection is a descriptor here and one in a broker that is started from here.
    raise_descriptors();
    let machine = RealHost::start(&Options {
        data_workers: 2,
        ..Options::default()
    })
    .map_err(text)?;
    let host = machine.host();
    match measure {
        Measure::Compare(arguments) => machine.block_on(compare::run(&host, arguments)),
        Measure::Client(arguments) => machine.block_on(client::run(&host, arguments)),
        Measure::Floor(arguments) => floor::run(&*host.clock, arguments),
        Measure::Load(arguments) => machine.block_on(load::run(&host, arguments)),
        Measure::Warm(arguments) => warm::run(&*host.clock, arguments),
        Measure::Groups(arguments) => machine.block_on(groups::run(&host, arguments)),
        Measure::Compaction(arguments) => machine.block_on(compaction::run(&host, arguments)),
        Measure::Hold(arguments) => machine.block_on(hold::run(&host, arguments)),
        Measure::Idle(arguments) => machine.block_on(idle::run(&host, arguments)),
        Measure::Read(arguments) => machine.block_on(read::run(&host, arguments)),
        Measure::Start(arguments) => machine.block_on(start::run(&host, arguments)),
        Measure::Tail(arguments) => machine.block_on(tail::run(&host, arguments)),
        Measure::Topics(arguments) => machine.block_on(topics::run(&host, arguments)),
    }
}

/// As many descriptors as this process may have.
fn raise_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        eprintln!("millrace-bench: the limit of descriptors stays as it is: {error}");
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
