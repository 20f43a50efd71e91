//! Whether the differential bites: each error code that a handler answers, each field of its answers,
//! each field of its requests and each default that it applies is altered in turn, in the broker; the
//! cases of its API must fail each time. What stays green is printed: there a case is missing, or what
//! is altered says nothing (`green.tsv`, each with its reason).
//!
//! `differential_meta [--smoke | API..]`: without names, every API.

mod altering;
mod broker;
mod hunt;
mod judge;
mod points;

use std::collections::BTreeMap;
use std::process::ExitCode;

use millrace_differential::case::Suite;
use millrace_differential::cases;

use altering::Alteration;
use hunt::Hunt;
use judge::Judge;
use points::Point;

/// What may stay green, with the reason.
const GREEN: &str = include_str!("green.tsv");

/// The APIs of a smoke: a few of each kind that are soon done.
const SMOKE: [&str; 8] = [
    "ApiVersions",
    "FindCoordinator",
    "OffsetForLeaderEpoch",
    "DescribeCluster",
    "OffsetDelete",
    "DeleteGroups",
    "ListGroups",
    "InitProducerId",
];

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    match run(&wanted) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn wanted_suites(wanted: &[String]) -> Result<Vec<Suite>, String> {
    let mut suites = cases::suites();
    let is_named = |suite: &Suite, names: &[&str]| names.contains(&suite.api.row().name);
    let names: Vec<&str> = wanted.iter().map(String::as_str).collect();
    match &names[..] {
        [] => {}
        ["--smoke"] => suites.retain(|suite| is_named(suite, &SMOKE)),
        names => suites.retain(|suite| is_named(suite, names)),
    }
    if suites.is_empty() {
        return Err(format!(
            "no API of these names has cases: {}",
            wanted.join(" ")
        ));
    }
    Ok(suites)
}

#[expect(clippy::print_stdout, reason = "the output of a developer's tool")]
fn run(wanted: &[String]) -> Result<(), String> {
    let suites = wanted_suites(wanted)?;
    let judge = Judge::read()?;
    let (mut altered, mut failures) = (0, Vec::new());
    for suite in &suites {
        let name = suite.api.row().name;
        let found = match Hunt::new(&judge, suite)?.run() {
            Ok(found) => found,
            Err(reason) => {
                println!("{name}: {reason}");
                failures.push(format!("{name}: {reason}"));
                continue;
            }
        };
        altered += found.tried;
        let mut reasons: BTreeMap<&str, &str> = allowed(name).collect();
        println!(
            "{name}: {} alterations, {} stay green",
            found.tried,
            found.green.len()
        );
        for point in found.green {
            if reasons.remove(point.as_str()).is_none() {
                println!("    {point}");
                failures.push(format!("{name}: {point} stays green: a case is missing"));
            }
        }
        for point in reasons.keys() {
            println!("    red, and a line of green.tsv: {point}");
            failures.push(format!("{name}: green.tsv: {point} turns red"));
        }
    }
    println!("{altered} alterations in {} handlers", suites.len());
    match failures.len() {
        0 => Ok(()),
        count => Err(format!("{count} failures:\n{}", failures.join("\n"))),
    }
}

/// What may stay green of an API, and why.
fn allowed(api: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let rows = GREEN.lines().filter(|line| !line.starts_with('#'));
    let rows = rows.filter_map(move |line| {
        let (of, rest) = line.split_once('\t')?;
        (of == api).then_some(rest)
    });
    rows.filter_map(|rest| rest.split_once('\t'))
}

/// What the broker is altered by, for messages.
impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.alteration() {
            Alteration::Code { path, from } => write!(f, "code {from} in {path}"),
            Alteration::Answer { path } => write!(f, "answer {path}"),
            Alteration::Ignored { path } => write!(f, "ignored {path}"),
            Alteration::Default { name } => write!(f, "default {name}"),
        }
    }
}
