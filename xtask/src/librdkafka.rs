//! `cargo xtask librdkafka`: librdkafka's own perf tool, built from the sources that the rdkafka-sys
//! crate carries. Prints where the program is, and nothing else: the bench asks for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{output, println};
use crate::{Outcome, clients};

/// The crate whose build has librdkafka's tree in its output directory.
const CRATE: &str = "rdkafka-sys-";
/// The tool, in the tree's directory of examples.
const TOOL: &str = "rdkafka_performance";

/// Builds the tool where it isn't.
pub(crate) fn run() -> Outcome {
    let client = clients::rust::build_rdkafka("writer")?;
    let profile = client.parent().unwrap_or(&client);
    let examples = tree(&profile.join("build"))?.join("examples");
    // What make says goes with an error only.
    output(
        Command::new("make")
            .args(["--silent", TOOL])
            .current_dir(&examples),
    )?;
    println(&examples.join(TOOL).display().to_string());
    Ok(())
}

/// The newest tree of librdkafka that was built there.
fn tree(builds: &Path) -> Result<PathBuf, String> {
    let failed = |error| format!("{}: {error}", builds.display());
    let mut newest = None;
    for entry in fs::read_dir(builds).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let library = entry.path().join("out/src/librdkafka.a");
        let ours = entry.file_name().to_string_lossy().starts_with(CRATE);
        if let Ok(built) = library.metadata().and_then(|library| library.modified())
            && ours
        {
            newest = newest.max(Some((built, entry.path().join("out"))));
        }
    }
    let newest = newest.map(|(_, tree)| tree);
    newest.ok_or_else(|| format!("no librdkafka was built in {}", builds.display()))
}
