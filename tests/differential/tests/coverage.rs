//! What must have a case: every version that is served, every field of its request, every error that
//! Kafka documents for the API and gives on its defaults.

use std::collections::{BTreeMap, BTreeSet};

use millrace_differential::{cases, instance, record, schema};
use millrace_protocol::api::{Api, TABLE};
use serde_json::Value;

const ERRORS: &str = include_str!("../errors.tsv");
const UNMET: &str = include_str!("../errors_unmet.tsv");

#[test]
fn every_version_has_cases_and_all_are_recorded() {
    let suites = cases::suites();
    let instances = instance::all(&suites).expect("the table of cases is sound");
    let recorded = record::read().expect("the record is sound");
    let known: BTreeSet<&instance::Key> = instances.iter().map(|i| &i.key).collect();
    let missing: Vec<String> = known
        .iter()
        .filter(|key| !recorded.contains_key(**key))
        .map(ToString::to_string)
        .collect();
    assert!(
        missing.is_empty(),
        "not recorded, `cargo xtask differential record`: {missing:#?}"
    );
    let stale: Vec<&instance::Key> = recorded.keys().filter(|key| !known.contains(key)).collect();
    assert!(stale.is_empty(), "recorded without a case: {stale:#?}");
    for row in TABLE {
        for version in row.served.min..=row.served.max {
            let mut cases = known.iter();
            assert!(
                cases.any(|key| key.api == row.api && key.version == version),
                "{} {version} has no case",
                row.name
            );
        }
    }
}

/// Paths of all fields of a version's request.
fn paths(fields: &[schema::Field], version: i16, before: &str, found: &mut BTreeSet<String>) {
    for field in fields.iter().filter(|field| field.is_in(version)) {
        let path = format!("{before}{}", field.name);
        if field.kind == schema::Kind::Structure {
            let inside = format!("{path}{}.", if field.is_array { "[]" } else { "" });
            paths(&field.fields, version, &inside, found);
            if !field.is_array && field.nullable.is_none() {
                continue;
            }
        }
        found.insert(path);
    }
}

#[test]
fn every_field_of_every_request_is_varied() {
    let suites = cases::suites();
    let instances = instance::all(&suites).expect("the table of cases is sound");
    let mut varied: BTreeMap<(Api, i16), BTreeSet<&str>> = BTreeMap::new();
    for instance in &instances {
        if let Some((field, _)) = instance.key.variation.split_once('=') {
            let key = (instance.key.api, instance.key.version);
            varied.entry(key).or_default().insert(field);
        }
    }
    let mut missing = Vec::new();
    for row in TABLE {
        for version in row.served.min..=row.served.max {
            let mut fields = BTreeSet::new();
            let message = schema::message(row.api, true);
            paths(&message.fields, version, "", &mut fields);
            let seen = varied.get(&(row.api, version));
            for field in fields {
                if !seen.is_some_and(|seen| seen.contains(field.as_str())) {
                    missing.push(format!("{} {version}: {field}", row.name));
                }
            }
        }
    }
    assert!(
        missing.is_empty(),
        "fields that no case varies: {missing:#?}"
    );
}

/// The error codes of an answer, each with the path where it stands.
fn errors(value: &Value, path: &str, found: &mut BTreeSet<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                let path = format!("{path}{dot}{name}");
                match value.as_str().filter(|_| name.ends_with("ErrorCode")) {
                    Some(code) => {
                        let code = code.split(' ').next().unwrap_or_default();
                        found.insert((code.to_owned(), path));
                    }
                    None => errors(value, &path, found),
                }
            }
        }
        Value::Array(list) => {
            let path = format!("{path}[]");
            for value in list {
                errors(value, &path, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The three columns of each line of a table.
fn rows(table: &'static str) -> Vec<[&'static str; 3]> {
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    let row = |line: &'static str| {
        let columns: Vec<&str> = line.split('\t').collect();
        columns.try_into().expect("three columns")
    };
    lines.map(row).collect()
}

/// By API, the error codes that Kafka answered in its cases, each with the path where it stands.
fn met() -> BTreeMap<&'static str, BTreeSet<(String, String)>> {
    let recorded = record::read().expect("the record is sound");
    let mut met: BTreeMap<&str, BTreeSet<(String, String)>> = BTreeMap::new();
    for (key, outcome) in &recorded {
        for answer in &outcome.asked {
            if let Some(body) = answer.get(key.api.row().name) {
                errors(body, "", met.entry(key.api.row().name).or_default());
            }
        }
    }
    met
}

#[test]
fn every_documented_error_is_met_at_its_level() {
    let met = met();
    let missing: Vec<[&str; 3]> = rows(ERRORS)
        .into_iter()
        .filter(|[api, code, path]| {
            let key = ((*code).to_owned(), (*path).to_owned());
            !met.get(api).is_some_and(|met| met.contains(&key))
        })
        .collect();
    assert!(
        missing.is_empty(),
        "errors that no case meets: {missing:#?}"
    );
}

#[test]
fn an_error_that_is_said_not_to_be_met_is_met_by_no_case() {
    let met = met();
    let stale: Vec<[&str; 3]> = rows(UNMET)
        .into_iter()
        .filter(|[api, code, _]| {
            let mut met = met.get(api).into_iter().flatten();
            met.any(|(met, _)| met == code)
        })
        .collect();
    assert!(stale.is_empty(), "a case meets these: {stale:#?}");
}
