//! `millrace dump-log`: what stands in the files of a log directory, as text or as JSON.
//!
//! Reads files of a running broker too: what is being written meanwhile may look cut off. Exit codes:
//! 0 when everything is as its format says; 1 when something isn't, or a file can't be read.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use millrace_host::real::{self, RealHost};
use millrace_log::dump::{self, Line, Value};
use serde_json::Map;

/// What to show and how.
#[derive(Debug, Args)]
pub(crate) struct DumpLogOptions {
    /// Every record with key and value, not only the batches' headers.
    #[arg(long, visible_alias = "print-data-log")]
    records: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// Records are cluster metadata; those of the metadata log's own directory always are.
    #[arg(long, visible_alias = "cluster-metadata-decoder")]
    metadata: bool,
    /// Leaves out batches that end before this offset.
    #[arg(long, value_name = "OFFSET", default_value_t = 0)]
    from_offset: i64,
    /// Shows at most so many batches of each file.
    #[arg(long, value_name = "COUNT", default_value_t = u64::MAX, hide_default_value = true)]
    max_batches: u64,
    /// Segments, indexes, snapshots, ledgers, journals, checkpoints; or a partition's directory, or a
    /// log directory for its ledgers and journals.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(options: &DumpLogOptions) -> ExitCode {
    match dump_all(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // If standard error is closed there is nobody to tell.
            drop(writeln!(io::stderr(), "millrace dump-log: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn dump_all(options: &DumpLogOptions) -> Result<bool, Box<dyn std::error::Error>> {
    let machine = RealHost::start(&real::Options::default())?;
    let host = machine.host();
    let what = dump::Options {
        records: options.records,
        metadata: options.metadata,
        from_offset: options.from_offset,
        batches_max: options.max_batches,
        ..dump::Options::default()
    };
    let mut out = BufWriter::new(io::stdout());
    let mut closed = false;
    let mut sound = true;
    for path in &options.paths {
        let mut write = |line: &Line| {
            let text = if options.json { json(line) } else { text(line) };
            writeln!(out, "{text}").inspect_err(|error| {
                closed = error.kind() == io::ErrorKind::BrokenPipe;
            })
        };
        match machine.block_on(dump::dump(&host, path, what, &mut write)) {
            Ok(one) => sound &= one,
            // Whoever reads has seen enough.
            Err(_) if closed => return Ok(sound),
            Err(error) => return Err(error.into()),
        }
    }
    match out.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(sound),
    }
}

/// `kind name: value name: value`; a record begins with a bar, as in Kafka's own tool.
fn text(line: &Line) -> String {
    let mut text = match line.kind.as_ref() {
        "record" => "|".to_owned(),
        kind => kind.to_owned(),
    };
    for (name, value) in &line.fields {
        let value = match value {
            Value::Null => "null".to_owned(),
            Value::Flag(flag) => flag.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Unsigned(number) => number.to_string(),
            Value::Text(words) => readable(words.as_bytes()),
            Value::Bytes(bytes) => readable(bytes),
        };
        for part in [" ", name, ": ", &value] {
            text += part;
        }
    }
    text
}

/// An object. Bytes that are no text become `{"hex": "…"}`.
fn json(line: &Line) -> String {
    let mut object = Map::new();
    object.insert("kind".to_owned(), line.kind.as_ref().into());
    for (name, value) in &line.fields {
        let value = match value {
            Value::Null => serde_json::Value::Null,
            Value::Flag(flag) => (*flag).into(),
            Value::Int(number) => (*number).into(),
            Value::Unsigned(number) => (*number).into(),
            Value::Text(words) => words.as_str().into(),
            Value::Bytes(bytes) => {
                std::str::from_utf8(bytes).map_or_else(|_| hex(bytes), Into::into)
            }
        };
        object.insert((*name).to_owned(), value);
    }
    serde_json::Value::from(object).to_string()
}

/// Text as it is, or escaped where a terminal would not show it as it is.
fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(words) if !words.chars().any(char::is_control) => words.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}

/// Bytes that no JSON string can hold.
fn hex(bytes: &[u8]) -> serde_json::Value {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for four in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(four), 16));
        }
    }
    Map::from_iter([("hex".to_owned(), text.into())]).into()
}
