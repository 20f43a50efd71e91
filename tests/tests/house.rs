//! The rules of the house as tests: which room may depend on which, what ships, and how a source
//! file looks. A rule that is only written down is broken within a month.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Every room with the rooms it may depend on. Dev-dependencies may go further.
const EDGES: [(&str, &[&str]); 15] = [
    ("millrace-probe", &[]),
    ("millrace-host", &[]),
    ("millrace-protocol", &["millrace-probe"]),
    ("millrace-config", &[]),
    ("millrace-sim", &["millrace-host", "millrace-protocol"]),
    (
        "millrace-core",
        &["millrace-config", "millrace-probe", "millrace-protocol"],
    ),
    (
        "millrace-log",
        &[
            "millrace-config",
            "millrace-host",
            "millrace-probe",
            "millrace-protocol",
        ],
    ),
    (
        "millrace-server",
        &[
            "millrace-config",
            "millrace-core",
            "millrace-host",
            "millrace-log",
            "millrace-probe",
            "millrace-protocol",
        ],
    ),
    (
        "millrace-client",
        &["millrace-host", "millrace-probe", "millrace-protocol"],
    ),
    (
        "millrace",
        &[
            "millrace-client",
            "millrace-config",
            "millrace-host",
            "millrace-log",
            "millrace-protocol",
            "millrace-server",
        ],
    ),
    ("millrace-bench", ANY_PRODUCT_ROOM),
    (
        "millrace-images",
        &[
            "millrace-host",
            "millrace-log",
            "millrace-protocol",
            "millrace-sim",
        ],
    ),
    ("millrace-tests", ANY_PRODUCT_ROOM),
    ("millrace-differential", &["millrace-protocol"]),
    ("xtask", &["millrace-protocol"]),
];

const ANY_PRODUCT_ROOM: &[&str] = &[
    "millrace-client",
    "millrace-config",
    "millrace-core",
    "millrace-host",
    "millrace-images",
    "millrace-log",
    "millrace-probe",
    "millrace-protocol",
    "millrace-server",
    "millrace-sim",
];

/// Rooms that decide or translate, and crates that would bring a machine into them.
const PURE: [&str; 3] = ["millrace-config", "millrace-core", "millrace-protocol"];
const MACHINE: [&str; 9] = [
    "libc",
    "memmap2",
    "mio",
    "parking_lot",
    "rand",
    "rustix",
    "socket2",
    "tempfile",
    "tokio",
];

/// Names that say nothing about what a file owns.
const EMPTY_NAMES: [&str; 9] = [
    "common", "helper", "helpers", "manager", "misc", "types", "util", "utils", "shared",
];

/// Fields of the configuration that nothing reads, each with the reason why its key is accepted.
const UNREAD_FIELDS: [(&str, &str); 1] = [(
    "unclean_leader_election",
    "with one replica there is no election that could be unclean",
)];

/// Most lines of a source file before its tests.
const FILE_LINES_MAX: usize = 800;

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("this crate is a directory of the workspace")
        .to_owned()
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs, since it runs this test");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata: {errors}");
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn items<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

/// Names of a package's normal dependencies.
fn dependencies(package: &Value) -> BTreeSet<&str> {
    let normal = items(package, "dependencies")
        .iter()
        .filter(|d| d["kind"].is_null());
    normal.map(|dependency| text(dependency, "name")).collect()
}

