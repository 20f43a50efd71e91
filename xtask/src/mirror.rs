//! `cargo xtask mirror`: Kafka's `MirrorMaker` 2 moves topics, configurations and the offsets of groups from
//! Apache Kafka to Millrace, and then from Millrace to another Apache Kafka, while a producer writes and
//! a group reads; both move over on the way, by the steps of `docs/migrating.md` and with the
//! configurations of `tests/mirror` that stand there.
//!
//! What always holds: both sides are compared record by record; a group that moves skips nothing and
//! reads again at most what `MirrorMaker`'s own translation of offsets allows; only behind a kill may a
//! record come twice.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::brokers::{Kind, Running, Site, peer};
use crate::java::Programs;
use crate::process::{Watched, output, println};
use crate::{Outcome, binaries, root};

/// Whatever is waited for comes within this.
const LIMIT: Duration = Duration::from_mins(5);
/// Where the steps and both configurations stand.
const PAGE: &str = "docs/migrating.md";
/// Records written where the writer ends by itself.
const RECORDS: &str = "2000";

/// Which move.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    /// From Apache Kafka.
    In,
    /// To another Apache Kafka.
    Out,
}

/// How.
#[derive(Args, Debug)]
pub(crate) struct MirrorArguments {
    /// Only this way; without it in, and then out of what came in.
    #[arg(long, value_enum)]
    way: Option<Direction>,
    /// One way, that in unless another is named, without kills.
    #[arg(long)]
    smoke: bool,
    /// What stands in the place of Millrace: with Apache Kafka it is seen what can be asked.
    #[arg(long, value_enum, default_value = "millrace")]
    against: Kind,
    /// This binary, instead of a build of the tree.
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// Runs the suite.
pub(crate) fn run(arguments: &MirrorArguments) -> Outcome {
    for name in ["arrive", "leave"] {
        stands_in_page(&configuration(name)?)?;
    }
    let programs = Programs::of("mirror")?;
    let binary = match arguments.against {
        Kind::Kafka => PathBuf::new(),
        Kind::Millrace => binaries::chosen(arguments.binary.as_deref())?,
    };
    let ours = Site::new(arguments.against, &binary)?;
    let mut running = Some(ours.start()?);
    let mut arrived = None;
    if arguments.way != Some(Direction::Out) {
        let theirs = Site::new(Kind::Kafka, &binary)?;
        let their_running = theirs.start()?;
        let into = Way::new(&programs, "arrive", &theirs, &ours, ["kafka", "millrace"])?;
        into.make()?;
        into.run(&mut running, !arguments.smoke)?;
        their_running.stop()?;
        arrived = Some(read(Path::new(&into.numbers()))?);
    }
    let is_in_only = arguments.smoke || arguments.way == Some(Direction::In);
    if arguments.way == Some(Direction::Out) || !is_in_only {
        let others = Site::new(Kind::Kafka, &binary)?;
        let mut other_running = Some(others.start()?);
        let out = Way::new(&programs, "leave", &ours, &others, ["millrace", "kafka"])?;
        match arrived {
            Some(numbers) => {
                std::fs::write(out.numbers(), numbers).map_err(|error| error.to_string())?;
            }
            None => out.make()?,
        }
        out.run(&mut other_running, false)?;
        other_running.map_or(Ok(()), Running::stop)?;
    }
    running.map_or(Ok(()), Running::stop)
}

/// One move: everything from one broker to another.
struct Way<'a> {
    programs: &'a Programs,
    target: &'a Site,
    /// Source and target: `127.0.0.1:port`.
    addresses: [String; 2],
    /// What the configuration calls them.
    aliases: [&'static str; 2],
    /// Where notes of what was written and read are.
    directory: tempfile::TempDir,
}

impl<'a> Way<'a> {
    fn new(
        programs: &'a Programs,
        name: &str,
        source: &Site,
        target: &'a Site,
        aliases: [&'static str; 2],
    ) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut text = configuration(name)?;
        for (alias, site) in aliases.iter().zip([source, target]) {
            let theirs = format!("{alias}.example.com:9092");
            text = text.replace(&theirs, &site.address());
        }
        std::fs::write(directory.path().join("mm2.properties"), text)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            programs,
            target,
            addresses: [source.address(), target.address()],
            aliases,
            directory,
        })
    }

    /// Makes the topics at the source, with records, some of which are deleted again.
    fn make(&self) -> Outcome {
        self.program("Writer", &[self.source(), &self.numbers(), "make"])
    }

    /// Moves everything; with `kills` the mirror and the target are killed meanwhile.
    fn run(&self, running: &mut Option<Running<'a>>, kills: bool) -> Outcome {
        let [written, seen, read, moved] =
            ["written", "seen", "read", "moved"].map(|name| self.file(name));
        let group = &format!("moving-to-{}", self.aliases[1]);
        // One group reads some and stays away, one goes on until it moves.
        self.program(
            "Reader",
            &[
                self.source(),
                "halfway",
                &self.file("halfway"),
                "records",
                "500",
            ],
        )?;
        let mut mirror = self.mirror()?;
        let (numbers, source) = (self.numbers(), self.source());
        let mut writer = self
            .programs
            .start("Writer", &[source, &numbers, "0", &written])?;
        let mut reader = self
            .programs
            .start("Reader", &[source, group, &seen, "until", &read])?;
        wait_for(&mut writer, "acknowledged ")?;
        wait_for(&mut reader, "reads")?;
        self.program("Writer", &[source, &numbers, "change"])?;
        self.compare(&["configurations"])?;
        if kills {
            mirror.kill()?;
            mirror = self.mirror()?;
            wait_for(&mut writer, "acknowledged ")?;
            if let Some(broker) = running.take() {
                broker.kill()?;
            }
            *running = Some(self.target.restart()?);
            writer.drain();
            wait_for(&mut writer, "acknowledged ")?;
        }
        // The consumers move first, while the producer still writes at the source.
        ended(&mut reader, &read)?;
        self.compare(&["offsets", group, "all"])?;
        if kills {
            self.look(group)?;
        }
        let target = self.target();
        let mut reader = self
            .programs
            .start("Reader", &[target, group, &seen, "until", &moved])?;
        wait_for(&mut reader, "reads")?;
        // Then the producer, when what it wrote at the source is all there.
        ended(&mut writer, &written)?;
        let how = if kills { "repeats" } else { "exact" };
        self.compare(&["contents", how, &numbers])?;
        self.compare(&["internals"])?;
        self.compare(&["offsets", "halfway", "known"])?;
        mirror.terminate()?;
        mirror.wait(LIMIT)?;
        self.program("Writer", &[target, &numbers, RECORDS])?;
        ended(&mut reader, &moved)?;
        self.program("Reader", &[target, group, &seen, "all", &numbers])?;
        let [from, to] = self.aliases;
        println(&format!("all that was at {from} is at {to}"));
        Ok(())
    }

    /// Runs the commands that stand in the page for whoever moves in: each must succeed.
    fn look(&self, group: &str) -> Outcome {
        let page = read(&root().join(PAGE))?;
        let tools = page.lines().filter_map(|line| line.strip_prefix("kafka-"));
        let commands = tools.filter(|line| line.contains(".sh "));
        let mut runs = 0;
        for command in commands {
            let mut command = command.replace("GROUP", group);
            for (alias, address) in self.aliases.iter().zip(&self.addresses) {
                command = command.replace(&format!("{alias}.example.com:9092"), address);
            }
            let mut words = command.split_whitespace();
            let tool = words.next().unwrap_or_default().trim_end_matches(".sh");
            output(Command::new(peer()).args(["run", tool]).args(words))?;
            runs += 1;
        }
        println(&format!("{runs} commands of {PAGE} run"));
        if runs == 0 {
            return Err(format!("{PAGE} has no commands"));
        }
        Ok(())
    }

    /// Starts `MirrorMaker` as its users do.
    fn mirror(&self) -> Result<Watched, String> {
        let properties = self.file("mm2.properties");
        let class = "org.apache.kafka.connect.mirror.MirrorMaker";
        self.programs.start(class, &[&properties])
    }

    fn compare(&self, words: &[&str]) -> Outcome {
        let [from, to] = self.aliases;
        self.program(
            "Compare",
            &[&[self.source(), self.target(), from, to], words].concat(),
        )
    }

    fn program(&self, class: &str, words: &[&str]) -> Outcome {
        self.programs.run(class, words, LIMIT)
    }

    fn source(&self) -> &str {
        &self.addresses[0]
    }

    fn target(&self) -> &str {
        &self.addresses[1]
    }

    /// How many records each partition was given.
    fn numbers(&self) -> String {
        self.file("numbers")
    }

    fn file(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }
}

/// Has a program end that waits for a file, and succeed.
fn ended(program: &mut Watched, file: &str) -> Outcome {
    std::fs::write(file, "").map_err(|error| format!("{file}: {error}"))?;
    let status = program.wait(LIMIT)?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("a program that should end ended with {status}"))
    }
}

fn wait_for(program: &mut Watched, start: &str) -> Outcome {
    program
        .wait_for_line(&format!("say `{start}`"), LIMIT, |line| {
            line.starts_with(start)
        })
        .map(drop)
}

/// One of the configurations, as they stand in the repository.
fn configuration(name: &str) -> Result<String, String> {
    let file = root().join(format!("tests/mirror/{name}.properties"));
    read(&file)
}

/// An error unless the page has this text as it is.
fn stands_in_page(text: &str) -> Outcome {
    if read(&root().join(PAGE))?.contains(text.trim_end()) {
        Ok(())
    } else {
        Err(format!("{PAGE} has another configuration than:\n{text}"))
    }
}

fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}
