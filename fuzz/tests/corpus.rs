//! Every input that is kept, through its target: what was found once stays found.

use std::fs;
use std::path::{Path, PathBuf};

use millrace_fuzz::TARGETS;

/// All inputs together, and one, in bytes: a clone stays small.
const CORPUS_BYTES_MAX: u64 = 2 << 20;
const INPUT_BYTES_MAX: u64 = 16 << 10;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn inputs(target: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(corpus().join(target)).expect("it is there to be read");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("it is there to be read").path())
        .collect();
    paths.sort();
    paths
}

#[test]
fn every_kept_input_keeps_the_rules_of_its_target() {
    let mut broken = Vec::new();
    for (name, run) in TARGETS {
        for path in inputs(name) {
            let bytes = fs::read(&path).expect("it is there to be read");
            if std::panic::catch_unwind(|| run(&bytes)).is_err() {
                broken.push(path);
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_target_has_inputs_and_every_input_a_target() {
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    for name in &names {
        assert!(!inputs(name).is_empty(), "{name} has no input");
        let program = format!("targets/{name}.rs");
        let program =
            fs::read_to_string(corpus().with_file_name(program)).expect("it is there to be read");
        assert!(program.contains(&format!("millrace_fuzz::{name}::run")));
    }
    for entry in fs::read_dir(corpus()).expect("it is there to be read") {
        let directory = entry.expect("it is there to be read").file_name();
        let known = directory.to_str().is_some_and(|name| names.contains(&name));
        assert!(known, "{} has no target", directory.display());
    }
}

#[test]
fn the_corpus_stays_small() {
    let mut total = 0;
    for (name, _) in TARGETS {
        for path in inputs(name) {
            let len = fs::metadata(&path).expect("it is there to be read").len();
            assert!(len <= INPUT_BYTES_MAX, "{}: {len} bytes", path.display());
            total += len;
        }
    }
    assert!(total <= CORPUS_BYTES_MAX, "{total} bytes");
}
