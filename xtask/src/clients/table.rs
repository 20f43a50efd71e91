//! `docs/clients.md`: what each client does against Millrace, as the suite found it.
//!
//! What always holds: only a run writes it; a run of some cells fails when it found other than what
//! stands there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::ValueEnum as _;

use super::cell::Cell;
use super::rows::ROWS;
use super::scenario::Scenario;
use crate::process::println;
use crate::{Outcome, root};

/// The cells of one client.
pub(super) type Cells = BTreeMap<Scenario, Cell>;

const HEAD: &str = "# Clients\n\n\
    What clients that others wrote do against Millrace. `cargo xtask clients` writes this file: it \
    installs each client in the version named here, has it run each scenario in its own language, \
    and compares every record that comes back: value, key, headers, timestamp, offset. `n/a` names \
    the function that the client lacks; it can't do that against Apache Kafka either \
    (`cargo xtask clients NAME --against kafka` runs the same there).\n";

fn path() -> PathBuf {
    root().join("docs/clients.md")
}

/// Holds what was found against what is written, and writes the rows of clients that ran whole when
/// `may_write`.
pub(super) fn settle(found: &BTreeMap<&'static str, Cells>, may_write: bool) -> Outcome {
    let path = path();
    let said = |error: std::io::Error| format!("{}: {error}", path.display());
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        other => other.map_err(said)?,
    };
    let mut rows = read(&text);
    let mut other = String::new();
    for (&client, cells) in found {
        let is_whole = cells.len() == Scenario::value_variants().len();
        if is_whole && may_write {
            rows.insert(client.to_owned(), cells.clone());
            continue;
        }
        let row = rows.get(client);
        for (scenario, cell) in cells {
            let stands = row.and_then(|row| row.get(scenario));
            if stands != Some(cell) {
                let stands = stands.map_or("nothing".into(), Cell::to_string);
                writeln!(
                    other,
                    "  {client} {}: {cell}, not {stands}",
                    scenario.name()
                )
                .expect("a string takes any text");
            }
        }
    }
    if !other.is_empty() {
        return Err(format!(
            "docs/clients.md says other than what was found (`cargo xtask clients NAME` writes the \
             row of a client):\n{other}"
        ));
    }
    let new = write(&rows);
    if may_write && new != text {
        std::fs::write(&path, new).map_err(said)?;
        println("docs/clients.md has changed: commit it");
    }
    Ok(())
}

/// The file's text, clients in the order of the suite.
fn write(rows: &BTreeMap<String, Cells>) -> String {
    let scenarios = Scenario::value_variants();
    let mut head = vec!["client".to_owned(), "version".to_owned()];
    head.extend(scenarios.iter().map(|scenario| scenario.name()));
    let rule = vec!["---".to_owned(); head.len()];
    let mut lines = vec![line(&head), line(&rule)];
    for client in ROWS {
        let Some(cells) = rows.get(client.name) else {
            continue;
        };
        let mut row = vec![client.name.to_owned(), client.version.to_owned()];
        let shown = |scenario| {
            cells
                .get(scenario)
                .map_or_else(String::new, Cell::to_string)
        };
        row.extend(scenarios.iter().map(shown));
        lines.push(line(&row));
    }
    lines.extend([String::new(), "| scenario | |".into(), "|---|---|".into()]);
    for scenario in scenarios {
        lines.push(line(&[scenario.name(), scenario.about().to_owned()]));
    }
    format!("{HEAD}\n{}\n", lines.join("\n"))
}

fn line(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

/// What the file says.
fn read(text: &str) -> BTreeMap<String, Cells> {
    let mut rows = BTreeMap::new();
    for line in text.lines() {
        let Some(line) = line
            .strip_prefix("| ")
            .and_then(|line| line.strip_suffix(" |"))
        else {
            continue;
        };
        let mut words = line.split(" | ");
        let Some(client) = ROWS
            .iter()
            .find(|client| words.clone().next() == Some(client.name))
        else {
            continue;
        };
        let cells = words.by_ref().skip(2).map(Cell::read);
        let cells = Scenario::value_variants().iter().zip(cells);
        let cells = cells.filter_map(|(&scenario, cell)| Some((scenario, cell?)));
        rows.insert(client.name.to_owned(), cells.collect());
    }
    rows
}
