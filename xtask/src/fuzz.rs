//! `cargo xtask fuzz`: gives every target of `fuzz/` to libFuzzer for as long as asked, starting from
//! the inputs that are kept in `fuzz/corpus`.
//!
//! What always holds: the toolchain is the one of every other build (coverage comes from LLVM's
//! pass, which needs no nightly compiler); what a run finds stays in `target/fuzz-found`, and a
//! failure names the input and the command that replays it.

mod coverage;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use clap::Args;

use crate::binaries::{self, target_directory};
use crate::packages::need;
use crate::process::{println, succeed};
use crate::{Outcome, root};

/// Inputs that a smoke makes for a target, after all kept ones: the same each time, so that the gate
/// depends on neither luck nor speed. About 10 seconds of a core each, from counted runs a second.
const SMOKE_RUNS: [(&str, u64); 15] = [
    ("broker_directory", 375),
    ("broker_requests", 175),
    ("configuration", 18_000),
    ("decompress", 47_500),
    ("frames", 170_000),
    ("hostile_broker", 8_000),
    ("log_directory", 700),
    ("log_segment", 2_100),
    ("metadata", 500_000),
    ("records", 120_000),
    ("requests", 475_000),
    ("responses", 475_000),
    ("schemas", 135_000),
    ("second_codec", 500_000),
    ("small_files", 225_000),
];

/// What a smoke's inputs are drawn from.
const SMOKE_SEED: u64 = 1;

/// Targets that run side by side; each keeps one core busy.
const TARGETS_AT_ONCE: usize = 2;

/// The longest that one input may take: a hang, not a measure of speed.
const INPUT_SECONDS_MAX: u64 = 5;

/// The same where an input is a whole life of a broker.
const INPUT_SECONDS_MAX_OF_BROKERS: u64 = 25;

/// The most memory that a fuzzer's process may hold, C's included.
const PROCESS_MIB_MAX: u64 = 1024;

/// The longest input that is made; the kept ones are shorter.
const INPUT_BYTES_MAX: u64 = 16 << 10;

/// The profile of the programs, in the fuzz workspace's manifest.
const PROFILE: &str = "fuzz";

