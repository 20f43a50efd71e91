//! What the broker says while it runs: on standard error, for people or as JSON.
//!
//! What always holds: as JSON every line is one object, panics and the reason why the process ends
//! among them; one place in the code writes at most [`LINES_MAX`] lines of `info` and above in
//! [`INTERVAL`], and how many it held back is told then; levels change while the broker runs.

mod held_back;
mod levels;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::Arc;
use std::thread;

use millrace_config::LoggerFormat;
use millrace_host::Clock;
use serde_json::{Map, Value, json};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::FilterExt;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, reload};

use held_back::HeldBack;
pub(crate) use held_back::{INTERVAL, LINES_MAX};
use levels::Levels;

/// The process's log, once it was begun.
pub(crate) struct Logging {
    levels: Arc<Levels>,
    held_back: HeldBack,
}

impl Logging {
    /// Begins it; levels come from `RUST_LOG`, `info` by default. Once in a process.
    pub(crate) fn begin(format: LoggerFormat) -> Result<Self, TryInitError> {
        let (first, refused) = levels::first();
        let (filter, handle) = reload::Layer::new(first.clone());
        let held_back = HeldBack::default();
        let filter = filter.and(held_back.clone());
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(io::stderr)
            // A standard error that is closed is no reason to write to it.
            .log_internal_errors(false);
        let lines = match format {
            LoggerFormat::Human => lines.with_ansi(io::stderr().is_terminal()).boxed(),
            LoggerFormat::Json => lines.json().with_ansi(false).boxed(),
        };
        let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
        subscriber.try_init()?;
        if let Some(refused) = refused {
            tracing::warn!("RUST_LOG is not understood, so the level is info: {refused}");
        }
        tell_panics(format);
        Ok(Self {
            levels: Arc::new(Levels::new(&first, handle)),
            held_back,
        })
    }

    /// The levels, for Kafka's tools to see and change.
    pub(crate) fn loggers(&self) -> Arc<dyn millrace_server::Loggers> {
        Arc::<Levels>::clone(&self.levels)
    }

    /// Tells, every [`INTERVAL`], what was held back. Never ends.
    pub(crate) async fn tell_held_back(&self, clock: &dyn Clock) {
        loop {
            clock.sleep_until(clock.now().mono + INTERVAL).await;
            self.turn();
        }
    }

    /// Tells what was held back since the last time, and lets every place speak again.
    pub(crate) fn turn(&self) {
        for (place, lines) in self.held_back.turn() {
            tracing::warn!(
                place,
                lines,
                "lines were held back: more than {LINES_MAX} within {} s",
                INTERVAL.as_secs()
            );
        }
    }
}

/// Has panics told as everything else is.
fn tell_panics(format: LoggerFormat) {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| match format {
        LoggerFormat::Human => before(info),
        LoggerFormat::Json => {
            let line = json_line("ERROR", "a panic", panic_fields(info));
            // Nobody else is to be told.
            drop(io::stderr().lock().write_all(line.as_bytes()));
        }
    }));
}

fn panic_fields(info: &PanicHookInfo<'_>) -> Value {
    let words = info.payload_as_str().unwrap_or("without words");
    let at = info.location().map(ToString::to_string);
    let current = thread::current();
    let mut fields = json!({"panic": words, "at": at, "thread": current.name()});
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        fields["backtrace"] = Value::from(trace.to_string());
    }
    fields
}

/// A line as the log's JSON has them.
pub(crate) fn json_line(level: &str, message: &str, fields: Value) -> String {
    let mut timestamp = String::new();
    // Nothing is wrong with a line without its time.
    SystemTime
        .format_time(&mut Writer::new(&mut timestamp))
        .ok();
    let mut all = Map::new();
    all.insert("message".to_owned(), Value::from(message));
    if let Value::Object(fields) = fields {
        all.extend(fields);
    }
    let line = json!({
        "timestamp": timestamp,
        "level": level,
        "fields": all,
        "target": env!("CARGO_CRATE_NAME"),
    });
    format!("{line}\n")
}

/// Kafka's word for a level.
pub(crate) fn word(level: LevelFilter) -> &'static str {
    match level {
        LevelFilter::OFF => "OFF",
        LevelFilter::ERROR => "ERROR",
        LevelFilter::WARN => "WARN",
        LevelFilter::INFO => "INFO",
        LevelFilter::DEBUG => "DEBUG",
        LevelFilter::TRACE => "TRACE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_json_is_one_line_whatever_is_in_it() {
        let line = json_line("ERROR", "two\nlines", json!({"path": "a\r\nb", "n": 1}));
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["fields"]["message"], "two\nlines");
        assert_eq!(read["fields"]["path"], "a\r\nb");
        assert!(read["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn a_panic_says_its_words_and_its_place() {
        let (told, heard) = std::sync::mpsc::sync_channel(1);
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            told.try_send(panic_fields(info)).ok();
        }));
        let name = "panics".to_owned();
        let thread = thread::Builder::new().name(name);
        let planted = thread.spawn(|| panic!("two\nlines {}", 1)).unwrap();
        planted.join().unwrap_err();
        panic::set_hook(before);
        let fields = heard.recv().unwrap();
        assert_eq!(fields["panic"], "two\nlines 1");
        assert_eq!(fields["thread"], "panics");
        assert!(fields["at"].as_str().unwrap().contains("logging.rs:"));
    }
}
