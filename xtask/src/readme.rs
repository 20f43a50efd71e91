//! The README's first two code blocks, run literally in a clone of HEAD in a directory of its own:
//! the first must start a broker that ends cleanly on SIGTERM, the second must pass.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::process::{Watched, println, succeed};
use crate::{Outcome, root};

/// Either command, build included, within this.
const COMMAND_LIMIT: Duration = Duration::from_mins(15);
/// A broker that was asked to end is gone within this.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Where the first command serves.
const ADDRESS: &str = "127.0.0.1:9092";

/// Runs the suite.
pub(crate) fn run() -> Outcome {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let clone = directory.path().join("millrace");
    succeed(
        Command::new("git")
            .args(["clone", "--quiet", "--"])
            .arg(root())
            .arg(&clone),
    )?;
    let readme = clone.join("README.md");
    let text = std::fs::read_to_string(&readme).map_err(|error| format!("README.md: {error}"))?;
    let [serve, test] = first_commands(&text)?;
    serve_and_stop(&serve, &clone)?;
    passes(&test, &clone)?;
    println(&format!(
        "readme: `{serve}` and `{test}` do what they say in a clean clone"
    ));
    Ok(())
}

fn serve_and_stop(command: &str, clone: &Path) -> Outcome {
    // Dropped at once: only whether it could be had counts.
    TcpListener::bind(ADDRESS).map(drop).map_err(|error| {
        format!("`{command}` needs {ADDRESS}, which cannot be had now ({error}); free it first")
    })?;
    let mut broker = Watched::start(command, clone)?;
    broker.wait_for_line("say that it listens", COMMAND_LIMIT, says_listening)?;
    broker.terminate()?;
    let status = broker.wait(STOP_LIMIT)?;
    if !status.success() {
        return Err(format!(
            "`{command}` ended with {status} after SIGTERM; it must end with 0"
        ));
    }
    TcpListener::bind(ADDRESS)
        .map(drop)
        .map_err(|error| format!("{ADDRESS} is still taken after `{command}` ended: {error}"))
}

fn passes(command: &str, clone: &Path) -> Outcome {
    let status = Watched::start(command, clone)?.wait(COMMAND_LIMIT)?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{command}` ended with {status}"))
    }
}

fn says_listening(line: &str) -> bool {
    line.to_ascii_lowercase().contains("listening") && line.contains(ADDRESS)
}

/// The commands in the first two code blocks, each of which must be one line.
fn first_commands(readme: &str) -> Result<[String; 2], String> {
    let mut blocks: Vec<Vec<&str>> = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        if line.starts_with("```") {
            inside = !inside;
            if inside {
                blocks.push(Vec::new());
            }
        } else if inside && let Some(block) = blocks.last_mut() {
            block.push(line);
        }
    }
    let command = |index: usize| match blocks.get(index).map(Vec::as_slice) {
        Some([line]) => Ok((*line).to_owned()),
        other => Err(format!(
            "code block {} of README.md is not one line: {other:?}",
            index + 1
        )),
    };
    Ok([command(0)?, command(1)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_two_blocks_are_the_commands() {
        let text = "# M\n\n```sh\ncargo run\n```\ntext\n```\ncargo test\n```\n```sh\na\nb\n```\n";
        assert_eq!(first_commands(text).unwrap(), ["cargo run", "cargo test"]);
        assert!(
            first_commands("```sh\na\nb\n```\n```sh\nc\n```\n")
                .unwrap_err()
                .contains("one line")
        );
        assert!(
            first_commands("```sh\na\n```\n")
                .unwrap_err()
                .contains("code block 2")
        );
    }

    #[test]
    fn a_program_is_watched_and_ends_with_its_own_status() {
        let directory = tempfile::tempdir().unwrap();
        let script = "sh -c 'trap \"exit 0\" TERM; echo up; while :; do read x <fifo; done'";
        succeed(Command::new("mkfifo").arg(directory.path().join("fifo"))).unwrap();
        let mut program = Watched::start(script, directory.path()).unwrap();
        let limit = Duration::from_mins(1);
        assert_eq!(
            program
                .wait_for_line("come up", limit, |line| line == "up")
                .unwrap(),
            "up"
        );
        program.terminate().unwrap();
        assert!(program.wait(limit).unwrap().success());
    }

    #[test]
    fn a_program_that_ends_too_early_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let mut program = Watched::start("sh -c 'exit 3'", directory.path()).unwrap();
        let error = program
            .wait_for_line("come up", Duration::from_mins(1), |_| true)
            .unwrap_err();
        assert!(
            error.contains("ended before it could come up") && error.contains('3'),
            "{error}"
        );
    }
}
