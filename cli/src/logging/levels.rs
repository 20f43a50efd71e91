//! The levels of the loggers, one for each room and module that somebody names, changed while the
//! process runs (Kafka's `BROKER_LOGGER`). A change holds until the process ends.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use millrace_server::{LoggerChange, LoggerError, Loggers, ROOT_LOGGER};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::{Registry, reload};

use super::word;

/// The rooms that say anything; whatever is below one of them is a logger too.
const ROOMS: [&str; 4] = [
    "millrace",
    "millrace_host",
    "millrace_log",
    "millrace_server",
];

/// Most loggers with a level of their own.
const LOGGERS_MAX: usize = 100;

/// Longest name of a logger, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// The levels that the process begins with, and why `RUST_LOG` does not say them.
pub(super) fn first() -> (Targets, Option<ParseError>) {
    let default = || Targets::new().with_default(LevelFilter::INFO);
    match env::var("RUST_LOG").map(|text| text.parse::<Targets>()) {
        Ok(Ok(targets)) => (targets, None),
        Ok(Err(error)) => (default(), Some(error)),
        Err(_) => (default(), None),
    }
}

/// What is said by whom.
pub(super) struct Levels {
    own: Mutex<BTreeMap<String, LevelFilter>>,
    handle: reload::Handle<Targets, Registry>,
}

impl Levels {
    /// Those of `first`, changed by `handle`.
    pub(super) fn new(first: &Targets, handle: reload::Handle<Targets, Registry>) -> Self {
        let own = first.iter().map(|(name, level)| (name.to_owned(), level));
        let root = first.default_level().unwrap_or(LevelFilter::OFF);
        let own = own.chain([(ROOT_LOGGER.to_owned(), root)]).collect();
        Self {
            own: Mutex::new(own),
            handle,
        }
    }
}

fn exists(name: &str) -> bool {
    let room = name.split("::").next().unwrap_or_default();
    name == ROOT_LOGGER || (name.len() <= NAME_BYTES_MAX && ROOMS.contains(&room))
}

/// The level of a logger: its own, or that of the nearest above it.
fn effective(own: &BTreeMap<String, LevelFilter>, name: &str) -> LevelFilter {
    let mut above = name;
    loop {
        if let Some(level) = own.get(above) {
            return *level;
        }
        above = match above.rsplit_once("::") {
            Some((above, _)) => above,
            None if above == ROOT_LOGGER => return LevelFilter::OFF,
            None => ROOT_LOGGER,
        };
    }
}

impl Loggers for Levels {
    fn levels(&self) -> Vec<(String, &'static str)> {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: BTreeMap<&str, LevelFilter> = ROOMS
            .iter()
            .map(|name| (*name, effective(&own, name)))
            .collect();
        all.extend(own.iter().map(|(name, level)| (name.as_str(), *level)));
        let all = all.into_iter();
        all.map(|(name, level)| (name.to_owned(), word(level)))
            .collect()
    }

    fn exists(&self, name: &str) -> bool {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        exists(name) || own.contains_key(name)
    }

    fn change(&self, changes: &[LoggerChange<'_>]) -> Result<(), LoggerError> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = own.clone();
        for change in changes {
            match change.level {
                Some(level) => next.insert(change.logger.to_owned(), level),
                None => next.remove(change.logger),
            };
        }
        if next.len() > LOGGERS_MAX {
            return Err(LoggerError::TooMany { max: LOGGERS_MAX });
        }
        let targets = next.iter().filter(|(name, _)| *name != ROOT_LOGGER);
        let targets: Targets = targets
            .map(|(name, level)| (name.clone(), *level))
            .collect();
        let root = next.get(ROOT_LOGGER).copied().unwrap_or(LevelFilter::OFF);
        self.handle
            .reload(targets.with_default(root))
            .map_err(|error| LoggerError::Failed {
                reason: error.to_string(),
            })?;
        *own = next;
        Ok(())
    }
}

impl fmt::Debug for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Levels").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(text: &str) -> (Levels, reload::Layer<Targets, Registry>) {
        let first: Targets = text.parse().unwrap();
        let (layer, handle) = reload::Layer::new(first.clone());
        (Levels::new(&first, handle), layer)
    }

    fn change(logger: &str, level: Option<LevelFilter>) -> LoggerChange<'_> {
        LoggerChange { logger, level }
    }

    fn of(all: &[(String, &'static str)], name: &str) -> Option<&'static str> {
        let found = all.iter().find(|(found, _)| found == name);
        found.map(|(_, level)| *level)
    }

    #[test]
    fn every_room_has_the_level_of_what_is_above_it_until_it_has_its_own() {
        let (levels, _layer) = levels("warn,millrace_log=debug");
        let all = levels.levels();
        let of_room = |name| of(&all, name);
        assert_eq!(of_room("root"), Some("WARN"));
        assert_eq!(of_room("millrace_server"), Some("WARN"));
        assert_eq!(of_room("millrace_log"), Some("DEBUG"));
        let deep = "millrace_log::flusher";
        assert!(levels.exists(deep) && levels.exists("root") && !levels.exists("tokio"));
        levels
            .change(&[
                change(deep, Some(LevelFilter::TRACE)),
                change("root", Some(LevelFilter::ERROR)),
                change("millrace_log", None),
            ])
            .unwrap();
        let all = levels.levels();
        assert_eq!(of(&all, "millrace_log"), Some("ERROR"));
        assert_eq!(of(&all, deep), Some("TRACE"));
        let now = levels.handle.clone_current().unwrap();
        assert!(now.would_enable("millrace_log::flusher::task", &tracing::Level::TRACE));
        assert!(!now.would_enable("millrace_log", &tracing::Level::WARN));
    }

    #[test]
    fn there_is_a_limit_on_levels_and_what_is_refused_changes_nothing() {
        let (levels, _layer) = levels("info");
        let names: Vec<String> = (0..LOGGERS_MAX)
            .map(|n| format!("millrace::m{n}"))
            .collect();
        let changes: Vec<_> = names
            .iter()
            .map(|name| change(name, Some(LevelFilter::WARN)))
            .collect();
        levels.change(&changes).unwrap_err();
        assert_eq!(levels.levels().len(), ROOMS.len() + 1);
        levels.change(&changes[1..]).unwrap();
    }
}
