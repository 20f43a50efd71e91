//! Every key of the table of configuration does what it says: a test for each, named here, or the
//! reason why there is none.
//!
//! What always holds: a key that is added without a row here fails, and so does a row whose test is
//! gone or no longer speaks of the key.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use millrace_config::{BrokerConfig, Effect, Key, TopicOverrides, broker_keys, topic_keys};

const E2E: &str = "broker/server/tests/e2e/";
/// One line of the table.
struct Row {
    of: &'static str,
    key: &'static str,
    /// `None` where no test proves it; `test` is the reason then.
    file: Option<&'static str>,
    test: &'static str,
    /// What the test calls the key.
    words: &'static str,
}

fn table() -> Vec<Row> {
    let lines = include_str!("keys.tsv").lines();
    let lines = lines.filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let [of, key, file, test, words] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{line}: five columns")
            };
            Row {
                of,
                key,
                file: (file != "-").then_some(file),
                test,
                words: if words.is_empty() { key } else { words },
            }
        })
        .collect()
}

fn text(path: &str) -> String {
    let path = if path.contains('/') {
        path.to_owned()
    } else {
        format!("{E2E}{path}")
    };
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(root.join(&path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What a test says, up to the next one.
fn body(file: &str, test: &str) -> Option<String> {
    let text = text(file);
    let start = text.find(&format!("fn {test}("))?;
    let rest = &text[start..];
    let end = rest.find("#[test]").unwrap_or(rest.len());
    Some(rest[..end].to_owned())
}

fn changes_nothing(key: &Key) -> bool {
    key.effect != Effect::Full
}

/// Broker keys that stand behind one of topics: the first that is set gives its default.
fn behind() -> BTreeMap<&'static str, &'static Key> {
    let of = |key: &'static Key| key.synonyms().iter().map(move |one| (one.key, key));
    topic_keys().flat_map(of).collect()
}

#[test]
fn every_key_has_one_row_or_needs_none() {
    let (behind, table) = (behind(), table());
    let rows = |of: &str, key: &Key| {
        let found = table
            .iter()
            .filter(|row| (row.of, row.key) == (of, key.name));
        found.count()
    };
    let mut wrong = Vec::new();
    for key in broker_keys() {
        let needed = !changes_nothing(key) && !behind.contains_key(key.name);
        if rows("broker", key) != usize::from(needed) {
            wrong.push(format!("broker's {}", key.name));
        }
    }
    for key in topic_keys() {
        if rows("topic", key) != usize::from(!changes_nothing(key)) {
            wrong.push(format!("topic's {}", key.name));
        }
    }
    let known: BTreeSet<&str> = broker_keys()
        .chain(topic_keys())
        .map(|key| key.name)
        .collect();
    let unknown = table.iter().filter(|row| !known.contains(row.key));
    wrong.extend(unknown.map(|row| format!("{}, which is no key", row.key)));
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn the_test_of_a_key_is_there_and_speaks_of_it() {
    let mut wrong = Vec::new();
    for Row {
        key,
        file,
        test,
        words,
        ..
    } in table()
    {
        let Some(file) = file else {
            assert!(test.contains(' '), "{key}: a reason");
            continue;
        };
        // What stands before the first test is the set-up of all of them.
        let text = text(file);
        let set_up = text.split("#[test]").next().unwrap_or_default();
        let speaks = |body: &str| body.contains(words) || set_up.contains(words);
        match body(file, test) {
            None => wrong.push(format!("{key}: no test {test} in {file}")),
            Some(body) if !speaks(&body) => {
                wrong.push(format!("{test} in {file} says nothing of {words}"));
            }
            Some(_) => {}
        }
    }
    assert_eq!(wrong, [""; 0]);
}

/// Values of all kinds; each key takes some.
const VALUES: &[&str] = &[
    "1",
    "2",
    "0",
    "3",
    "-1",
    "16",
    "64",
    "1000",
    "4096",
    "65536",
    "131072",
    "1048576",
    "2097152",
    "4194304",
    "50000000",
    "134217728",
    "true",
    "false",
    "0.25",
    "json",
    "zstd",
    "LogAppendTime",
    "compact",
    "page-cache",
    "header",
    "127.0.0.1:1",
    "a",
    "PLAINTEXT://127.0.0.1:1",
    "PLAINTEXT://b:1",
    "b:5",
    "x",
];

/// All that is read from the configuration, and not the texts it was read from.
fn read(config: &BrokerConfig) -> String {
    format!(
        "{:?}",
        (
            (&config.node, &config.network, &config.log, &config.produce),
            (&config.fetch, &config.topics, &config.metadata),
            (&config.groups, &config.cleaner),
        )
    )
}

#[test]
fn a_key_changes_what_the_broker_reads_unless_it_says_that_it_changes_nothing() {
    let mut wrong = Vec::new();
    for key in broker_keys() {
        // A level is one of the codec that is used.
        let codec = key
            .name
            .strip_prefix("compression.")
            .and_then(|rest| rest.split_once('.'));
        let beside = codec.map(|(codec, _)| ("compression.type", codec));
        let load = |own: Option<(&'static str, &'static str)>| {
            BrokerConfig::from_pairs(beside.into_iter().chain(own)).ok()
        };
        let default = read(&load(None).unwrap());
        let loaded = VALUES
            .iter()
            .filter_map(|value| load(Some((key.name, *value))));
        let differs = loaded.into_iter().any(|config| read(&config) != default);
        // Names that nobody listens by change nothing.
        let is_names = key.name == "listener.security.protocol.map";
        if differs == (changes_nothing(key) || is_names) {
            wrong.push(key.name);
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn a_brokers_key_is_the_default_of_the_topics_in_front_of_it() {
    for (name, topic) in behind() {
        let told = |config: &BrokerConfig| {
            let all = config.describe_topic(&TopicOverrides::new()).unwrap();
            let own = all.into_iter().find(|one| one.key.name == topic.name);
            own.unwrap().value
        };
        let default = told(&BrokerConfig::default());
        let loaded = VALUES
            .iter()
            .filter_map(|value| BrokerConfig::from_pairs([(name, *value)]).ok());
        let reaches = loaded.into_iter().any(|config| told(&config) != default);
        assert_eq!(
            reaches,
            topic.effect != Effect::DefaultOnly,
            "{name} and {}",
            topic.name
        );
    }
}
