//! `cargo xtask planted`: bugs planted in the product and lies told around it, each hunted by the
//! general runs: the simulation with the seeds of its own smoke, and the crash images of a log
//! directory. What is sound must be found so by those runs themselves; here each must fail.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use clap::Args;

use crate::process::println;
use crate::{Outcome, binaries, sim};

/// Bugs that no general run was seen to catch yet: a finding each, told by every run. A smoke passes
/// with them, a whole run does not.
const OPEN: &[&str] = &[];

/// How thoroughly.
#[derive(Args, Debug)]
pub(crate) struct PlantedArguments {
    /// Each bug in the run that caught it last only, not in all of them.
    #[arg(long)]
    smoke: bool,
    /// These bugs only, separated by commas.
    #[arg(long, conflicts_with = "smoke")]
    bugs: Option<String>,
}

/// What one run came to with one bug.
#[derive(Debug)]
struct Hunt {
    run: String,
    /// The seed or history that caught it.
    by: String,
    tried: String,
    fired: u64,
    rules: String,
}

impl Hunt {
    /// A line of either hunter: the bug, and what came of it.
    fn parse(line: &str) -> Option<(String, Self)> {
        let fields: Vec<&str> = line.split('\t').collect();
        let [bug, run, by, tried, fired, rules] = fields[..] else {
            return None;
        };
        let hunt = Self {
            run: run.to_owned(),
            by: by.to_owned(),
            tried: tried.to_owned(),
            fired: fired.parse().ok()?,
            rules: rules.to_owned(),
        };
        Some((bug.to_owned(), hunt))
    }

    /// Whether the bug bit and the run failed by it.
    fn caught(&self) -> bool {
        !self.by.is_empty() && self.fired > 0
    }
}

/// Runs the suite.
pub(crate) fn run(arguments: &PlantedArguments) -> Outcome {
    let (first, count) = (sim::SMOKE_FIRST.to_string(), sim::SMOKE_COUNT.to_string());
    let mut all = lines(&mut simulation(&["list"])?)?;
    let some: Vec<&str> = arguments
        .bugs
        .iter()
        .flat_map(|bugs| bugs.split(','))
        .collect();
    let how = match &arguments.bugs {
        Some(_) => "some",
        None if arguments.smoke => "known",
        None => "all",
    };
    if arguments.bugs.is_some() {
        all.retain(|bug| some.contains(&bug.as_str()));
    }
    let seeds = [&[how, &first, &count], some.as_slice()].concat();
    let histories = [&[how], some.as_slice()].concat();
    let mut hunts = Hunts::default();
    hunts.take(&lines(&mut images(&histories)?)?);
    hunts.take(&lines(&mut simulation(&seeds)?)?);
    hunts.print(&all);
    let mut missing = hunts.missing(&all);
    println(&format!(
        "planted: {} of {} caught; not caught: {}",
        all.len() - missing.len(),
        all.len(),
        missing.join(", ")
    ));
    if arguments.smoke {
        missing.retain(|bug| !OPEN.contains(&bug.as_str()));
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!("not caught by any run: {}", missing.join(", ")))
}

/// What all runs came to, by bug.
#[derive(Debug, Default)]
struct Hunts(BTreeMap<String, Vec<Hunt>>);

impl Hunts {
    fn take(&mut self, lines: &[String]) {
        for (bug, hunt) in lines.iter().filter_map(|line| Hunt::parse(line)) {
            self.0.entry(bug).or_default().push(hunt);
        }
    }

    fn of(&self, bug: &str) -> &[Hunt] {
        self.0.get(bug).map_or(&[], Vec::as_slice)
    }

    /// Those that no run has caught.
    fn missing(&self, all: &[String]) -> Vec<String> {
        let missing = |bug: &&String| !self.of(bug).iter().any(Hunt::caught);
        all.iter().filter(missing).cloned().collect()
    }

    fn print(&self, all: &[String]) {
        println("bug | run | caught by | tried | fired | rules");
        for bug in all {
            for hunt in self.of(bug) {
                println(&format!(
                    "{bug} | {} | {} | {} | {} | {}",
                    hunt.run, hunt.by, hunt.tried, hunt.fired, hunt.rules
                ));
            }
        }
    }
}

/// The hunter that runs the simulation's seeds.
fn simulation(arguments: &[&str]) -> Result<Command, String> {
    hunter("planted", arguments)
}

/// The hunter that judges crash images.
fn images(arguments: &[&str]) -> Result<Command, String> {
    hunter("planted_images", arguments)
}

fn hunter(name: &str, arguments: &[&str]) -> Result<Command, String> {
    let mut command = binaries::example(name)?;
    command.args(arguments);
    Ok(command)
}

/// Runs a hunter and gives the lines it prints, which are shown as they come. Bugs make the product
/// panic and warn; nobody needs to see that.
fn lines(command: &mut Command) -> Result<Vec<String>, String> {
    let failed = |error: std::io::Error| format!("cannot run a hunter: {error}");
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let errors = child.stderr.take();
    let output = child
        .stdout
        .take()
        .expect("the output was asked to be piped");
    let (told, said) = std::thread::scope(|scope| {
        let errors = scope.spawn(|| errors.map(std::io::read_to_string));
        let mut told = Vec::new();
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            println(&line);
            told.push(line);
        }
        (told, errors.join())
    });
    if child.wait().map_err(failed)?.success() {
        return Ok(told);
    }
    let said = said.ok().flatten().and_then(Result::ok).unwrap_or_default();
    let last = said.lines().rev().take(20).collect::<Vec<_>>();
    let last: Vec<&str> = last.into_iter().rev().collect();
    Err(format!("a hunter failed:\n{}", last.join("\n")))
}
