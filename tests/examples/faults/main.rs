//! The shipped binary in trouble that a machine can make: syncs, writes and reads that `strace`
//! answers in the kernel's place, a full file system, few descriptors, little memory. After each:
//! kill, start, everything acknowledged is there. `cargo xtask faults` builds and runs it.

mod descriptors;
mod memory;
mod reads;
mod space;
mod stage;
mod syncs;
mod writes;

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;

use millrace_host::real::{Options, RealHost};

use stage::Stage;

/// Stays on the thread that blocks on it.
type Playing<'a> = Pin<Box<dyn Future<Output = Result<String, String>> + 'a>>;
type Scenario = for<'a> fn(&'a Stage) -> Playing<'a>;

/// Each by its name, with its row in the catalogue of faults.
const SCENARIOS: [(&str, &str, Scenario); 12] = [
    ("slow-sync", "F14", |stage| Box::pin(syncs::slow(stage))),
    ("hung-sync", "F15", |stage| Box::pin(syncs::hung(stage))),
    ("sync-error", "F16", |stage| Box::pin(syncs::eio(stage))),
    ("sync-error-of-one", "F16, F28", |stage| {
        Box::pin(syncs::eio_of_one(stage))
    }),
    ("read-error", "F17", |stage| Box::pin(reads::eio(stage))),
    ("write-no-space", "F18", |stage| {
        Box::pin(writes::no_space(stage))
    }),
    ("write-error", "F16", |stage| Box::pin(writes::eio(stage))),
    ("write-nothing", "F18", |stage| {
        Box::pin(writes::nothing(stage))
    }),
    ("write-short", "F18", |stage| Box::pin(writes::short(stage))),
    ("full", "F18", |stage| Box::pin(space::full(stage))),
    ("descriptors", "F29", |stage| {
        Box::pin(descriptors::few(stage))
    }),
    ("memory", "F30", |stage| Box::pin(memory::little(stage))),
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("faults: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let usage = || "usage: faults BINARY smoke|full [NAME..]".to_owned();
    let binary = PathBuf::from(arguments.next().ok_or_else(usage)?);
    let smoke = match arguments.next().as_deref() {
        Some("smoke") => true,
        Some("full") => false,
        _ => return Err(usage()),
    };
    let only: Vec<String> = arguments.collect();
    for name in &only {
        if !SCENARIOS.iter().any(|(known, _, _)| known == name) {
            let known: Vec<_> = SCENARIOS.iter().map(|(name, _, _)| *name).collect();
            return Err(format!(
                "no scenario {name}; there are {}",
                known.join(", ")
            ));
        }
    }
    let mut failed = Vec::new();
    for (name, row, scenario) in SCENARIOS {
        if !only.is_empty() && !only.iter().any(|wanted| wanted == name) {
            continue;
        }
        match play(&binary, smoke, scenario) {
            Ok(said) => eprintln!("faults: {name} ({row}): {said}"),
            Err(reason) => {
                eprintln!("faults: {name} ({row}) FAILED: {reason}");
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

/// One scenario on a fresh place and with threads of its own.
fn play(binary: &Path, smoke: bool, scenario: Scenario) -> Result<String, String> {
    let place = tempfile::tempdir().map_err(|error| error.to_string())?;
    let machine = RealHost::start(&Options::default()).map_err(|error| error.to_string())?;
    let stage = Stage {
        host: machine.host(),
        binary: binary.to_owned(),
        place: place
            .path()
            .canonicalize()
            .map_err(|error| error.to_string())?,
        smoke,
    };
    let played = machine.block_on(scenario(&stage));
    machine.stop(std::time::Duration::from_secs(2));
    played.inspect_err(|_| {
        let log = std::fs::read_to_string(stage.log()).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(15).collect();
        for line in last.into_iter().rev() {
            eprintln!("faults: its log: {line}");
        }
        eprintln!("faults: the data are kept in {}", place.keep().display());
    })
}
