//! The broker that clients speak to: Millrace or Apache Kafka, on a free port with a directory of its
//! own, with settings that keep tests short.
//!
//! What always holds: nothing outlives the value that started it; a broker that is killed comes back
//! on its own port and data.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::record::Recorder;
use crate::Outcome;
use crate::brokers::peer;
use crate::process::{Watched, output, succeed};

/// A broker listens within this, a JVM included.
const START_LIMIT: Duration = Duration::from_mins(1);
/// A broker that was asked to end is gone within this.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Kafka's controller listens this far above its broker's port.
const CONTROLLER_PORT_ABOVE: u16 = 100;
/// What of a broker's own words is shown when a client fails.
const TAIL_LINES: usize = 30;
/// Settings of both kinds. A group waits shortly, so that nobody waits long; not for nothing, since
/// kafka-python may assign before it knows the topic, and then never does again. A client that can't
/// make topics has them made by using them, and they have as many partitions as the scenarios use.
const SETTINGS: [&str; 3] = [
    "group.initial.rebalance.delay.ms=500",
    "offsets.topic.num.partitions=8",
    "num.partitions=3",
];

/// Whose broker.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Ours, this binary.
    Millrace(PathBuf),
    /// Apache Kafka, through `xtask/kafka-peer`.
    Kafka,
}

/// A broker on a free port with a directory of its own.
pub(crate) struct Served {
    kind: Kind,
    /// What runs as a child of ours; Kafka runs under its script.
    millrace: Option<Watched>,
    ended: bool,
    port: u16,
    /// Settings of this one alone, `key=value`.
    own: Vec<String>,
    /// Where it runs.
    pub(crate) directory: tempfile::TempDir,
    /// Where clients reach it, `127.0.0.1:port`.
    pub(crate) address: String,
}

impl Served {
    /// Starts it; clients reach it by the recorder, where there is one.
    pub(super) fn start(kind: Kind, recorder: Option<&mut Recorder>) -> Result<Self, String> {
        Self::with(kind, &["data"], recorder)
    }

    /// Starts ours on log directories of these names.
    pub(crate) fn on(binary: &Path, directories: &[&str]) -> Result<Self, String> {
        Self::with(Kind::Millrace(binary.to_owned()), directories, None)
    }

    fn with(
        kind: Kind,
        directories: &[&str],
        recorder: Option<&mut Recorder>,
    ) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let port = free_port(1)?;
        let address = format!("127.0.0.1:{port}");
        let paths = directories.iter().map(|name| directory.path().join(name));
        let paths: Vec<String> = paths.map(|path| path.display().to_string()).collect();
        let mut own = match kind {
            Kind::Millrace(_) => vec![
                format!("listeners=PLAINTEXT://{address}"),
                "admin.listener=".to_owned(),
                format!("log.dirs={}", paths.join(",")),
            ],
            Kind::Kafka => Vec::new(),
        };
        let mut told = address.clone();
        if let Some(recorder) = recorder {
            recorder.address().clone_into(&mut told);
            own.push(format!("advertised.listeners=PLAINTEXT://{told}"));
            recorder.serve(&address);
        }
        let mut broker = Self {
            kind,
            millrace: None,
            ended: true,
            port,
            own,
            directory,
            address: told,
        };
        broker.launch(true)?;
        Ok(broker)
    }

    /// Starts what doesn't run, for the first time or on what it left.
    fn launch(&mut self, first: bool) -> Outcome {
        self.ended = false;
        let Kind::Millrace(binary) = &self.kind else {
            let kafka = self.kafka();
            let mut script = Command::new(peer());
            if first {
                script.args(["start", &kafka]).args(SETTINGS);
                script.env("KAFKA_PORT", self.port.to_string());
            } else {
                script.args(["restart", &kafka, "1"]);
            }
            return output(&mut script).map(drop);
        };
        let settings = SETTINGS.iter().map(|&row| row.to_owned());
        let settings = settings.chain(self.own.iter().cloned());
        self.millrace = Some(serve(binary, self.directory.path(), settings)?);
        Ok(())
    }

    fn kafka(&self) -> String {
        self.directory.path().join("kafka").display().to_string()
    }

    /// kill -9, and a start on the same port and data; comes back when it listens.
    pub(super) fn restart(&mut self) -> Outcome {
        match &mut self.millrace {
            Some(broker) => broker.kill()?,
            None => succeed(Command::new(peer()).args(["kill", &self.kafka(), "1"]))?,
        }
        self.launch(false)
    }

    /// The last lines that it wrote.
    pub(super) fn tail(&self) -> String {
        if let Some(broker) = &self.millrace {
            return broker.tail();
        }
        let log = Path::new(&self.kafka()).join("node1.log");
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// Ends it cleanly and gives its directory.
    pub(crate) fn stop(mut self) -> Result<tempfile::TempDir, String> {
        self.end()?;
        let empty = tempfile::tempdir().map_err(|error| error.to_string())?;
        Ok(std::mem::replace(&mut self.directory, empty))
    }

    fn end(&mut self) -> Outcome {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        let Some(broker) = &mut self.millrace else {
            return succeed(Command::new(peer()).args(["stop", &self.kafka()]));
        };
        end(broker, STOP_LIMIT)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Err(reason) = self.end() {
            eprintln!("xtask: {reason}");
        }
    }
}

/// A broker of ours in a directory, with these settings (`key=value`); comes back when it listens.
pub(crate) fn serve(
    binary: &Path,
    directory: &Path,
    settings: impl Iterator<Item = String>,
) -> Result<Watched, String> {
    let settings: Vec<String> = settings.map(|row| format!("--set {row}")).collect();
    let line = format!("{} serve {}", binary.display(), settings.join(" "));
    let mut broker = Watched::quietly(&line, directory)?;
    broker.wait_for_line("say that it listens", START_LIMIT, |line| {
        line.starts_with("listening on ")
    })?;
    Ok(broker)
}

/// Ends a broker of ours as an operator would.
pub(crate) fn end(broker: &mut Watched, within: Duration) -> Outcome {
    broker.terminate()?;
    let status = broker.wait(within)?;
    if status.success() {
        return Ok(());
    }
    Err(format!(
        "the broker ended with {status} after SIGTERM; it must end with 0. It said last:\n{}",
        broker.tail()
    ))
}

/// The first of so many ports in a row that are free now, and those of Kafka's controllers with them. Not
/// of those that the system gives to whoever connects: while a broker is away a client could get its port.
pub(crate) fn free_port(nodes: u16) -> Result<u16, String> {
    const FIRST: u32 = 10_000;
    const PORTS: u32 = 20_000;
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let begin = std::process::id().wrapping_mul(137);
    for nth in 0..256_u32 {
        let port = FIRST + begin.wrapping_add(nth * 7) % PORTS;
        let port = u16::try_from(port).expect("30,000 is a port");
        let mut row = port..port + nodes;
        if row.all(|port| is_free(port) && is_free(port + CONTROLLER_PORT_ABOVE)) {
            return Ok(port);
        }
    }
    Err(format!(
        "no {nodes} free ports, and as many 100 above, in 256 tries"
    ))
}
