//! The machine, Apache Kafka and Millrace in one table: the same work for each, run in turn on this
//! machine, scenario by scenario.
//!
//! What always holds: brokers take turns within every run (A B A B), so that what the machine does
//! meanwhile meets all of them; both are warmed before the first run that counts; what a run wrote is
//! deleted, synced and dropped from the caches before the next one begins, outside of every clock; a
//! run whose records are not all there has no figure, and ends the comparison with an error.

mod clients;
mod durable;
mod grown;
mod lanes;
mod latency;
mod machine;
mod nodes;
mod out;
mod plot;
mod reading;
mod run;
mod scenario;
mod site;
mod table;
mod throughput;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use millrace_host::Host;

use self::out::Out;
use self::scenario::Scenario;
use self::site::{Kind, Programs};
use crate::report::line;
use crate::text;

/// Which scenarios, how large.
#[derive(Args, Clone, Debug)]
pub(crate) struct CompareArguments {
    /// Scenarios by name; without any, all that the size has.
    scenarios: Vec<Scenario>,
    /// Less of everything, two runs each: minutes.
    #[arg(long)]
    quick: bool,
    /// Millrace alone, hardly anything, once: that every scenario works.
    #[arg(long, conflicts_with = "quick")]
    smoke: bool,
    /// Runs of each column.
    #[arg(long)]
    runs: Option<usize>,
    /// This broker, instead of a build of the tree.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Where brokers' files go; beside this program without it.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Where the table, all runs as JSON lines and the plots go; beside this program without it.
    #[arg(long)]
    out: Option<PathBuf>,
    /// No Apache Kafka: the machine and Millrace.
    #[arg(long)]
    without_kafka: bool,
}

/// How much of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    Full,
    Quick,
    Smoke,
}

impl Size {
    /// The one of three that this size asks for.
    fn of<T>(self, full: T, quick: T, smoke: T) -> T {
        match self {
            Self::Full => full,
            Self::Quick => quick,
            Self::Smoke => smoke,
        }
    }
}

/// A comparison under way.
struct Compare<'a> {
    host: &'a Host,
    programs: Programs,
    kinds: Vec<Kind>,
    size: Size,
    runs: usize,
    out: Out,
}

/// Runs the scenarios and prints the table.
pub(crate) async fn run(host: &Host, arguments: &CompareArguments) -> Result<(), String> {
    let size = match (arguments.quick, arguments.smoke) {
        (_, true) => Size::Smoke,
        (true, false) => Size::Quick,
        (false, false) => Size::Full,
    };
    let mut kinds = vec![Kind::Machine, Kind::Millrace];
    if size != Size::Smoke && !arguments.without_kafka {
        kinds.insert(1, Kind::Kafka);
    }
    let programs = programs(arguments, size, kinds.contains(&Kind::Kafka))?;
    let target = target(&programs.own)?;
    let out = arguments.out.clone().unwrap_or(target.join("compare"));
    let mut compare = Compare {
        host,
        out: Out::new(&out)?,
        programs,
        kinds,
        size,
        runs: arguments.runs.unwrap_or(size.of(5, 2, 1)).max(1),
    };
    let machine = machine::describe(&root(), &compare.programs.dir)?;
    compare.out.machine(&machine)?;
    let scenarios = if arguments.scenarios.is_empty() {
        Scenario::of(size)
    } else {
        arguments.scenarios.clone()
    };
    for scenario in scenarios {
        compare.warm_memory()?;
        compare.scenario(scenario).await?;
    }
    compare.out.finish(&machine)
}

impl Compare<'_> {
    /// A virtual machine's first touch of a page is paid for by whoever touches it.
    fn warm_memory(&self) -> Result<(), String> {
        let mut words = vec!["warm".to_owned()];
        if self.size == Size::Smoke {
            words.extend(["--mib".to_owned(), "16".to_owned()]);
        }
        run::run(&self.programs.own, &words).map(drop)
    }
}

/// Finds or builds the programs, and installs Apache Kafka.
fn programs(
    arguments: &CompareArguments,
    size: Size,
    with_kafka: bool,
) -> Result<Programs, String> {
    let own = std::env::current_exe().map_err(text)?;
    let target = target(&own)?;
    let absolute = |path: &Path| {
        let found = path.canonicalize();
        found.map_err(|error| format!("{}: {error}", path.display()))
    };
    let millrace = match &arguments.binary {
        Some(binary) => absolute(binary)?,
        None => build(&target, size)?,
    };
    let peer = root().join("xtask/kafka-peer");
    if with_kafka {
        line("Apache Kafka 4.3.1 is installed where it is missing");
        succeed(Command::new(&peer).arg("install").stdout(Stdio::null()))?;
    }
    let dir = arguments.dir.clone().unwrap_or(target);
    Ok(Programs {
        own,
        millrace,
        peer,
        librdkafka: None,
        dir: absolute(&dir)?,
    })
}

/// Builds the broker: as it ships where it is measured.
fn build(target: &Path, size: Size) -> Result<PathBuf, String> {
    let profile = size.of("release", "release", "hunt");
    let mut build = cargo();
    build.args([
        "build",
        "--locked",
        "--package",
        "millrace",
        "--profile",
        profile,
    ]);
    build.arg("--target-dir").arg(target);
    succeed(&mut build)?;
    Ok(target.join(profile).join("millrace"))
}

/// Cargo at the root of the repository, the one that this program was started by if there is one.
fn cargo() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root());
    command
}

fn succeed(command: &mut Command) -> Result<(), String> {
    match command.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

/// Cargo's target directory: this program is in a profile's directory there.
fn target(own: &Path) -> Result<PathBuf, String> {
    let target = own.parent().and_then(Path::parent);
    let target = target.ok_or_else(|| format!("{} is nowhere", own.display()))?;
    Ok(target.to_owned())
}

/// The root of the repository.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}