/// What `cargo fuzz --sanitizer none` gives the compiler: counters at every edge, operands of every
/// comparison.
const COVERAGE: [&str; 6] = [
    // Addresses that stay the same from the file to the run: `--coverage` looks them up.
    "-Crelocation-model=static",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Which targets, and for how long.
#[derive(Args, Debug)]
pub(crate) struct FuzzArguments {
    /// For how long each target runs.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only this target.
    #[arg(long)]
    target: Option<String>,
    /// All kept inputs, then a few seconds of each target; the fuzzers' own lints before.
    #[arg(long, conflicts_with = "seconds")]
    smoke: bool,
    /// Adds to the kept inputs what reaches code that they don't, as little of it as does.
    #[arg(long, conflicts_with = "smoke")]
    keep: bool,
    /// How many edges of each decoder the kept inputs reach; fails below 85 %.
    #[arg(long, conflicts_with_all = ["seconds", "smoke", "keep", "target"])]
    coverage: bool,
    /// This input alone, once, with the backtrace of its failure.
    #[arg(long, requires = "target", conflicts_with_all = ["seconds", "smoke", "keep"])]
    replay: Option<PathBuf>,
}

/// Runs the suite.
pub(crate) fn run(arguments: &FuzzArguments) -> Outcome {
    let all = targets()?;
    let chosen = match &arguments.target {
        None => all,
        Some(name) if all.contains(name) => vec![name.clone()],
        Some(name) => {
            return Err(format!(
                "there is no target {name}; there are {}",
                all.join(", ")
            ));
        }
    };
    if arguments.coverage {
        return coverage::run(&chosen);
    }
    if arguments.smoke {
        lint()?;
        succeed(&mut cargo(&["test"])?)?;
    }
    let programs = build(&chosen)?;
    if let Some(input) = &arguments.replay {
        let program = programs.join(&chosen[0]);
        let mut replay = Command::new(program);
        replay.arg(input).env("RUST_BACKTRACE", "1");
        // Targets that do several things with one input say which.
        return succeed(replay.env("MILLRACE_FUZZ_SHOW", "1"));
    }
    let length = if arguments.smoke {
        Length::Smoke
    } else {
        Length::Seconds(arguments.seconds)
    };
    println(&format!("xtask: {length:?} of {}", chosen.join(", ")));
    let mut broken = Vec::new();
    for side_by_side in chosen.chunks(TARGETS_AT_ONCE) {
        let begun = side_by_side
            .iter()
            .map(|target| begin(&programs, target, length));
        let begun: Vec<_> = begun.collect();
        for (running, target) in begun.into_iter().zip(side_by_side) {
            match running.and_then(Running::end) {
                Ok(()) if arguments.keep => keep(&programs, target)?,
                Ok(()) => {}
                Err(reason) => {
                    println(&format!("xtask: {reason}"));
                    broken.push(target.as_str());
                }
            }
        }
    }
    if broken.is_empty() {
        Ok(())
    } else {
        Err(format!("{} failed; see above", broken.join(", ")))
    }
}

/// The fuzz workspace.
fn home() -> PathBuf {
    root().join("fuzz")
}

/// What runs found, by target.
fn found(target: &str) -> Result<PathBuf, String> {
    Ok(target_directory()?.join("fuzz-found").join(target))
}

/// Says where a call on a file failed.
fn at(path: &Path) -> impl Fn(io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}

/// The names of all targets, which are those of their programs.
fn targets() -> Result<Vec<String>, String> {
    let directory = home().join("targets");
    let listed = fs::read_dir(&directory).map_err(at(&directory))?;
    let names = listed.filter_map(Result::ok).filter_map(|entry| {
        let path = entry.path();
        path.file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}

/// Cargo in the fuzz workspace. It builds beside the broker's own workspace, whose dependencies,
/// built for lints and tests, are the same.
fn cargo(arguments: &[&str]) -> Result<Command, String> {
    let mut command = binaries::cargo();
    command
        .args(arguments)
        .arg("--locked")
        .env("CARGO_TARGET_DIR", target_directory()?)
        .current_dir(home());
    Ok(command)
}

/// The rules of the house for the fuzzers' own code.
fn lint() -> Outcome {
    // Without `--all`, which would take in the rooms.
    let mut format = binaries::cargo();
    succeed(format.args(["fmt", "--check"]).current_dir(home()))?;
    need_cpp_compiler()?;
    succeed(cargo(&["clippy", "--all-targets", "--all-features"])?.args(["--", "-D", "warnings"]))
}

/// libFuzzer is C++, built from its crate.
fn need_cpp_compiler() -> Outcome {
    // Who names another compiler has one.
    if std::env::var_os("CXX").is_some() {
        return Ok(());
    }
    need("c++", "g++")
}

/// Builds one program.
fn build_program(name: &str) -> Result<PathBuf, String> {
    let programs = build(&[name.to_owned()])?;
    Ok(programs.join(name))
}

/// Builds the programs; gives the directory they are in.
fn build(chosen: &[String]) -> Result<PathBuf, String> {
    need_cpp_compiler()?;
    let host = host()?;
    let mut command = cargo(&["build", "--profile", PROFILE, "--features", "libfuzzer"])?;
    command.args(["--target", &host]);
    for target in chosen {
        command.args(["--bin", target]);
    }
    // Named by `--target`, so that build scripts and macros are built without the flags.
    succeed(command.env("RUSTFLAGS", COVERAGE.join(" ")))?;
    Ok(target_directory()?.join(host).join(PROFILE))
}

/// The platform that the compiler runs on and builds for.
fn host() -> Result<String, String> {
    let output = Command::new("rustc").arg("-vV").output();
    let output = output.map_err(|error| format!("rustc: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned)
        .ok_or_else(|| "rustc does not say its host".to_owned())
}

/// How long a target runs.
#[derive(Clone, Copy, Debug)]
enum Length {
    /// The same few inputs each time.
    Smoke,
    /// As many inputs as there is time for, from those of runs before.
    Seconds(u64),
}

impl Length {
    /// The directory that takes what is new, and libFuzzer's flags.
    fn of(self, target: &str, found: &Path) -> Result<(PathBuf, Vec<String>), String> {
        match self {
            Self::Seconds(seconds) => {
                let flags = vec![format!("-max_total_time={seconds}")];
                Ok((found.join("grown"), flags))
            }
            Self::Smoke => {
                let new = found.join("smoke");
                match fs::remove_dir_all(&new) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(at(&new)(error));
                    }
                    _ => {}
                }
                let corpus = home().join("corpus").join(target);
                let kept = fs::read_dir(&corpus).map_err(at(&corpus))?.count() as u64;
                let mut rows = SMOKE_RUNS.iter();
                let row = rows.find(|row| row.0 == target);
                let (_, made) = row.ok_or_else(|| format!("{target} has no row in SMOKE_RUNS"))?;
                let flags = vec![
                    format!("-runs={}", kept + made),
                    format!("-seed={SMOKE_SEED}"),
                ];
                Ok((new, flags))
            }
        }
    }
}

/// The longest that one input of a target may take.
fn seconds_max(target: &str) -> u64 {
    if target.starts_with("broker_") {
        INPUT_SECONDS_MAX_OF_BROKERS
    } else {
        INPUT_SECONDS_MAX
    }
}

/// A fuzzer at work.
struct Running {
    target: String,
    process: Child,
    log: PathBuf,
}

/// Starts one target, from the kept inputs.
fn begin(programs: &Path, target: &str, length: Length) -> Result<Running, String> {
    let found = found(target)?;
    let (new, flags) = length.of(target, &found)?;
    let broken = found.join("broken");
    for directory in [&new, &broken] {
        fs::create_dir_all(directory).map_err(at(directory))?;
    }
    let log = found.join("log");
    let output = fs::File::create(&log).map_err(at(&log))?;
    let process = Command::new(programs.join(target))
        .args(flags)
        .arg(format!("-timeout={}", seconds_max(target)))
        .arg(format!("-rss_limit_mb={PROCESS_MIB_MAX}"))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg(format!("-artifact_prefix={}/", broken.display()))
        .args([&new, &home().join("corpus").join(target)])
        .stdin(Stdio::null())
        .stderr(output)
        .spawn()
        .map_err(|error| format!("{target}: {error}"))?;
    Ok(Running {
        target: target.to_owned(),
        process,
        log,
    })
}

impl Running {
    /// Waits for its end; an error says which rule broke and how to see it again.
    fn end(mut self) -> Outcome {
        let target = &self.target;
        let status = self.process.wait();
        let status = status.map_err(|error| format!("{target}: {error}"))?;
        let text = fs::read(&self.log).map_err(at(&self.log))?;
        let text = String::from_utf8_lossy(&text);
        if status.success() {
            let covered = text.lines().rfind(|line| line.contains(" cov: "));
            // Said now and then by the program itself.
            let past = text.lines().rfind(|line| line.contains("past the header"));
            println(&format!(
                "xtask: {target}: {}; {}",
                covered.unwrap_or("nothing"),
                past.unwrap_or("none past the header")
            ));
            return Ok(());
        }
        let written = text
            .lines()
            .find_map(|line| line.split_once("Test unit written to "));
        let input = written.map_or("", |(_, path)| path);
        let reason = text
            .lines()
            .skip_while(|line| !line.contains("panicked at"));
        let reason: Vec<&str> = reason.take(6).collect();
        Err(format!(
            "{target} broke a rule ({status}):\n{}\nthe input: {input}\nits log: {}\nagain: cargo \
             xtask fuzz --target {target} --replay {input}",
            reason.join("\n"),
            self.log.display()
        ))
    }
}

/// Takes into the kept inputs what adds to them: the fewest that reach all the code together. What
/// only takes an edge more often stays out.
fn keep(programs: &Path, target: &str) -> Outcome {
    let corpus = home().join("corpus").join(target);
    let mut merge = Command::new(programs.join(target));
    merge
        .args(["-set_cover_merge=1", "-use_counters=0"])
        .arg(format!("-max_len={INPUT_BYTES_MAX}"));
    succeed(merge.arg(corpus).arg(found(target)?.join("grown")))
}
