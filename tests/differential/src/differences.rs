//! What differs from the record, place by place, and what of it stays: `differences.tsv`.
//!
//! What always holds: a difference that no line of the file names fails; so does a line that names none.

use std::collections::BTreeSet;

use millrace_protocol::api::Api;
use serde_json::Value;

use crate::instance::Key;
use crate::record;
use crate::run::Outcome;

const TABLE: &str = include_str!("../differences.tsv");
/// Values longer than this are shown by their beginning.
const SHOWN_BYTES_MAX: usize = 300;

/// One place at which an outcome isn't what was recorded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// Where: the answer's API and the field's path; `after:` before what was looked at afterwards.
    pub path: String,
    /// What was recorded.
    pub kafka: String,
    /// What came.
    pub ours: String,
}

/// All places at which an outcome isn't what was recorded.
pub fn between(recorded: &Outcome, ours: &Outcome) -> Vec<Difference> {
    let mut found = Vec::new();
    list("", &recorded.asked, &ours.asked, &mut found);
    list("after:", &recorded.after, &ours.after, &mut found);
    found
}

/// The same of one observation.
pub fn of_one(recorded: &Value, ours: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk("after:", Some(recorded), Some(ours), &mut found);
    found
}

fn list(path: &str, recorded: &[Value], ours: &[Value], found: &mut Vec<Difference>) {
    for place in 0..recorded.len().max(ours.len()) {
        walk(path, recorded.get(place), ours.get(place), found);
    }
}

fn walk(path: &str, recorded: Option<&Value>, ours: Option<&Value>, found: &mut Vec<Difference>) {
    match (recorded, ours) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                let dot = if path.is_empty() || path.ends_with(':') {
                    ""
                } else {
                    "."
                };
                walk(
                    &format!("{path}{dot}{name}"),
                    a.get(name),
                    b.get(name),
                    found,
                );
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) if a.len() == b.len() => {
            let path = format!("{path}[]");
            a.iter()
                .zip(b)
                .for_each(|(a, b)| walk(&path, Some(a), Some(b), found));
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) if aligned(a) && aligned(b) => {
            let path = format!("{path}[]");
            let names: BTreeSet<String> = a.iter().chain(b).map(identity).collect();
            for name in names {
                let of = |list: &'_ [Value]| list.iter().find(|v| identity(v) == name).cloned();
                walk(&path, of(a).as_ref(), of(b).as_ref(), found);
            }
        }
        (a, b) if a == b => {}
        (a, b) => found.push(Difference {
            path: path.to_owned(),
            kafka: shown(a),
            ours: shown(b),
        }),
    }
}

/// Fields by which the elements of a list are told apart.
const IDENTIFYING: [&str; 9] = [
    "ApiKey",
    "Name",
    "Topic",
    "TopicId",
    "PartitionIndex",
    "Index",
    "Partition",
    "GroupId",
    "Key",
];

/// What tells an element of a list from the others.
fn identity(element: &Value) -> String {
    let fields = IDENTIFYING.iter().map(|name| element[*name].to_string());
    fields.collect::<Vec<_>>().join(" ")
}

/// Whether the elements of a list can be told apart, so that lists of unlike length are compared one
/// element with its like.
fn aligned(list: &[Value]) -> bool {
    let names: BTreeSet<String> = list.iter().map(identity).collect();
    names.len() == list.len() && list.iter().all(Value::is_object)
}

fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else {
        return "absent".into();
    };
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    if text.len() <= SHOWN_BYTES_MAX {
        return text;
    }
    text.chars()
        .take(SHOWN_BYTES_MAX)
        .chain("..".chars())
        .collect()
}

#[derive(Clone, Debug)]
struct Row {
    columns: [&'static str; 7],
}

/// The differences that stay, and which of them were met.
#[derive(Clone, Debug)]
pub struct Staying {
    rows: Vec<Row>,
    used: BTreeSet<usize>,
}

impl Staying {
    /// Those of the file.
    pub fn read() -> Result<Self, String> {
        let mut rows = Vec::new();
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let columns: Vec<&str> = line.split('\t').collect();
            let [api, case, variation, versions, path, kafka, ours, reason] = columns[..] else {
                return Err(format!("differences.tsv: not eight columns: {line}"));
            };
            if reason.is_empty() {
                return Err(format!("differences.tsv: no reason: {line}"));
            }
            rows.push(Row {
                columns: [api, case, variation, versions, path, kafka, ours],
            });
        }
        Ok(Self {
            rows,
            used: BTreeSet::new(),
        })
    }

    /// The line that names a difference of an instance.
    pub fn find(&self, key: &Key, difference: &Difference) -> Option<usize> {
        self.rows.iter().position(|row| {
            let [api, case, variation, versions, path, kafka, ours] = row.columns;
            glob(api, key.api.row().name)
                && glob(case, &key.case)
                && glob(variation, &key.variation)
                && (versions == "*"
                    || record::versions(versions).is_some_and(|v| v.contains(&key.version)))
                && glob(path, &difference.path)
                && glob(kafka, &difference.kafka)
                && glob(ours, &difference.ours)
        })
    }

    /// Says that a line was met.
    pub fn used(&mut self, row: usize) {
        self.used.insert(row);
    }

    /// Those that were not met, of some APIs.
    pub fn unused(&self, apis: &[Api]) -> Vec<String> {
        let asked = |row: &Row| apis.iter().any(|api| api.row().name == row.columns[0]);
        let rows = self.rows.iter().enumerate();
        rows.filter(|(place, row)| asked(row) && !self.used.contains(place))
            .map(|(_, row)| {
                format!(
                    "differences.tsv: nothing differs so: {}",
                    row.columns.join(" ")
                )
            })
            .collect()
    }
}

/// Whether a text is what a pattern says, in which `*` is any text.
pub fn glob(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    loop {
        if glob(rest, text) {
            return true;
        }
        let mut chars = text.chars();
        if chars.next().is_none() {
            return false;
        }
        text = chars.as_str();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_place_that_differs_is_told() {
        let recorded = json!({"Fetch": {"a": 1, "list": [{"b": 2}, {"b": 3}], "gone": "x"}});
        let ours = json!({"Fetch": {"a": 1, "list": [{"b": 2}, {"b": 4}], "new": null}});
        let paths: Vec<String> = of_one(&recorded, &ours)
            .into_iter()
            .map(|difference| {
                format!(
                    "{} {} {}",
                    difference.path, difference.kafka, difference.ours
                )
            })
            .collect();
        assert_eq!(
            paths,
            [
                "after:Fetch.gone x absent",
                "after:Fetch.list[].b 3 4",
                "after:Fetch.new absent null"
            ]
        );
        assert!(of_one(&ours, &ours).is_empty());
    }

    #[test]
    fn a_star_is_any_text() {
        assert!(glob("a*c", "abbc") && glob("*", "") && glob("a**", "a"));
        assert!(!glob("a*c", "abb") && !glob("a", "ab"));
    }
}
