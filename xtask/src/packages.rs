//! Programs that a suite needs: installed by their package's name when they are missing, or the
//! suite fails.
//!
//! What always holds: one package is installed at a time, whatever suites run side by side
//! (`xtask/kafka-peer` takes the same lock).

use std::fs::File;
use std::process::Command;

use crate::Outcome;
use crate::process::{println, succeed};

/// In the directory for temporary files: whoever installs holds it.
const LOCK: &str = "millrace-packages.lock";

/// Makes sure that a program is there: by its Debian package when it isn't.
pub(crate) fn need(program: &str, package: &str) -> Outcome {
    if has(program) {
        return Ok(());
    }
    let lock = std::env::temp_dir().join(LOCK);
    let lock = File::create(&lock).and_then(|file| file.lock().map(|()| file));
    // Held to the end.
    let _lock = lock.map_err(|error| format!("cannot wait for other installations: {error}"))?;
    if has(program) {
        return Ok(());
    }
    println(&format!("{program} is missing, installing {package}"));
    let root = has("sudo").then_some("sudo");
    for arguments in [["update", "--quiet"], ["install", "--yes"]] {
        let mut words = Vec::from_iter(root);
        words.push("apt-get");
        words.extend(arguments);
        if arguments[0] == "install" {
            words.push(package);
        }
        let installed = succeed(Command::new(words[0]).args(&words[1..]));
        installed
            .map_err(|error| format!("{program} is needed and {package} can't be had: {error}"))?;
    }
    Ok(())
}

fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}
