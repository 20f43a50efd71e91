//! `millrace-bench`: a load generator over the wire, and the floor of the machine below it. Works
//! against Millrace and Apache Kafka alike.

mod cpu;
mod floor;
mod groups;
mod idle;
mod idle_node;
mod idle_work;
mod load;
mod payload;
mod readback;
mod report;
mod start;
mod topics;
mod warm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use millrace_host::real::{Options, RealHost};

/// Load over the wire, and what the machine itself needs for the same bytes.
#[derive(Debug, Parser)]
#[command(name = "millrace-bench", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    measure: Measure,
}

#[derive(Debug, Subcommand)]
enum Measure {
    /// Receives, checks, writes, syncs and sends the same bytes with no broker around them.
    Floor(floor::FloorArguments),
    /// Produces batches encoded beforehand, then reads all of them back and checks them.
    Load(load::LoadArguments),
    /// Consumer groups: many members that join, live and commit; a start with many offsets.
    Groups(groups::GroupsArguments),
    /// Makes many partitions and measures what they cost: memory, disk, restarts, deletion.
    Idle(idle::IdleArguments),
    /// Starts a broker and times its first acknowledged produce.
    Start(start::StartArguments),
    /// Makes many topics and asks about them: what each answer costs.
    Topics(topics::TopicsArguments),
    /// Touches free memory once, so that a virtual machine's first touch is in nobody's figure.
    Warm(warm::WarmArguments),
}

fn main() -> ExitCode {
    match run(&Arguments::parse().measure) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("millrace-bench: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run(measure: &Measure) -> Result<(), String> {
    let machine = RealHost::start(&Options {
        data_workers: 2,
        ..Options::default()
    })
    .map_err(text)?;
    let host = machine.host();
    match measure {
        Measure::Floor(arguments) => floor::run(&*host.clock, arguments),
        Measure::Load(arguments) => machine.block_on(load::run(&host, arguments)),
        Measure::Warm(arguments) => warm::run(&*host.clock, arguments),
        Measure::Groups(arguments) => machine.block_on(groups::run(&host, arguments)),
        Measure::Idle(arguments) => machine.block_on(idle::run(&host, arguments)),
        Measure::Start(arguments) => machine.block_on(start::run(&host, arguments)),
        Measure::Topics(arguments) => machine.block_on(topics::run(&host, arguments)),
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
