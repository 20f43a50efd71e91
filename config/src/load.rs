//! Gathering the sources, strongest last, and checking what must hold between two keys. A key from
//! any source is checked even if a stronger source replaces its value.

use std::path::{Path, PathBuf};

use crate::error::{ConfigError, Source, shown};
use crate::values::Values;
use crate::{properties, toml_file};

/// Largest configuration file that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Environment variables with this in front are configuration: `MILLRACE_LOG_DIRS` is `log.dirs`.
const PREFIX: &str = "MILLRACE_";

/// The environment variable that names the configuration file when no option does.
const FILE_VARIABLE: &str = "MILLRACE_CONFIG";

/// Where configuration comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// The configuration file, `.properties` or `.toml`; else `MILLRACE_CONFIG` may name one.
    pub file: Option<PathBuf>,
    /// The process's environment; only variables that begin with `MILLRACE_` are looked at.
    pub environment: Vec<(String, String)>,
    /// `--set` options, each `key=value`; of two for one key the later wins.
    pub set: Vec<String>,
}

/// One entry of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) line: usize,
}

/// Reads and checks all sources.
pub(crate) fn gather(sources: &Sources) -> Result<Values, ConfigError> {
    let mut values = Values::default();
    let mut environment = sources.environment.iter();
    let named = environment.find(|(variable, _)| variable == FILE_VARIABLE);
    let file = sources
        .file
        .clone()
        .or_else(|| named.map(|(_, path)| PathBuf::from(path)));
    if let Some(path) = file {
        for entry in read_file(&path)? {
            let from = Source::File {
                path: path.clone(),
                line: entry.line,
            };
            values.set(&entry.key, &entry.value, from)?;
        }
    }
    for (variable, value) in &sources.environment {
        if let Some(name) = variable.strip_prefix(PREFIX)
            && variable != FILE_VARIABLE
        {
            let key = name.to_ascii_lowercase().replace('_', ".");
            values.set(&key, value, Source::Environment(variable.clone()))?;
        }
    }
    for option in &sources.set {
        let pair = option.split_once('=');
        let Some((key, value)) = pair.filter(|(key, _)| !key.trim().is_empty()) else {
            let place = format!("--set {}", shown(option));
            let reason = "expected key=value, as --set log.dirs=/var/lib/millrace".to_owned();
            return Err(ConfigError::Syntax { place, reason });
        };
        values.set(key.trim(), value, Source::Set)?;
    }
    Ok(values)
}

fn read_file(path: &Path) -> Result<Vec<Entry>, ConfigError> {
    let unreadable = |reason: String| ConfigError::Unreadable {
        path: path.to_owned(),
        reason,
    };
    let parse = match path.extension().and_then(|extension| extension.to_str()) {
        Some("properties") => properties::parse,
        Some("toml") => toml_file::parse,
        Some(_) | None => {
            return Err(unreadable(
                "its name must end in .properties or .toml".to_owned(),
            ));
        }
    };
    let bytes = std::fs::metadata(path)
        .map_err(|error| unreadable(error.to_string()))?
        .len();
    if bytes > FILE_BYTES_MAX {
        return Err(unreadable(format!(
            "it has {bytes} bytes, more than {FILE_BYTES_MAX}"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    parse(&text).map_err(|(line, reason)| ConfigError::Syntax {
        place: format!("{} line {line}", path.display()),
        reason,
    })
}

/// A key whose value, times a factor, must not exceed another key's.
pub(crate) struct Relation {
    pub(crate) small: &'static str,
    pub(crate) factor: i64,
    pub(crate) large: &'static str,
    rule: &'static str,
}

pub(crate) const RELATIONS: [Relation; 5] = [
    Relation {
        small: "message.max.bytes",
        factor: 1,
        large: "socket.request.max.bytes",
        rule: "message.max.bytes must be at most socket.request.max.bytes, or the largest batch \
               could never arrive",
    },
    Relation {
        small: "socket.request.max.bytes",
        factor: 1,
        large: "queued.max.request.bytes",
        rule: "socket.request.max.bytes must be at most queued.max.request.bytes, or the largest \
               request could never be read",
    },
    Relation {
        small: "log.journal.initial.bytes",
        factor: 1,
        large: "log.journal.file.bytes.max",
        rule: "log.journal.initial.bytes must be at most log.journal.file.bytes.max",
    },
    Relation {
        small: "log.direct.sync.bytes",
        factor: 4,
        large: "log.journal.file.bytes.max",
        rule: "log.direct.sync.bytes must be at most a quarter of log.journal.file.bytes.max",
    },
    Relation {
        small: "log.direct.sync.bytes",
        factor: 1,
        large: "log.unflushed.bytes.max",
        rule: "log.direct.sync.bytes must be at most log.unflushed.bytes.max",
    },
];

/// Checks what must hold between two keys.
pub(crate) fn check_relations(values: &Values) -> Result<(), ConfigError> {
    for Relation {
        small,
        factor,
        large,
        rule,
    } in RELATIONS
    {
        if values.number(small).saturating_mul(factor) <= values.number(large) {
            continue;
        }
        let (Some(one), Some(other)) = (values.effective(small), values.effective(large)) else {
            unreachable!("a number was just read for both");
        };
        return Err(ConfigError::Conflict {
            key: small,
            value: one.text,
            from: Box::new(one.source),
            other_key: large,
            other_value: other.text,
            other_from: Box::new(other.source),
            rule,
        });
    }
    Ok(())
}
