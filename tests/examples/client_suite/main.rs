//! The client crate's own scenarios against brokers that `cargo xtask client` starts, Millrace or Apache
//! Kafka, one node or three. Words of the command line: `bootstrap=ADDRESSES nodes=COUNT`, and, each only
//! where it is wanted, `smoke=yes`, `only=SCENARIO`, and `java=PROGRAM` and `rdkafka=PROGRAM`, the members
//! that others wrote.
//!
//! What always holds: each scenario prints a line; the program fails when one of them does; whatever is
//! waited for has a limit.

mod admin;
mod commits;
mod contents;
mod foreign;
mod groups;
mod load;
mod member;
mod mixed;
mod nodes;
mod racks;
mod sending;
mod stage;
mod trouble;
mod wires;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::process::ExitCode;

use millrace_host::real::{Options, RealHost};

use stage::Stage;

/// What a scenario comes back with: what it counted, or what is wrong.
type Told = Result<String, String>;

/// A scenario at work, on the thread that asks for it.
type Work<'a> = Pin<Box<dyn Future<Output = Told> + 'a>>;
/// A scenario's name, on what it runs, and what it does.
type Scenario = (&'static str, Wants, for<'a> fn(&'a Stage) -> Work<'a>);

/// On what a scenario makes sense.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wants {
    Any,
    /// Several nodes, for leaders that change.
    Several,
    /// Members that others wrote.
    Others,
}

const SCENARIOS: [Scenario; 17] = [
    ("contents", Wants::Any, |stage| {
        Box::pin(contents::codecs(stage))
    }),
    ("partitioning", Wants::Any, |stage| {
        Box::pin(contents::partitioning(stage))
    }),
    ("kills", Wants::Any, |stage| Box::pin(trouble::kills(stage))),
    ("pauses", Wants::Any, |stage| {
        Box::pin(trouble::pauses(stage))
    }),
    ("cuts", Wants::Any, |stage| Box::pin(trouble::cuts(stage))),
    ("leaders", Wants::Several, |stage| {
        Box::pin(trouble::leaders(stage))
    }),
    ("mixed-range", Wants::Others, |stage| {
        Box::pin(mixed::range(stage))
    }),
    ("mixed-roundrobin", Wants::Others, |stage| {
        Box::pin(mixed::round_robin(stage))
    }),
    ("mixed-cooperative", Wants::Others, |stage| {
        Box::pin(mixed::cooperative(stage))
    }),
    ("static", Wants::Any, |stage| {
        Box::pin(groups::of_static_members(stage))
    }),
    ("resets", Wants::Any, |stage| {
        Box::pin(groups::resets(stage))
    }),
    ("moves", Wants::Any, |stage| Box::pin(groups::moves(stage))),
    ("commits", Wants::Any, |stage| {
        Box::pin(commits::by_hand(stage))
    }),
    ("followers", Wants::Several, |stage| {
        Box::pin(racks::followers(stage))
    }),
    ("topics", Wants::Any, |stage| Box::pin(admin::topics(stage))),
    ("configs", Wants::Any, |stage| {
        Box::pin(admin::configs(stage))
    }),
    ("group-offsets", Wants::Any, |stage| {
        Box::pin(admin::groups(stage))
    }),
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("client: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let mut words = BTreeMap::<String, Vec<String>>::new();
    for word in std::env::args().skip(1) {
        let (name, value) = word
            .split_once('=')
            .ok_or_else(|| format!("`{word}` is not of the form NAME=VALUE"))?;
        words.entry(name.into()).or_default().push(value.into());
    }
    let only = words.remove("only").unwrap_or_default();
    if let Some(unknown) = only
        .iter()
        .find(|only| SCENARIOS.iter().all(|(name, ..)| name != only))
    {
        let names: Vec<_> = SCENARIOS.iter().map(|(name, ..)| *name).collect();
        return Err(format!(
            "no scenario {unknown}: take one of {}",
            names.join(", ")
        ));
    }
    let machine = RealHost::start(&Options::default()).map_err(|error| error.to_string())?;
    let stage = Stage::new(&machine.host(), &words)?;
    let mut failed = Vec::new();
    for (name, wants, scenario) in SCENARIOS {
        let is_wanted = only.is_empty() || only.iter().any(|only| only == name);
        let is_possible = match wants {
            Wants::Any => true,
            Wants::Several => stage.nodes.count() > 1,
            Wants::Others => stage.others.is_some(),
        };
        if !is_wanted || !is_possible {
            continue;
        }
        let begin = stage.now();
        let told = machine.block_on(stage.limited(scenario(&stage)));
        let seconds = stage.now().since(begin).as_secs_f32();
        match told {
            Ok(counted) => say(&format!("pass {name}: {counted} ({seconds:.1} s)")),
            Err(reason) => {
                say(&format!("FAIL {name}: {reason} ({seconds:.1} s)"));
                failed.push(name);
            }
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("failed: {}", failed.join(", ")))
    }
}

#[expect(clippy::print_stdout, reason = "the output of a suite")]
fn say(line: &str) {
    println!("{line}");
}
