//! Why a configuration was refused: always the key, the value, what is allowed and where it came
//! from. Texts are for the person who wrote the value; foreign text in them is escaped and cut.

use std::fmt;
use std::path::PathBuf;

/// Characters of foreign text that an error repeats.
const SHOWN_CHARS_MAX: usize = 200;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it: the table's default.
    Default,
    /// A line of the configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// Line in it, from 1.
        line: usize,
    },
    /// An environment variable, by its name.
    Environment(String),
    /// A `--set key=value` option.
    Set,
    /// What was set for all brokers of the cluster while they ran.
    Cluster,
    /// What was set for this broker while it ran.
    Broker,
    /// A topic's own configuration.
    Topic,
}

impl Source {
    /// Larger is stronger: the stronger source wins.
    pub(crate) fn strength(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File { .. } => 1,
            Self::Environment(_) => 2,
            Self::Set => 3,
            Self::Cluster => 4,
            Self::Broker => 5,
            Self::Topic => 6,
        }
    }

    /// Whether it was read at the broker's start.
    pub(crate) fn is_static(&self) -> bool {
        matches!(self, Self::File { .. } | Self::Environment(_) | Self::Set)
    }

    /// Whether a value from here takes the place of one from there, as one layer.
    pub(crate) fn same_layer(&self, other: &Self) -> bool {
        self.is_static() && other.is_static() || self.strength() == other.strength()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File { path, line } => write!(f, "{} line {line}", path.display()),
            Self::Environment(variable) => {
                write!(f, "environment variable {}", shown(variable))
            }
            Self::Set => f.write_str("--set"),
            Self::Cluster => f.write_str("the cluster's configuration"),
            Self::Broker => f.write_str("the broker's configuration"),
            Self::Topic => f.write_str("the topic's configuration"),
        }
    }
}

/// Why a configuration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No such key.
    #[error(
        "unknown key {} (from {from}){}",
        shown(key),
        nearest.map_or_else(
            || "; `millrace config` lists those there are".to_owned(),
            |name| format!("; did you mean {name}?")
        )
    )]
    UnknownKey {
        /// The key as written.
        key: String,
        /// The nearest key that exists, if one is near.
        nearest: Option<&'static str>,
        /// Where it came from.
        from: Source,
    },
    /// A key that Kafka has and this version does not act on.
    #[error(
        "{key} (from {from}) is a key of Apache Kafka that has no effect in this version of \
             Millrace: {advice}"
    )]
    NotInEffect {
        /// The key.
        key: &'static str,
        /// What to do about it.
        advice: &'static str,
        /// Where it came from.
        from: Source,
    },
    /// A key that each broker has for itself, set for all of them.
    #[error("{key} can't be set for all brokers together: name one broker")]
    PerBroker {
        /// The key.
        key: &'static str,
    },
    /// A key that only a start of the broker changes.
    #[error("{key} can't be changed while the broker runs: set it in its file and start it again")]
    ReadOnly {
        /// The key.
        key: &'static str,
    },
    /// The value is not one that the key takes.
    #[error(
        "{key}={} (from {from}) is refused: {key} takes {allowed}",
        shown(value)
    )]
    BadValue {
        /// The key.
        key: &'static str,
        /// The value as written.
        value: String,
        /// What is allowed.
        allowed: String,
        /// Where it came from.
        from: Source,
    },
    /// Two values that cannot stand together.
    #[error(
        "{key}={} (from {from}) and {other_key}={} (from {other_from}) do not go together: {rule}",
        shown(value),
        shown(other_value)
    )]
    Conflict {
        /// The key that has to give way, or the other one to be raised.
        key: &'static str,
        /// Its value.
        value: String,
        /// Where it came from.
        from: Box<Source>,
        /// The key it conflicts with.
        other_key: &'static str,
        /// That key's value.
        other_value: String,
        /// Where that came from.
        other_from: Box<Source>,
        /// The relation that must hold.
        rule: &'static str,
    },
    /// The text is not of the form `key=value`, properties or TOML.
    #[error("{place}: {reason}")]
    Syntax {
        /// The file with its line, or the option.
        place: String,
        /// What is wrong and what is expected.
        reason: String,
    },
    /// The configuration file cannot be read.
    #[error("configuration file {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Foreign text made safe to print: control characters escaped, at most 200 characters.
pub(crate) fn shown(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(SHOWN_CHARS_MAX)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        out.push('…');
    }
    out
}
