//! `millrace check`: reads a log directory that no broker has open and says what it holds.
//!
//! Exit codes: 0 when all that was durable is sound; 1 when something is damaged or missing, or when
//! the directory can't be checked. The report goes to standard output, what stopped it to standard
//! error.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use millrace_host::real::{Options, RealHost};
use millrace_log::check::{self, Report, Severity};

/// What to check.
#[derive(Debug, Args)]
pub(crate) struct CheckOptions {
    /// Make a new ledger from the partitions' files and the journals, when neither of the two
    /// ledger files can be read. Changes no partition's file.
    #[arg(long)]
    rebuild_ledger: bool,
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
    /// The log directory; its broker must not be running.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Runs the command.
pub(crate) fn run(options: &CheckOptions) -> ExitCode {
    let machine = match RealHost::start(&Options::default()) {
        Ok(machine) => machine,
        Err(error) => return fail(&error),
    };
    let host = machine.host();
    let dir = options.dir.as_path();
    let checked = machine.block_on(async {
        if options.rebuild_ledger {
            check::rebuild_ledger(&host, dir).await
        } else {
            check::check(&host, dir).await
        }
    });
    let report = match checked {
        Ok(report) => report,
        Err(error) => return fail(&error),
    };
    let said = if options.json {
        json(options, &report)
    } else {
        text(options, &report)
    };
    match io::stdout().write_all(said.as_bytes()) {
        // Whoever reads has seen enough; the exit code says the rest.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return fail(&error),
        _ => {}
    }
    if report.is_sound() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn text(options: &CheckOptions, report: &Report) -> String {
    let did = if options.rebuild_ledger {
        "a new ledger, made from"
    } else {
        "read"
    };
    let mut lines = vec![format!(
        "{}: {did} {} partitions, {} segments, {} bytes of whole records",
        options.dir.display(),
        report.partitions,
        report.segments,
        report.bytes
    )];
    for finding in &report.findings {
        lines.push(format!("{}: {}", name(finding.severity), finding.what));
    }
    lines.push(match (report.is_sound(), options.rebuild_ledger) {
        (true, false) => "sound: all that was durable is there".to_owned(),
        (true, true) => "the broker may be started".to_owned(),
        (false, true) => "the broker may be started; what is damaged is quarantined".to_owned(),
        (false, false) => "not sound: see the lines that begin with damage. Put back what is missing from a copy of \
             this directory; without one, a node that is started serves what is intact, and takes \
             records for a damaged partition once its topic is deleted and made again"
            .to_owned(),
    });
    lines.join("\n") + "\n"
}

/// `{"directory", "partitions", "segments", "bytes", "sound", "findings": [{"severity", "what"}]}`.
fn json(options: &CheckOptions, report: &Report) -> String {
    let findings = report.findings.iter().map(
        |finding| serde_json::json!({ "severity": name(finding.severity), "what": finding.what }),
    );
    let object = serde_json::json!({
        "directory": options.dir.display().to_string(),
        "partitions": report.partitions,
        "segments": report.segments,
        "bytes": report.bytes,
        "sound": report.is_sound(),
        "findings": findings.collect::<Vec<_>>(),
    });
    format!("{object}\n")
}

fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Damage => "damage",
    }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    // If standard error is closed there is nobody to tell.
    drop(writeln!(io::stderr(), "millrace check: {error}"));
    ExitCode::FAILURE
}
