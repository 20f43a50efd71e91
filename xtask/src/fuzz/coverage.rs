//! `cargo xtask fuzz --coverage`: how many edges of each decoder the kept inputs reach.
//!
//! One program with all targets runs each over its inputs; a merge's control file says which edges
//! were reached, by their number in a table that is in the program itself. Their places in the
//! sources are in its debug information. What always holds: an edge counts for the file that its line
//! stands in, of inlined code the innermost one that is ours; edges of generic code count once for all
//! of its types; an edge into a panic counts nowhere, since what it says is that no input takes it.

mod panics;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{at, build_program, found, home};
use crate::Outcome;
use crate::packages::need;
use crate::process::{println, succeed};
use crate::root;

/// The program of all targets, and what tells it which.
const PROGRAM: &str = "every_target";
const TARGET_VARIABLE: &str = "MILLRACE_FUZZ_TARGET";

/// The section with the table of edges: address and flags, 8 bytes each, little-endian.
const EDGES_SECTION: &str = "__sancov_pcs";
const EDGE_BYTES: usize = 16;

/// What the linker writes for an edge of code that it left out.
const LEFT_OUT_MAX: u64 = 1;

/// What readers of foreign bytes there are, where their sources lie, and the least share of their
/// edges, in percent.
const DECODERS: [(&str, &[&str], usize); 11] = [
    (
        "frames, requests and responses",
        &[
            "protocol/src/frame.rs",
            "protocol/src/header.rs",
            "protocol/src/requests/",
            "protocol/src/responses/",
            "protocol/src/view/",
        ],
        85,
    ),
    (
        "record batches",
        &[
            "protocol/src/records/batch.rs",
            "protocol/src/records/control.rs",
            "protocol/src/records/header.rs",
            "protocol/src/records/read.rs",
            "protocol/src/records/scan.rs",
            "protocol/src/records/validate.rs",
            "protocol/src/records/varint.rs",
        ],
        85,
    ),
    (
        "decompression",
        &[
            "protocol/src/records/compression/gzip.rs",
            "protocol/src/records/compression/lz4.rs",
            "protocol/src/records/compression/snappy.rs",
            "protocol/src/records/compression/stream.rs",
            "protocol/src/records/compression/zstandard.rs",
        ],
        85,
    ),
    (
        "metadata records",
        &[
            "protocol/src/metadata/broker.rs",
            "protocol/src/metadata/codec.rs",
            "protocol/src/metadata/control.rs",
            "protocol/src/metadata/settings.rs",
            "protocol/src/metadata/topic.rs",
            "protocol/src/metadata/wire.rs",
        ],
        85,
    ),
    (
        "small files",
        &[
            "broker/log/src/epoch_checkpoint.rs",
            "broker/log/src/partition_metadata.rs",
            "broker/log/src/producer_snapshot.rs",
            "broker/log/src/slots.rs",
        ],
        85,
    ),
    (
        "journal and ledger",
        &["broker/log/src/journal/", "broker/log/src/ledger/"],
        80,
    ),
    (
        "segments, indexes and recovery",
        &[
            "broker/log/src/segment/",
            "broker/log/src/partition/open.rs",
            "broker/log/src/partition/recover",
            "broker/log/src/partition/verify.rs",
        ],
        85,
    ),
    (
        "start of a log directory",
        &[
            "broker/log/src/codec.rs",
            "broker/log/src/dir/begin.rs",
            "broker/log/src/dir/format.rs",
            "broker/log/src/dir/history.rs",
            "broker/log/src/dir/replay.rs",
            "broker/log/src/dir/start.rs",
        ],
        85,
    ),
    ("dump of a log directory", &["broker/log/src/dump/"], 85),
    ("check of a log directory", &["broker/log/src/check/"], 80),
    (
        "metadata at the start",
        &[
            "broker/server/src/cluster/hard_state.rs",
            "broker/server/src/cluster/load.rs",
            "broker/server/src/cluster/snapshot.rs",
        ],
        70,
    ),
];

/// Places of one file where edges begin, `line:column`, and whether one of each is reached.
type Edges = BTreeMap<String, bool>;

