//! Records what a broker answers to the cases, or holds a broker against the record.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use millrace_differential::case::Suite;
use millrace_differential::differences::{Difference, Staying, between, of_one};
use millrace_differential::instance::{self, Instance, Key};
use millrace_differential::masks::Masks;
use millrace_differential::record::{self, Recorded, ranges};
use millrace_differential::run::Outcome;
use millrace_differential::{cases, pool};
use millrace_protocol::api::Api;
use serde_json::Value;

/// The recorded differential against Apache Kafka.
#[derive(Debug, Parser)]
#[command(name = "millrace-differential")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Asks Apache Kafka, which has just been started, and writes the record.
    Record(Which),
    /// Asks a broker, which has just been started, and compares with the record.
    Compare(Which),
    /// Asks a broker and prints what it answers.
    Show(Which),
}

/// Whom to ask, and what.
#[derive(Debug, Args)]
struct Which {
    /// The broker.
    #[arg(long)]
    address: String,
    /// Only this API's cases.
    #[arg(long)]
    api: Option<String>,
    /// Only cases with this in their name.
    #[arg(long)]
    case: Option<String>,
    /// What differs of this API is counted and told, and fails nothing; may be given often.
    #[arg(long)]
    open: Vec<String>,
    /// Set apart from other runs against the same broker by this.
    #[arg(long, default_value = "")]
    salt: String,
}

/// What differs of a case of an API, with the instances that have it.
type Differences = BTreeMap<(Api, String, Difference), Vec<Key>>;

/// What is printed of what differs; all is counted.
const FAILURES_SHOWN_MAX: usize = 1000;

fn main() -> ExitCode {
    let done = match Arguments::parse().what {
        What::Record(which) => record(&which),
        What::Compare(which) => compare(&which),
        What::Show(which) => show(&which),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

impl Which {
    fn address(&self) -> Result<SocketAddr, String> {
        let mut found = self.address.to_socket_addrs().map_err(|e| e.to_string())?;
        found
            .next()
            .ok_or(format!("{} is no address", self.address))
    }

    fn is_open(&self, api: Api) -> bool {
        self.open.iter().any(|open| open == api.row().name)
    }

    fn suites(&self) -> Result<Vec<Suite>, String> {
        let mut suites = cases::suites();
        if let Some(api) = &self.api {
            suites.retain(|suite| suite.api.row().name == api);
        }
        if suites.is_empty() {
            return Err("no API of this name has cases".into());
        }
        Ok(suites)
    }

    fn instances<'a>(&self, suites: &'a [Suite]) -> Result<Vec<Instance<'a>>, String> {
        let mut instances = instance::all(suites)?;
        if let Some(case) = &self.case {
            instances.retain(|instance| instance.key.case.contains(case));
        }
        Ok(instances)
    }
}

fn apis(suites: &[Suite]) -> Vec<Api> {
    suites.iter().map(|suite| suite.api).collect()
}

fn masked(masks: &mut Masks, mut outcome: Outcome) -> Outcome {
    let answers = outcome.asked.iter_mut().chain(&mut outcome.after);
    answers.for_each(|answer| masks.apply(answer));
    outcome
}

fn read_masked(masks: &mut Masks) -> Result<Recorded, String> {
    let recorded = record::read()?.into_iter();
    Ok(recorded
        .map(|(key, outcome)| (key, masked(masks, outcome)))
        .collect())
}

fn record(which: &Which) -> Result<(), String> {
    let suites = which.suites()?;
    let instances = which.instances(&suites)?;
    let mut recorded = record::read()?;
    recorded.retain(|key, _| {
        !instances.iter().any(|instance| instance.key.api == key.api)
            || which
                .case
                .as_ref()
                .is_some_and(|case| !key.case.contains(case))
    });
    let mut masks = Masks::read()?;
    let mut failures = Vec::new();
    let outcomes = pool::run(which.address()?, &which.salt, &suites, &instances, None)?;
    for (instance, outcome) in instances.iter().zip(outcomes) {
        match outcome {
            Ok(outcome) => {
                let _ = recorded.insert(instance.key.clone(), masked(&mut masks, outcome));
            }
            Err(reason) => failures.push(format!("{}: {reason}", instance.key)),
        }
    }
    let order: Vec<Key> = instance::all(&suites)?.into_iter().map(|i| i.key).collect();
    record::write(&apis(&suites), &order, &recorded)?;
    say(&format!(
        "recorded {} instances",
        instances.len() - failures.len()
    ));
    ended(&failures)
}

fn show(which: &Which) -> Result<(), String> {
    let suites = which.suites()?;
    let instances = which.instances(&suites)?;
    let outcomes = pool::run(which.address()?, &which.salt, &suites, &instances, None)?;
    for (instance, outcome) in instances.iter().zip(outcomes) {
        say(&format!("{}: {outcome:?}", instance.key));
    }
    Ok(())
}

