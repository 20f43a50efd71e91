//! Target: configuration files in both formats, `--set` options, and the configuration of a topic.
//!
//! Held: whatever stands there is a checked configuration or an error in words; one that was
//! accepted describes itself, and a topic with any of it resolves or is refused in words.

use std::io::Write as _;

use millrace_config::{BrokerConfig, Sources, TopicConfig, TopicOverrides};

use crate::allocation::{Bound, within};
use crate::input::Input;
use crate::progress;

/// A parsed document and every key's value; the table of keys is a few hundred rows.
const READING: Bound = Bound {
    per_byte: 128,
    fixed_bytes: 1 << 20,
};

/// One input: which form, then text.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let form = input.byte() % 4;
    let text = input.0;
    within(READING, text.len(), || match form {
        0 => file(text, ".properties"),
        1 => file(text, ".toml"),
        2 => set(&String::from_utf8_lossy(text)),
        _ => topic(&String::from_utf8_lossy(text)),
    });
}

fn file(text: &[u8], suffix: &str) {
    let mut file = tempfile::Builder::new()
        .suffix(suffix)
        .tempfile()
        .expect("there is a directory for temporary files");
    file.write_all(text).expect("it has room");
    let sources = Sources {
        file: Some(file.path().to_owned()),
        ..Sources::default()
    };
    judge(BrokerConfig::load(&sources));
}

fn set(text: &str) {
    let sources = Sources {
        set: text.lines().map(str::to_owned).collect(),
        ..Sources::default()
    };
    judge(BrokerConfig::load(&sources));
}

fn judge(loaded: Result<BrokerConfig, millrace_config::ConfigError>) {
    match loaded {
        Ok(config) => {
            progress::past_the_header();
            assert!(config.describe().len() > 50, "every key is described");
            let inherited = TopicConfig::resolve(&config, &TopicOverrides::new());
            assert!(inherited.is_ok(), "a topic without its own: {inherited:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty(), "an error has words"),
    }
}

fn topic(text: &str) {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let own: TopicOverrides = pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let broker = BrokerConfig::default();
    match TopicConfig::resolve(&broker, &own) {
        Ok(config) => {
            progress::past_the_header();
            assert_eq!(TopicConfig::resolve(&broker, &own), Ok(config));
            assert!(broker.describe_topic(&own).is_ok(), "it describes itself");
        }
        Err(error) => assert!(!error.to_string().is_empty(), "an error has words"),
    }
}
