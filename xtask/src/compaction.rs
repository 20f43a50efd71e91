//! `cargo xtask compaction`: the same history of keys in a compacted topic of Millrace and of Apache
//! Kafka, compacted by each; what is left must be the same, batch by batch and record by record, and
//! Kafka's dump tool must read Millrace's segments. Needs a JDK (17 or later) and Maven.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::brokers::{Kind, Site, peer};
use crate::packages::need;
use crate::process::{output, println};
use crate::{Outcome, binaries};

/// The topic's directory below that of the data.
const PARTITION: &str = "data/compacted-0";

/// Runs the suite.
pub(crate) fn run() -> Outcome {
    need("java", "default-jdk-headless")?;
    need("mvn", "maven")?;
    let millrace = binaries::millrace()?;
    let mut left = Vec::new();
    for kind in [Kind::Kafka, Kind::Millrace] {
        let site = Site::new(kind, &millrace)?;
        let running = site.start()?;
        let address = site.address();
        println(&format!("{kind:?} compacts"));
        left.push(compacted(&address)?);
        running.stop()?;
        if kind == Kind::Millrace {
            dumped(&site)?;
        }
    }
    let [theirs, ours] = left.as_slice() else {
        return Err("two brokers were asked".to_owned());
    };
    let differs = theirs.lines().zip(ours.lines()).find(|(a, b)| a != b);
    if let Some((theirs, ours)) = differs {
        return Err(format!("Kafka left\n  {theirs}\nMillrace left\n  {ours}"));
    }
    let (theirs, ours) = (theirs.lines().count(), ours.lines().count());
    if theirs != ours {
        return Err(format!(
            "Kafka left {theirs} batches and records, Millrace {ours}"
        ));
    }
    println(&format!("both left the same {ours} batches and records"));
    Ok(())
}

/// Writes the history, waits until it is compacted, and says what is left.
fn compacted(address: &str) -> Result<String, String> {
    let mut command = binaries::example("compacted")?;
    output(command.arg(address).stderr(Stdio::inherit()))
}

/// Has Kafka's tool read every segment.
fn dumped(site: &Site) -> Outcome {
    let directory = Path::new(&site.path()).join(PARTITION);
    let entries = std::fs::read_dir(&directory);
    let entries = entries.map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        let kinds = ["log", "index", "timeindex"];
        if path
            .extension()
            .is_some_and(|kind| kinds.iter().any(|known| kind == *known))
        {
            files.push(path.display().to_string());
        }
    }
    files.sort();
    let list = files.join(",");
    let arguments = [
        "run",
        "dump-log",
        "--deep-iteration",
        "--print-data-log",
        "--files",
        &list,
    ];
    let said = output(Command::new(peer()).args(arguments))?;
    for bad in ["isvalid: false", "Exception", "mismatch", "Found timestamp"] {
        if said.contains(bad) {
            return Err(format!("Kafka's dump tool says `{bad}` of {list}"));
        }
    }
    let records = said.matches("payload:").count();
    println(&format!(
        "Kafka's dump tool reads {} files, {records} values",
        files.len()
    ));
    Ok(())
}
