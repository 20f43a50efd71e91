//! The levels of what the process says, as operators see and change them through Kafka's protocol
//! (`BROKER_LOGGER`, KIP-412). Whoever starts a node says how they are changed: what a line looks
//! like and where it goes is not the node's.

use std::fmt;

use tracing::level_filters::LevelFilter;

/// The logger above all others.
pub const ROOT_LOGGER: &str = "root";

/// One logger and its new level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggerChange<'a> {
    /// The logger's name.
    pub logger: &'a str,
    /// Its level; `None` for that of the logger above it.
    pub level: Option<LevelFilter>,
}

/// Why levels stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoggerError {
    /// Too many loggers would have a level of their own.
    #[error(
        "at most {max} loggers have a level of their own: take back some of those that were set"
    )]
    TooMany {
        /// How many may have.
        max: usize,
    },
    /// The log can't be changed.
    #[error("the levels can't be changed: {reason}")]
    Failed {
        /// What it said.
        reason: String,
    },
}

/// The loggers of the process.
pub trait Loggers: fmt::Debug + Send + Sync {
    /// Every logger with its level in Kafka's words, by name; [`ROOT_LOGGER`] among them.
    fn levels(&self) -> Vec<(String, &'static str)>;

    /// Whether there is a logger of this name.
    fn exists(&self, name: &str) -> bool;

    /// Changes all of these, or none.
    fn change(&self, changes: &[LoggerChange<'_>]) -> Result<(), LoggerError>;
}

/// For a process that says nothing about its log: no loggers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoLoggers;

impl Loggers for NoLoggers {
    fn levels(&self) -> Vec<(String, &'static str)> {
        Vec::new()
    }

    fn exists(&self, _: &str) -> bool {
        false
    }

    fn change(&self, _: &[LoggerChange<'_>]) -> Result<(), LoggerError> {
        Ok(())
    }
}
