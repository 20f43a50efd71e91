//! `cargo xtask streams`: a word count of Kafka Streams (`tests/streams`), without exactly-once, on two
//! instances with a repartition topic and compacted changelogs. Undisturbed, its counts are the truth,
//! also when both instances were ended, lost their stores and restored them; while instances and the
//! broker are killed they are never below it.
//!
//! What always holds: every line is acknowledged, and judged by a program that knows what was written;
//! an instance that ends by itself fails the suite.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::brokers::{Kind, Running, Site};
use crate::java::Programs;
use crate::process::{Watched, println};
use crate::{Outcome, binaries};

/// Lines of each part that ends by itself.
const LINES: &str = "20000";
const LINES_OF_SMOKE: &str = "4000";
/// Rounds of kills.
const ROUNDS: usize = 6;
/// Whatever is waited for comes within this: a killed member's session, restores, a busy machine.
const LIMIT: Duration = Duration::from_mins(5);
/// Looks for what can be cleaned follow each other soon, so that a changelog is compacted meanwhile.
const SETTINGS: [&str; 1] = ["log.cleaner.backoff.ms=500"];

/// How.
#[derive(Args, Debug)]
pub(crate) struct StreamsArguments {
    /// Fewer lines, one round of kills.
    #[arg(long)]
    smoke: bool,
    /// On this broker: what Apache Kafka does is what is asked of Millrace.
    #[arg(long, value_enum, default_value = "millrace")]
    against: Kind,
    /// This binary, instead of a build of the tree.
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// Runs the suite.
pub(crate) fn run(arguments: &StreamsArguments) -> Outcome {
    let programs = Programs::of("streams")?;
    let binary = match arguments.against {
        Kind::Kafka => PathBuf::new(),
        Kind::Millrace => binaries::chosen(arguments.binary.as_deref())?,
    };
    let site = Site::new(arguments.against, &binary)?.with(&SETTINGS);
    let mut broker = Some(site.start()?);
    let count = Count {
        programs,
        address: site.address(),
        directory: PathBuf::from(site.path()),
        lines: if arguments.smoke {
            LINES_OF_SMOKE
        } else {
            LINES
        },
    };
    undisturbed(&count)?;
    let rounds = if arguments.smoke { 1 } else { ROUNDS };
    disturbed(&count, &site, &mut broker, rounds)?;
    restored(&count)?;
    broker.map_or(Ok(()), Running::stop)
}

/// Two instances count, end, lose their stores, restore them and go on: every count is the truth.
fn undisturbed(count: &Count) -> Outcome {
    count.write(&[])?;
    for restores in [false, true] {
        if restores {
            count.write(&[])?;
            count.forget("a")?;
            count.forget("b")?;
        }
        let mut first = count.instance("a", 0, &[])?;
        let mut second = count.instance("b", 0, &[])?;
        if restores {
            wait_for(&mut first, "restored ")?;
        }
        wait_for(&mut first, "state RUNNING")?;
        wait_for(&mut second, "state RUNNING")?;
        count.judge("exact", None)?;
        end(first)?;
        end(second)?;
    }
    println("undisturbed: exact, before and after a restore of both instances");
    Ok(())
}

/// Instances and the broker are killed while lines are written; one instance loses its stores, and
/// every second round there are standbys.
fn disturbed<'a>(
    count: &Count,
    site: &'a Site,
    broker: &mut Option<Running<'a>>,
    rounds: usize,
) -> Outcome {
    let until = count.directory.join("lines-end");
    let until_shown = until.display().to_string();
    let mut lines = count.programs.start(
        "Lines",
        &[&count.address, &count.truth(), "0", &until_shown],
    )?;
    let mut first = count.instance("a", 0, &[])?;
    let mut second = count.instance("b", 0, &[])?;
    for round in 0..rounds {
        let standbys = round % 2;
        wait_for(&mut lines, "acknowledged ")?;
        first.kill()?;
        first = count.instance("a", standbys, &[])?;
        wait_for(&mut first, "state RUNNING")?;
        if let Some(running) = broker.take() {
            running.kill()?;
        }
        *broker = Some(site.restart()?);
        lines.drain();
        wait_for(&mut lines, "acknowledged ")?;
        second.kill()?;
        count.forget("b")?;
        second = count.instance("b", standbys, &[])?;
        // With standbys its tasks may run elsewhere by now.
        let back = ["restored ", "state RUNNING"][standbys];
        wait_for(&mut second, back)?;
        println(&format!("round {} of {rounds}: all are back", round + 1));
    }
    std::fs::write(&until, "").map_err(|error| error.to_string())?;
    let status = lines.wait(LIMIT)?;
    if !status.success() {
        return Err(format!("the lines' writer ended with {status}"));
    }
    count.judge("least", None)?;
    end(first)?;
    end(second)
}

/// One instance alone, without a store, restores everything: what both counted.
fn restored(count: &Count) -> Outcome {
    count.forget("a")?;
    let dump = count.directory.join("dump").display().to_string();
    let mut alone = count.instance("a", 0, &[&dump])?;
    wait_for(&mut alone, "dumped")?;
    count.judge("least", Some(&dump))?;
    end(alone)
}

/// The application, its lines and its judge, against one broker.
struct Count {
    programs: Programs,
    address: String,
    /// Where state, the truth and dumps are.
    directory: PathBuf,
    lines: &'static str,
}

impl Count {
    fn truth(&self) -> String {
        self.directory.join("truth").display().to_string()
    }

    fn state(&self, name: &str) -> PathBuf {
        self.directory.join(format!("state-{name}"))
    }

    /// Starts an instance.
    fn instance(&self, name: &str, standbys: usize, more: &[&str]) -> Result<Watched, String> {
        let state = self.state(name).display().to_string();
        let standbys = standbys.to_string();
        let words = [&[self.address.as_str(), &state, &standbys], more].concat();
        self.programs.start("WordCount", &words)
    }

    /// Removes an instance's stores.
    fn forget(&self, name: &str) -> Outcome {
        let state = self.state(name);
        std::fs::remove_dir_all(&state).map_err(|error| format!("{}: {error}", shown(&state)))
    }

    fn write(&self, more: &[&str]) -> Outcome {
        let truth = self.truth();
        let words = [&[self.address.as_str(), &truth, self.lines], more].concat();
        self.programs.run("Lines", &words, LIMIT)
    }

    fn judge(&self, how: &str, dump: Option<&str>) -> Outcome {
        let truth = self.truth();
        let mut words = vec![self.address.as_str(), how, &truth];
        words.extend(dump);
        self.programs.run("Judge", &words, LIMIT)
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn wait_for(program: &mut Watched, start: &str) -> Outcome {
    program
        .wait_for_line(&format!("say `{start}`"), LIMIT, |line| {
            line.starts_with(start)
        })
        .map(drop)
}

/// Ends an instance as its operator would; it must have closed.
fn end(mut instance: Watched) -> Outcome {
    instance.terminate()?;
    wait_for(&mut instance, "closed")
}