fn compare(which: &Which) -> Result<(), String> {
    let suites = which.suites()?;
    let instances = which.instances(&suites)?;
    let mut masks = Masks::read()?;
    let mut staying = Staying::read()?;
    let recorded = read_masked(&mut masks)?;
    let fixed = (masks.clone(), staying.clone());
    let judge = |instance: &Instance<'_>, place: usize, seen: &Value| {
        let Some(recorded) = recorded.get(&instance.key) else {
            return true;
        };
        let mut seen = seen.clone();
        fixed.0.clone().apply(&mut seen);
        let recorded = recorded.after.get(place).unwrap_or(&Value::Null);
        let differences = of_one(recorded, &seen);
        let mut stay = differences.iter().map(|d| fixed.1.find(&instance.key, d));
        stay.all(|row| row.is_some())
    };
    let outcomes = pool::run(
        which.address()?,
        &which.salt,
        &suites,
        &instances,
        Some(&judge),
    )?;
    let mut failures = Vec::new();
    let mut differences = Differences::new();
    let mut stays = 0;
    for (instance, outcome) in instances.iter().zip(outcomes) {
        let key = &instance.key;
        let Some(recorded) = recorded.get(key) else {
            failures.push(format!(
                "{key}: not recorded; `cargo xtask differential record`"
            ));
            continue;
        };
        let outcome = match outcome {
            Ok(outcome) => masked(&mut masks, outcome),
            Err(reason) => {
                failures.push(format!("{key}: {reason}"));
                continue;
            }
        };
        for difference in between(recorded, &outcome) {
            if let Some(row) = staying.find(key, &difference) {
                staying.used(row);
                stays += 1;
            } else {
                let group = (key.api, key.case.clone(), difference);
                differences.entry(group).or_default().push(key.clone());
            }
        }
    }
    if which.case.is_none() {
        let apis = apis(&suites);
        failures.extend(stale(&apis, &instances, &recorded));
        let settled: Vec<Api> = apis
            .into_iter()
            .filter(|api| !which.is_open(*api))
            .collect();
        failures.extend(masks.unused(&settled));
        failures.extend(staying.unused(&settled));
    }
    for api in apis(&suites).into_iter().filter(|api| which.is_open(*api)) {
        tell_of(api, &mut differences);
    }
    failures.extend(differences.iter().map(told));
    say_counts(instances.len(), stays);
    ended(&failures)
}

fn say_counts(asked: usize, stay: usize) {
    say(&format!(
        "{asked} instances held against Kafka's; {stay} differences are known and stay"
    ));
}

/// What is recorded of these APIs without a case.
fn stale(apis: &[Api], instances: &[Instance<'_>], recorded: &Recorded) -> Vec<String> {
    let known: BTreeSet<&Key> = instances.iter().map(|instance| &instance.key).collect();
    let of_these = recorded.keys().filter(|key| apis.contains(&key.api));
    let stale = of_these.filter(|key| !known.contains(key));
    stale
        .map(|key| format!("{key}: recorded, but no case any more"))
        .collect()
}

/// Counts what differs of an API, and takes it out.
fn tell_of(api: Api, differences: &mut Differences) {
    let count = differences.len();
    differences.retain(|(of, ..), _| *of != api);
    let count = count - differences.len();
    say(&format!("open: {}, {count} differences", api.row().name));
}

/// A difference with all instances of a case that have it.
fn told(((api, case, difference), keys): (&(Api, String, Difference), &Vec<Key>)) -> String {
    let mut variations: BTreeMap<&str, Vec<i16>> = BTreeMap::new();
    for key in keys {
        let versions = variations.entry(&key.variation).or_default();
        if versions.last() != Some(&key.version) {
            versions.push(key.version);
        }
    }
    let variations: Vec<String> = variations
        .iter()
        .map(|(variation, versions)| format!("{variation} v{}", ranges(versions)))
        .collect();
    format!(
        "{} / {case} / {}\n    {}\n    Kafka {}\n    here  {}",
        api.row().name,
        variations.join("; "),
        difference.path,
        difference.kafka,
        difference.ours
    )
}

fn ended(failures: &[String]) -> Result<(), String> {
    if failures.is_empty() {
        return Ok(());
    }
    let not_asked = failures
        .iter()
        .filter(|failure| failure.ends_with(pool::NOT_ASKED));
    let not_asked = not_asked.count();
    let asked = failures
        .iter()
        .filter(|failure| !failure.ends_with(pool::NOT_ASKED));
    for failure in asked.take(FAILURES_SHOWN_MAX) {
        say(failure);
    }
    if not_asked > 0 {
        say(&format!("{not_asked} were {}", pool::NOT_ASKED));
    }
    Err(format!("{} differ or failed", failures.len()))
}

#[expect(clippy::print_stdout, reason = "the output of a developer's tool")]
fn say(line: &str) {
    println!("{line}");
}
