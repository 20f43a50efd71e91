//! Levels of loggers, seen and changed as configurations of a broker's loggers (KIP-412). They are
//! this process's own: not in the metadata, and gone with the process.

use millrace_core::cluster::Refusal;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::StrBytes;
use millrace_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use tracing::level_filters::LevelFilter;

use super::config_kinds::{Change, refusal};
use crate::context::{RequestContext, shown};
use crate::loggers::{LoggerChange, ROOT_LOGGER};

/// Where the level of a logger comes from: the process, while it runs.
const SOURCE: i8 = 6;

/// A row for each logger.
pub(super) fn describe(context: &RequestContext) -> Vec<DescribeConfigsResourceResult> {
    let levels = context.node.loggers.levels().into_iter();
    let row = |(name, level): (String, &'static str)| {
        let mut row = DescribeConfigsResourceResult::default();
        row.name = StrBytes::from(name);
        row.value = Some(StrBytes::from(level));
        row.config_source = SOURCE;
        row.documentation = None;
        row
    };
    levels.map(row).collect()
}

/// Changes all of these, or none; with `validate_only` says what would be.
pub(super) fn alter<'a>(
    context: &RequestContext,
    changes: impl Iterator<Item = Change<'a>>,
    validate_only: bool,
) -> Result<(), Refusal> {
    let changes: Vec<LoggerChange<'_>> = changes
        .map(|change| checked(context, change))
        .collect::<Result<_, _>>()?;
    if validate_only {
        return Ok(());
    }
    context
        .node
        .loggers
        .change(&changes)
        .map_err(|error| refusal(ErrorCode::InvalidRequest, &error.to_string()))?;
    for LoggerChange { logger, level } in changes {
        // Said at a level that few turn off: from here on others are said, or not.
        let level = level.map_or_else(|| "that above it".to_owned(), |level| level.to_string());
        tracing::warn!(logger, level, "the level of a logger was changed");
    }
    Ok(())
}

fn checked<'a>(
    context: &RequestContext,
    (logger, operation, value): Change<'a>,
) -> Result<LoggerChange<'a>, Refusal> {
    let invalid = |words: String| Err(refusal(ErrorCode::InvalidRequest, &words));
    match operation {
        0 | 1 => {}
        2 => {
            return invalid(
                "APPEND operation is not allowed for the BROKER_LOGGER resource".into(),
            );
        }
        3 => {
            let words = "SUBTRACT operation is not allowed for the BROKER_LOGGER resource";
            return invalid(words.into());
        }
        other => {
            return invalid(format!(
                "Unknown operation type {other} is not allowed for the BROKER_LOGGER resource"
            ));
        }
    }
    let name = shown(logger);
    if !context.node.loggers.exists(logger) {
        let words = format!("Logger {name} does not exist!");
        return Err(refusal(ErrorCode::InvalidConfig, &words));
    }
    if operation == 1 {
        if logger == ROOT_LOGGER {
            return invalid("Removing the log level of the root logger is not allowed".into());
        }
        return Ok(LoggerChange {
            logger,
            level: None,
        });
    }
    let Some(level) = level(value.unwrap_or_default()) else {
        let words = format!(
            "Cannot set the log level of {name} to {} as it is not a supported log level. Valid log \
             levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN",
            shown(value.unwrap_or("null"))
        );
        return Err(refusal(ErrorCode::InvalidConfig, &words));
    };
    Ok(LoggerChange {
        logger,
        level: Some(level),
    })
}

/// Nothing is said here that is graver than an error.
fn level(word: &str) -> Option<LevelFilter> {
    Some(match word {
        "FATAL" | "ERROR" => LevelFilter::ERROR,
        "WARN" => LevelFilter::WARN,
        "INFO" => LevelFilter::INFO,
        "DEBUG" => LevelFilter::DEBUG,
        "TRACE" => LevelFilter::TRACE,
        _ => return None,
    })
}
