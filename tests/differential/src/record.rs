//! What Apache Kafka answered, as files: one for each API, one line for each case and variation, with
//! the versions that came out alike on one line.
//!
//! What always holds: the same outcomes give the same files, byte for byte.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use millrace_protocol::api::{Api, TABLE};
use serde_json::{Value, json};

use crate::instance::Key;
use crate::run::Outcome;

/// What was recorded, by instance.
pub type Recorded = BTreeMap<Key, Outcome>;

/// The directory of the record.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded")
}

fn file(api: Api) -> PathBuf {
    directory().join(format!("{}.jsonl", api.row().name))
}

/// Reads the whole record. An API without a file has nothing recorded.
pub fn read() -> Result<Recorded, String> {
    let mut recorded = Recorded::new();
    for row in TABLE {
        let Ok(text) = std::fs::read_to_string(file(row.api)) else {
            continue;
        };
        for line in text.lines() {
            let broken = || format!("{}: {line}", file(row.api).display());
            let value: Value = serde_json::from_str(line).map_err(|_| broken())?;
            let list = |name: &str| value[name].as_array().cloned().unwrap_or_default();
            let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
            let outcome = Outcome {
                asked: list("asked"),
                after: list("after"),
            };
            for version in versions(&text("versions")).ok_or_else(broken)? {
                let key = Key {
                    api: row.api,
                    case: text("case"),
                    variation: text("variation"),
                    version,
                };
                recorded.insert(key, outcome.clone());
            }
        }
    }
    Ok(recorded)
}

/// Writes the files of some APIs, in the order of the instances that are given.
pub fn write(apis: &[Api], order: &[Key], recorded: &Recorded) -> Result<(), String> {
    std::fs::create_dir_all(directory()).map_err(|error| error.to_string())?;
    for api in apis {
        let mut lines: Vec<(&Key, &Outcome, Vec<i16>)> = Vec::new();
        let mut places: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
        for key in order.iter().filter(|key| key.api == *api) {
            let Some(outcome) = recorded.get(key) else {
                continue;
            };
            let alike = places.entry((&key.case, &key.variation)).or_default();
            let same = alike.iter().find(|place| lines[**place].1 == outcome);
            if let Some(place) = same {
                lines[*place].2.push(key.version);
            } else {
                alike.push(lines.len());
                lines.push((key, outcome, vec![key.version]));
            }
        }
        let mut text = String::new();
        for (key, outcome, versions) in lines {
            let line = json!({"case": key.case, "variation": key.variation,
                "versions": ranges(&versions), "asked": outcome.asked, "after": outcome.after});
            let line = in_order(&line);
            writeln!(text, "{line}").map_err(|error| error.to_string())?;
        }
        let path = file(*api);
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// A line with what it is about first, and without what is empty.
fn in_order(line: &Value) -> String {
    let mut parts = Vec::new();
    for name in ["case", "variation", "versions", "asked", "after"] {
        let value = &line[name];
        if value != "" && value.as_array().is_none_or(|list| !list.is_empty()) {
            parts.push(format!("\"{name}\":{value}"));
        }
    }
    format!("{{{}}}", parts.join(","))
}

/// Ascending versions as ranges, such as `1-3,5`.
pub fn ranges(versions: &[i16]) -> String {
    let mut ranges: Vec<(i16, i16)> = Vec::new();
    for version in versions {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *version => *last = *version,
            _ => ranges.push((*version, *version)),
        }
    }
    let texts = ranges.iter().map(|(first, last)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    });
    texts.collect::<Vec<_>>().join(",")
}

/// The versions of such a text.
pub fn versions(text: &str) -> Option<Vec<i16>> {
    let mut found = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        found.extend(first.parse::<i16>().ok()?..=last.parse::<i16>().ok()?);
    }
    Some(found)
}