/// All files of the project that people write, with their paths from the root.
fn files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut directories = vec![root()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of the project is readable") {
            let path = entry
                .expect("a directory of the project is readable")
                .path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let skipped = ["target", ".git", "millrace-data", "node_modules"];
            if path.is_dir() && !skipped.contains(&name.as_str()) {
                directories.push(path);
            } else if path.is_file()
                && name != ".git"
                && let Ok(content) = fs::read_to_string(&path)
            {
                let from_root = path
                    .strip_prefix(root())
                    .expect("it was found below the root");
                found.push((from_root.to_string_lossy().into_owned(), content));
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<(String, String)> {
    files()
        .into_iter()
        .filter(|(path, _)| Path::new(path).extension().is_some_and(|end| end == "rs"))
        .collect()
}

fn is_test(path: &str) -> bool {
    path.ends_with("_tests.rs") || path.split('/').any(|part| part == "tests")
}

/// Whether another file declares this one as a module for tests: `#[cfg(test)] mod name;`.
fn is_test_module(path: &str) -> bool {
    let path = root().join(path);
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let declared = format!("#[cfg(test)]\nmod {stem};");
    let declared_in_crate = format!("#[cfg(test)]\npub(crate) mod {stem};");
    let directory = path.parent().expect("a source file is in a directory");
    let own = [
        directory.with_extension("rs"),
        directory.join("mod.rs"),
        directory.join("lib.rs"),
    ];
    own.iter()
        .filter_map(|parent| fs::read_to_string(parent).ok())
        .any(|content| content.contains(&declared) || content.contains(&declared_in_crate))
}

/// A source file without the tests at its end.
fn product(path: &str, content: &str) -> String {
    if is_test(path) || is_test_module(path) {
        return String::new();
    }
    let end = content
        .find("#[cfg(test)]\nmod tests {")
        .unwrap_or(content.len());
    content[..end].to_owned()
}

/// Fails with every breach on a line of its own.
fn none(rule: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{rule}:\n{}", breaches.join("\n"));
}

/// Each line of these files in which one of these texts stands.
fn lines_with(files: &[(String, String)], wanted: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, content) in files {
        for (index, line) in content.lines().enumerate() {
            if wanted.iter().any(|text| line.contains(text)) {
                found.push(format!("{path}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    found
}

#[test]
fn edges_between_rooms_run_one_way() {
    let metadata = metadata();
    let allowed: BTreeMap<&str, BTreeSet<&str>> = EDGES
        .into_iter()
        .map(|(room, edges)| (room, edges.iter().copied().collect()))
        .collect();
    let packages = items(&metadata, "packages");
    let rooms: BTreeSet<&str> = packages
        .iter()
        .map(|package| text(package, "name"))
        .collect();
    assert_eq!(
        rooms,
        allowed.keys().copied().collect(),
        "a room without a row, or a row too many"
    );
    let mut breaches = Vec::new();
    for package in packages {
        let room = text(package, "name");
        for edge in dependencies(package).intersection(&rooms) {
            if !allowed[room].contains(edge) {
                breaches.push(format!("{room} depends on {edge}"));
            }
        }
    }
    none("edges that the table in this file does not have", &breaches);
}

/// Planted bugs and counted branches are compiled out of whatever ships.
#[test]
fn only_tests_are_built_with_planted_bugs() {
    let metadata = metadata();
    let mut breaches = Vec::new();
    for package in items(&metadata, "packages") {
        for dependency in items(package, "dependencies") {
            let is_armed = items(dependency, "features").iter().any(|f| f == "armed");
            if is_armed && dependency["kind"] != "dev" {
                breaches.push(text(package, "name").to_owned());
            }
        }
    }
    none("rooms that arm the probe outside of their tests", &breaches);
}

#[test]
fn core_and_log_never_see_each_other_and_core_has_no_host() {
    // Said by the table too; said again so that a change of the table has to change this.
    let metadata = metadata();
    let packages = items(&metadata, "packages").iter();
    let of: BTreeMap<&str, BTreeSet<&str>> = packages
        .map(|package| (text(package, "name"), dependencies(package)))
        .collect();
    assert!(!of["millrace-core"].contains("millrace-log"));
    assert!(!of["millrace-log"].contains("millrace-core"));
    assert!(!of["millrace-core"].contains("millrace-host"));
    assert!(
        of.values()
            .all(|dependencies| !dependencies.contains("xtask"))
    );
}

#[test]
fn rooms_that_decide_have_no_machine_in_them() {
    let metadata = metadata();
    let mut breaches = Vec::new();
    for package in items(&metadata, "packages") {
        if PURE.contains(&text(package, "name")) {
            let machine = MACHINE.into_iter().collect();
            for dependency in dependencies(package).intersection(&machine) {
                breaches.push(format!("{} depends on {dependency}", text(package, "name")));
            }
        }
    }
    none(
        "crates that do I/O, read clocks or draw randomness",
        &breaches,
    );
}

#[test]
fn one_binary_ships_and_it_is_the_default() {
    let metadata = metadata();
    let mut binaries = BTreeSet::new();
    for package in items(&metadata, "packages") {
        for target in items(package, "targets") {
            if items(target, "kind").iter().any(|kind| kind == "bin") {
                binaries.insert((text(package, "name"), text(target, "name")));
            }
        }
        assert_eq!(
            package["publish"],
            serde_json::json!([]),
            "{}",
            text(package, "name")
        );
    }
    // The bench and xtask are developers' programs.
    let developers = ["millrace-bench", "xtask"];
    binaries.retain(|(room, _)| !developers.contains(room));
    assert_eq!(binaries, BTreeSet::from([("millrace", "millrace")]));
    let defaults = items(&metadata, "workspace_default_members");
    assert_eq!(defaults.len(), 1);
    assert!(
        defaults[0].as_str().is_some_and(|id| id.contains("/cli#")),
        "{defaults:?}"
    );
}

#[test]
fn every_room_takes_lints_and_versions_from_the_workspace() {
    let metadata = metadata();
    let mut breaches = Vec::new();
    for package in items(&metadata, "packages") {
        let path = text(package, "manifest_path");
        let manifest = fs::read_to_string(path).expect("cargo just read it");
        if !manifest.contains("[lints]\nworkspace = true") {
            breaches.push(format!("{path}: lints are not the workspace's"));
        }
        let versioned = |line: &&str| line.contains("version = \"") || line.contains(" = \"=");
        for line in manifest.lines().filter(versioned) {
            breaches.push(format!("{path}: {line}"));
        }
    }
    none(
        "lints and versions stand in the root's Cargo.toml only",
        &breaches,
    );
}

#[test]
fn the_fuzzers_workspace_has_the_same_lints() {
    let lints = |path: &str| {
        let manifest = fs::read_to_string(root().join(path)).expect("it is there");
        let from = manifest.find("[workspace.lints.rust]");
        let lints = manifest[from.expect("it has lints")..].split("\n[profile.");
        let lints = lints.take(1).collect::<String>();
        lints.trim().to_owned()
    };
    assert_eq!(lints("fuzz/Cargo.toml"), lints("Cargo.toml"));
}

#[test]
fn the_toolchain_file_names_the_version_and_nothing_else() {
    let content = fs::read_to_string(root().join("rust-toolchain.toml")).expect("it is there");
    assert_eq!(content, "[toolchain]\nchannel = \"1.95.0\"\n");
}

#[test]
fn every_source_file_opens_with_what_it_owns() {
    // What examples of the documentation include, where the compiler takes no `//!`.
    const INCLUDED: &str = "client/tests/documented/";
    let lacks = |(path, content): &&(String, String)| {
        let opening = if path.starts_with(INCLUDED) {
            "// "
        } else {
            "//! "
        };
        !content.starts_with(opening)
    };
    let breaches: Vec<String> = sources()
        .iter()
        .filter(lacks)
        .map(|(path, _)| path.clone())
        .collect();
    none("files that do not open with //!", &breaches);
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    let empty = |path: &&String| {
        let stem = Path::new(path.as_str())
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy();
        EMPTY_NAMES.contains(&stem.as_ref())
    };
    let paths: Vec<String> = sources().into_iter().map(|(path, _)| path).collect();
    let breaches: Vec<String> = paths.iter().filter(empty).cloned().collect();
    none("name the file after what it owns", &breaches);
}

#[test]
fn no_file_is_too_long_to_read() {
    let mut breaches = Vec::new();
    for (path, content) in sources() {
        let lines = product(&path, &content).lines().count();
        if lines > FILE_LINES_MAX {
            breaches.push(format!("{path}: {lines} lines"));
        }
    }
    none("split the file", &breaches);
}

#[test]
fn nothing_is_left_for_later() {
    // Spelt in pieces, so that this file does not breach its own rule.
    let words = [
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
        concat!("XX", "X:"),
        concat!("todo", "!("),
        concat!("unimple", "mented!("),
        concat!("dbg", "!("),
        concat!("#[ign", "ore"),
        concat!("#[allow", "("),
        concat!("#![allow", "("),
    ];
    let breaches = lines_with(&sources(), &words);
    none(
        "finish it, or say in an issue what is missing; #[expect] with a reason",
        &breaches,
    );
}

#[test]
fn no_unwrap_outside_tests() {
    let mut breaches = Vec::new();
    for (path, content) in sources() {
        breaches.extend(lines_with(
            &[(path.clone(), product(&path, &content))],
            &[".unwrap()"],
        ));
    }
    none("return an error, or expect() with the invariant", &breaches);
}

#[test]
fn what_is_not_safe_lives_in_host_only() {
    let words = [
        concat!("unsafe", "_code"),
        concat!("unsafe", " {"),
        concat!("unsafe", " impl"),
    ];
    let mut breaches = lines_with(&sources(), &words);
    breaches.retain(|line| !line.starts_with("host/src/"));
    none("unsafe code belongs to a named module of host", &breaches);
}

#[test]
fn a_test_waits_for_a_condition_never_for_time() {
    let tests: Vec<_> = sources()
        .into_iter()
        .filter(|(path, _)| is_test(path))
        .collect();
    let words = [concat!("thread::", "sleep"), concat!("time::", "sleep(")];
    none("wait for the condition itself", &lines_with(&tests, &words));
}

#[test]
fn no_committed_file_names_a_place_outside_the_project() {
    let words = [
        concat!("..", "/shared"),
        concat!("/work", "/main"),
        concat!("/tmp", "/brief"),
    ];
    none("a clone has no such place", &lines_with(&files(), &words));
}

#[test]
fn every_key_of_the_configuration_has_a_reader() {
    let (config, others): (Vec<_>, Vec<_>) = sources()
        .into_iter()
        .partition(|(path, _)| path.starts_with("config/src/"));
    let read: String = others
        .iter()
        .map(|(path, content)| product(path, content))
        .collect();
    // Fields of the sections: `pub name: Type`, of structs whose name ends in `Config`.
    let mut fields = BTreeSet::new();
    for (_, content) in &config {
        let structs = content.split("pub struct ").skip(1);
        let sections =
            structs.filter(|body| body.split(' ').next().unwrap_or("").ends_with("Config"));
        for body in sections {
            let body = body.split("\n}").next().unwrap_or_default();
            let public = body
                .lines()
                .filter_map(|line| line.trim().strip_prefix("pub "));
            fields.extend(
                public
                    .filter_map(|line| line.split(':').next())
                    .map(str::to_owned),
            );
        }
    }
    assert!(fields.len() > 50, "the sections were not found: {fields:?}");
    let unread: BTreeSet<&str> = UNREAD_FIELDS.iter().map(|(field, _)| *field).collect();
    let read_nowhere = |field: &&String| !read.contains(&format!(".{field}"));
    let breaches: Vec<String> = fields
        .iter()
        .filter(read_nowhere)
        .filter(|field| !unread.contains(field.as_str()))
        .cloned()
        .collect();
    none(
        "a key without effect is swallowed: act on it or take it out of the table",
        &breaches,
    );
}
