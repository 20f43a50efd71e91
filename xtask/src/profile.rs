//! `cargo xtask profile`: where the broker's processor time goes under loads of the comparison, by perf: a
//! flame graph of each, and the functions with the greatest shares.
//!
//! What always holds: the samples are of all of the broker's threads, kernel included, while a load went on
//! that was not over before the profile was.

mod flames;
mod stacks;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::Args;

use crate::binaries::{cargo, millrace_as_shipped, target_directory};
use crate::brokers::{Kind, Site};
use crate::packages::need;
use crate::process::{Watched, output, println, succeed};
use crate::{Outcome, root};
use stacks::Stacks;

/// Samples of each busy processor in a second: not in step with what runs each millisecond.
const SAMPLES_PER_SECOND: &str = "997";
/// How much of each stack is kept with a sample, to be walked later.
const STACK: &str = "dwarf,16384";
/// From the start of a load to the first sample, in ms: batches are encoded, connections made.
const DELAY_MS: &str = "700";
/// Samples without which a profile says nothing.
const SAMPLES_MIN: usize = 200;
/// Functions that are told.
const TOLD: usize = 24;
/// Whatever a load does before it is profiled is over within this.
const PREPARED_WITHIN: Duration = Duration::from_mins(2);

/// Arguments of `millrace-bench` behind the address, the process and the topic.
struct Load {
    name: &'static str,
    title: &'static str,
    /// What is there before.
    prepare: &'static str,
    /// What goes on while samples are taken; no run writes more than 2.1 GB before it is synced.
    run: &'static str,
}

const LOADS: [Load; 4] = [
    Load {
        name: "p1s",
        title: "acks=1, records of 100 B, batches of 16 KB, a page-cache topic",
        prepare: "load --acks 1 --record-bytes 100 --batch-bytes 15000 --records 100000 \
                  --topic-config durability=page-cache",
        run: "load --acks 1 --record-bytes 100 --batch-bytes 15000 --records 19000000",
    },
    Load {
        name: "p3",
        title: "acks=all, synced, 100 partitions, batches of ten records of 1 KiB",
        prepare: "load --acks all --partitions 100 --connections 4 --record-bytes 1024 \
                  --batch-records 10 --records 50000",
        run: "load --acks all --partitions 100 --connections 4 --record-bytes 1024 \
              --batch-records 10 --records 1900000",
    },
    Load {
        name: "p6",
        title: "catch-up of a topic in the page cache, one reader, four partitions",
        prepare: "load --acks 1 --partitions 4 --record-bytes 1024 --batch-bytes 1000000 \
                  --records 1000000",
        run: "read --seconds 120",
    },
    Load {
        name: "p12",
        title: "acks=1, 10,000 partitions, batches of 16 KB",
        prepare: "load --acks 1 --partitions 10000 --connections 2 --record-bytes 1024 \
                  --batch-bytes 16384 --records 160000",
        run: "load --acks 1 --partitions 10000 --connections 2 --record-bytes 1024 \
              --batch-bytes 16384 --records 1900000",
    },
];

/// What is profiled, for how long.
#[derive(Args, Debug)]
pub(crate) struct ProfileArguments {
    /// These loads only: p1s, p3, p6, p12.
    names: Vec<String>,
    /// Seconds of each.
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// Where the pictures go [default: target/profile].
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Profiles each load.
pub(crate) fn run(arguments: &ProfileArguments) -> Outcome {
    let known = |name: &String| LOADS.iter().any(|load| load.name == name);
    if let Some(name) = arguments.names.iter().find(|name| !known(name)) {
        return Err(format!("there is no load {name}: p1s, p3, p6, p12"));
    }
    need("perf", "linux-perf")?;
    let broker = millrace_as_shipped()?;
    succeed(cargo().args([
        "build",
        "--release",
        "--locked",
        "--package",
        "millrace-bench",
    ]))?;
    let target = target_directory()?;
    let out = arguments.out.clone();
    let out = out.unwrap_or_else(|| target.join("profile"));
    fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    let wanted = |load: &&Load| {
        arguments.names.is_empty() || arguments.names.iter().any(|name| name == load.name)
    };
    for load in LOADS.iter().filter(wanted) {
        let bench = target.join("release/millrace-bench");
        let stacks = take(load, &broker, &bench, arguments.seconds)?;
        let path = out.join(load.name).with_extension("svg");
        let title = format!("{}: {}", load.name, load.title);
        fs::write(&path, flames::svg(&title, &stacks))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        println(&format!("\n{title}: {} samples", stacks.samples()));
        for (function, share) in stacks.shares().into_iter().take(TOLD) {
            println(&format!("{:6.1} %  {function}", share * 100.0));
        }
        println(&format!("drawn in {}", path.display()));
    }
    Ok(())
}

/// The samples of one load.
fn take(load: &Load, broker: &Path, bench: &Path, seconds: u32) -> Result<Stacks, String> {
    let site = Site::new(Kind::Millrace, broker)?;
    let running = site.start()?;
    let line = |arguments: &str| {
        let (command, rest) = arguments.split_once(' ').unwrap_or((arguments, ""));
        let (bench, address) = (bench.display(), site.address());
        format!("{bench} {command} --bootstrap {address} --topic profiled {rest}")
    };
    let mut prepared = Watched::quietly(&line(load.prepare), &root())?;
    let status = prepared.wait(PREPARED_WITHIN)?;
    if !status.success() {
        return Err(format!("{}: {status}\n{}", load.prepare, prepared.tail()));
    }
    let mut loading = Watched::quietly(&line(load.run), &root())?;
    let data = Path::new(&site.path()).join("perf.data");
    let broker_id = running.id().ok_or("there is no broker to look at")?;
    let mut record = Command::new("perf");
    record.args(["record", "--quiet", "--event", "cpu-clock"]);
    record.args(["--freq", SAMPLES_PER_SECOND, "--call-graph", STACK]);
    record.args(["--delay", DELAY_MS, "--pid", &broker_id.to_string()]);
    record.arg("--output").arg(&data);
    output(record.args(["--", "sleep", &seconds.to_string()]))?;
    if loading.wait(Duration::ZERO).is_ok() {
        let tail = loading.tail();
        return Err(format!("{}: over before the profile was\n{tail}", load.run));
    }
    loading.kill()?;
    running.stop()?;
    let mut script = Command::new("perf");
    script.args(["script", "--no-inline", "--input"]).arg(&data);
    let stacks = Stacks::read(&output(&mut script)?);
    if stacks.samples() < SAMPLES_MIN {
        return Err(format!("only {} samples", stacks.samples()));
    }
    Ok(stacks)
}