/// Runs all targets over what is kept, and prints the share of each decoder.
pub(super) fn run(targets: &[String]) -> Outcome {
    need("llvm-symbolizer", "llvm")?;
    need("objcopy", "binutils")?;
    need("objdump", "binutils")?;
    let program = build_program(PROGRAM)?;
    let place = found("coverage")?;
    fs::create_dir_all(&place).map_err(at(&place))?;
    let edges = table(&program, &place)?;
    let mut reached = BTreeSet::new();
    for target in targets {
        reached.extend(cover(&program, target, &place)?);
    }
    let panics = panics::of(&program, &edges)?;
    let mut counted = edges.clone();
    for (number, edge) in counted.iter_mut().enumerate() {
        if panics.contains(edge) && !reached.contains(&number) {
            *edge = 0;
        }
    }
    let files = by_file(&program, &counted, &reached, &place)?;
    let mut poor = Vec::new();
    for (decoder, sources, percent_min) in DECODERS {
        let is_in = |file: &String| sources.iter().any(|source| file.starts_with(source));
        let (mut all, mut hit) = (0, 0);
        for (file, edges) in files.iter().filter(|(file, _)| is_in(file)) {
            let reached = edges.values().filter(|reached| **reached).count();
            println(&format!("xtask:   {file}: {reached} of {}", edges.len()));
            (all, hit) = (all + edges.len(), hit + reached);
        }
        let percent = 100 * hit / all.max(1);
        println(&format!(
            "xtask: {decoder}: {percent} % ({hit} of {all} edges), at least {percent_min} %"
        ));
        if percent < percent_min {
            poor.push(decoder);
        }
    }
    println(&format!(
        "xtask: {} of {} edges of the whole program, {} of them into panics",
        reached.len(),
        edges.len(),
        panics.len()
    ));
    if poor.is_empty() {
        Ok(())
    } else {
        let poor = poor.join(", ");
        Err(format!(
            "the kept inputs reach less than they should of {poor}"
        ))
    }
}

/// The addresses of all edges, by their number.
fn table(program: &Path, place: &Path) -> Result<Vec<u64>, String> {
    let section = place.join("edges");
    let mut cut = Command::new("objcopy");
    cut.args(["-O", "binary", "--only-section", EDGES_SECTION]);
    succeed(cut.arg(program).arg(&section))?;
    let bytes = fs::read(&section).map_err(at(&section))?;
    let (rows, _) = bytes.as_chunks::<EDGE_BYTES>();
    let addresses = rows.iter().filter_map(|row| row.first_chunk());
    let edges: Vec<u64> = addresses.map(|bytes| u64::from_le_bytes(*bytes)).collect();
    if edges.iter().all(|edge| *edge <= LEFT_OUT_MAX) {
        return Err(format!("{} has no table of edges", program.display()));
    }
    Ok(edges)
}

/// The numbers of the edges that a target's inputs reach.
fn cover(program: &Path, target: &str, place: &Path) -> Result<Vec<usize>, String> {
    let (control, merged) = (place.join(target), place.join("merged"));
    let log = place.join(format!("{target}.log"));
    for path in [&control, &merged] {
        let gone = if path.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        };
        match gone {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(path)(error)),
            _ => {}
        }
    }
    fs::create_dir_all(&merged).map_err(at(&merged))?;
    let output = fs::File::create(&log).map_err(at(&log))?;
    let mut run = Command::new(program);
    run.arg("-merge=1")
        .arg(format!("-merge_control_file={}", control.display()))
        .arg(format!("-artifact_prefix={}/", place.display()))
        .arg(&merged)
        .arg(home().join("corpus").join(target))
        .env(TARGET_VARIABLE, target)
        .stdin(Stdio::null())
        .stderr(output);
    succeed(&mut run)?;
    let text = fs::read_to_string(&control).map_err(at(&control))?;
    let lines = text.lines().filter_map(|line| line.strip_prefix("COV "));
    // The input's number, then those of edges.
    let numbers = lines.flat_map(|line| line.split_whitespace().skip(1));
    Ok(numbers.filter_map(|number| number.parse().ok()).collect())
}

/// Edges by the file of ours that they stand in.
fn by_file(
    program: &Path,
    edges: &[u64],
    reached: &BTreeSet<usize>,
    place: &Path,
) -> Result<BTreeMap<String, Edges>, String> {
    let addresses = place.join("addresses");
    let text: Vec<String> = edges.iter().map(|edge| format!("{edge:#x}\n")).collect();
    fs::write(&addresses, text.concat()).map_err(at(&addresses))?;
    let input = fs::File::open(&addresses).map_err(at(&addresses))?;
    let places = place.join("places");
    let output = fs::File::create(&places).map_err(at(&places))?;
    let mut look_up = Command::new("llvm-symbolizer");
    look_up
        .args(["--functions=none", "--inlines"])
        .arg(format!("--obj={}", program.display()))
        .stdin(input)
        .stdout(output);
    let ended = look_up.status();
    if !ended.is_ok_and(|status| status.success()) {
        return Err(format!("{look_up:?} failed"));
    }
    let text = fs::read_to_string(&places).map_err(at(&places))?;
    let mut files: BTreeMap<String, Edges> = BTreeMap::new();
    // One block for each address, the innermost place first, an empty line behind.
    let mut blocks = text.split("\n\n");
    let ours = format!("{}/", root().display());
    for (number, edge) in edges.iter().enumerate() {
        let block = blocks.next().unwrap_or_default();
        if *edge <= LEFT_OUT_MAX {
            continue;
        }
        let found = block.lines().find_map(|line| {
            let (file, at) = line.trim().strip_prefix(&ours)?.split_once(".rs:")?;
            Some((format!("{file}.rs"), at.to_owned()))
        });
        if let Some((file, at)) = found {
            let is_reached = files.entry(file).or_default().entry(at).or_default();
            *is_reached |= reached.contains(&number);
        }
    }
    Ok(files)
}
