//! `millrace man` and `millrace completions`: made of the command line's own definition, so that they
//! never say anything else.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

/// Which pages.
#[derive(Debug, Args)]
pub(crate) struct ManOptions {
    /// Writes a page for each command into this directory, instead of the first to standard output.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// For which shell.
#[derive(Debug, Args)]
pub(crate) struct CompletionsOptions {
    /// The shell that reads them.
    shell: Shell,
}

/// Runs `millrace man`.
pub(crate) fn man(options: &ManOptions, command: Command) -> ExitCode {
    let written = match &options.dir {
        // `millrace.1`, and `millrace-check.1` and so on for each command.
        Some(dir) => clap_mangen::generate_to(command.disable_help_subcommand(true), dir),
        None => page(command.disable_help_subcommand(true))
            .and_then(|page| io::stdout().write_all(&page)),
    };
    ended(written)
}

/// Runs `millrace completions`.
pub(crate) fn completions(options: &CompletionsOptions, mut command: Command) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut command, "millrace", &mut script);
    ended(io::stdout().write_all(&script))
}

fn page(command: Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(page)
}

fn ended(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => crate::fail(1, &error),
    }
}
