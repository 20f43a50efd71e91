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

use std::collections::BTreeSet;
use std::process::ExitCode;

use millrace_differential::case::Suite;
use millrace_differential::cases;
use millrace_differential::differences::glob;

use altering::Alteration;
use hunt::Hunt;
use judge::Judge;
use points::Point;

/// What may stay green, with the reason.
const GREEN: &str = include_str!("green.tsv");

/// The APIs of a smoke: of each kind some that are soon done.
const SMOKE: [&str; 12] = [
    "ApiVersions",
    "Metadata",
    "Fetch",
    "ListOffsets",
    "FindCoordinator",
    "JoinGroup",
    "OffsetFetch",
    "DeleteGroups",
    "DeleteTopics",
    "DeleteRecords",
    "InitProducerId",
    "DescribeConfigs",
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
    let mut allowed = Allowed::read()?;
    let (mut altered, mut excused, mut failures) = (0, 0, Vec::new());
    for suite in &suites {
        let name = suite.api.row().name;
        let found = match Hunt::new(&judge, suite)?.run() {
            Ok(found) => found,
            Err(reason) => {
                failures.push(format!("{name}: {reason}"));
                continue;
            }
        };
        println!(
            "{name}: {} alterations, {} stay green",
            found.tried,
            found.green.len()
        );
        altered += found.tried;
        for point in found.green {
            if allowed.excuses(name, &point) {
                excused += 1;
            } else {
                failures.push(format!("{name}: {point} stays green: a case is missing"));
            }
        }
    }
    failures.extend(allowed.unused(&suites));
    println!(
        "{altered} alterations in {} handlers, {excused} of which nobody can see",
        suites.len()
    );
    match failures.len() {
        0 => Ok(()),
        count => Err(format!("{count} failures:\n{}", failures.join("\n"))),
    }
}

/// What may stay green, by API and alteration, and which lines were of use.
struct Allowed {
    rows: Vec<(&'static str, &'static str)>,
    used: BTreeSet<usize>,
}

impl Allowed {
    fn read() -> Result<Self, String> {
        let lines = GREEN.lines().filter(|line| !line.starts_with('#'));
        let rows = lines.map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
            [api, what, reason] if !reason.is_empty() => Ok((api, what)),
            _ => Err(format!("green.tsv: not API, what and reason: {line}")),
        });
        Ok(Self {
            rows: rows.collect::<Result<_, String>>()?,
            used: BTreeSet::new(),
        })
    }

    /// Whether a line says why an alteration can't be seen.
    fn excuses(&mut self, api: &str, point: &str) -> bool {
        let mut rows = self.rows.iter();
        let row = rows.position(|(of, what)| glob(of, api) && glob(what, point));
        self.used.extend(row);
        row.is_some()
    }

    /// Lines about these APIs that excused nothing.
    fn unused(&self, suites: &[Suite]) -> Vec<String> {
        let ran = |api: &str| suites.iter().any(|suite| suite.api.row().name == api);
        let rows = self.rows.iter().enumerate();
        rows.filter(|(place, (api, _))| ran(api) && !self.used.contains(place))
            .map(|(_, (api, what))| format!("green.tsv: {api}: nothing stays green of {what}"))
            .collect()
    }
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
