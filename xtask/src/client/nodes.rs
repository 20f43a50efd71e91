//! The brokers of a run: one of ours, or one or three of Apache Kafka's, by their numbers from 1 on.
//!
//! What always holds: nothing outlives the value that started it, a paused node neither; one that was
//! killed comes back on its own port and data.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Outcome;
use crate::brokers::peer;
use crate::clients::{end, free_port, serve};
use crate::process::{Watched, println, succeed};

/// A broker that was asked to end is gone within this.
const STOP_LIMIT: Duration = Duration::from_mins(1);
/// Groups begin soon.
const SETTINGS: [&str; 2] = [
    "group.initial.rebalance.delay.ms=500",
    "offsets.topic.num.partitions=8",
];
/// A node that is killed or paused is replaced before clients have waited for long.
const SETTINGS_OF_SEVERAL: [&str; 2] = [
    "broker.session.timeout.ms=6000",
    "broker.heartbeat.interval.ms=1000",
];
/// Three of Kafka's nodes have room beside each other.
const HEAP: &str = "-Xmx512m -Xms512m";

/// The brokers.
#[derive(Debug)]
pub(super) struct Nodes {
    directory: tempfile::TempDir,
    port: u16,
    count: u16,
    /// Ours, if it is ours.
    binary: Option<PathBuf>,
    millrace: Option<Watched>,
    /// Nodes of Kafka's that are paused.
    paused: Vec<u16>,
    ended: bool,
}

impl Nodes {
    /// Starts one of ours.
    pub(super) fn millrace(binary: &Path) -> Result<Self, String> {
        let mut nodes = Self::at(1, Some(binary.to_owned()))?;
        nodes.serve()?;
        Ok(nodes)
    }

    /// Starts so many of Apache Kafka's.
    pub(super) fn kafka(count: u16) -> Result<Self, String> {
        let nodes = Self::at(count, None)?;
        let mut script = Command::new(peer());
        script.args(["start", &nodes.kafkas(), &count.to_string()]);
        script.args(SETTINGS);
        if count > 1 {
            script.args(SETTINGS_OF_SEVERAL);
        }
        nodes.run(&mut script)?;
        Ok(nodes)
    }

    fn at(count: u16, binary: Option<PathBuf>) -> Result<Self, String> {
        Ok(Self {
            directory: tempfile::tempdir().map_err(|error| error.to_string())?,
            port: free_port(count)?,
            count,
            binary,
            millrace: None,
            paused: Vec::new(),
            ended: false,
        })
    }

    /// Where they listen.
    pub(super) fn bootstrap(&self) -> String {
        let ports = self.port..self.port + self.count;
        let addresses: Vec<_> = ports.map(|port| format!("127.0.0.1:{port}")).collect();
        addresses.join(",")
    }

    /// How many there are.
    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// Does this to a node: `kill`, `start`, `pause` or `resume`.
    pub(super) fn obey(&mut self, what: &str, node: u16) -> Outcome {
        if !(1..=self.count).contains(&node) {
            return Err(format!("there is no node {node}"));
        }
        if self.binary.is_some() {
            return self.obey_with_ours(what);
        }
        let word = match what {
            "start" => "restart",
            "kill" | "pause" | "resume" => what,
            other => return Err(format!("nobody knows how to {other} a node")),
        };
        let mut script = Command::new(peer());
        self.run(script.args([word, &self.kafkas(), &node.to_string()]))?;
        match what {
            "pause" => self.paused.push(node),
            _ => self.paused.retain(|paused| *paused != node),
        }
        Ok(())
    }

    fn obey_with_ours(&mut self, what: &str) -> Outcome {
        match (what, &mut self.millrace) {
            ("start", None) => self.serve(),
            ("kill", Some(broker)) => {
                broker.kill()?;
                self.millrace = None;
                Ok(())
            }
            ("pause", Some(broker)) => broker.pause(),
            ("resume", Some(broker)) => broker.resume(),
            (other, _) => Err(format!("there is no broker now to {other}")),
        }
    }

    fn serve(&mut self) -> Outcome {
        let binary = self.binary.as_deref().ok_or("these aren't ours")?;
        let own = [
            format!("listeners=PLAINTEXT://127.0.0.1:{}", self.port),
            "admin.listener=".to_owned(),
            format!("log.dirs={}", self.directory.path().join("data").display()),
        ];
        let settings = own.iter().map(String::as_str).chain(SETTINGS);
        let broker = serve(binary, self.directory.path(), settings.map(str::to_owned))?;
        self.millrace = Some(broker);
        Ok(())
    }

    fn kafkas(&self) -> String {
        self.directory.path().join("kafka").display().to_string()
    }

    /// Runs Kafka's script on these nodes.
    fn run(&self, script: &mut Command) -> Outcome {
        script.env("KAFKA_PORT", self.port.to_string());
        script.env("KAFKA_HEAP", HEAP);
        succeed(script.stdout(Stdio::null()))
    }

    /// Shows what brokers said last, for whoever looks for the reason of a failure.
    pub(super) fn tell(&self) {
        if let Some(broker) = &self.millrace {
            println(&format!("the broker said last:\n{}", broker.tail()));
        }
    }

    /// Ends them as an operator would.
    pub(super) fn stop(mut self) -> Outcome {
        self.end()
    }

    fn end(&mut self) -> Outcome {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        if self.binary.is_none() {
            for node in std::mem::take(&mut self.paused) {
                let mut script = Command::new(peer());
                self.run(script.args(["resume", &self.kafkas(), &node.to_string()]))?;
            }
            return self.run(Command::new(peer()).args(["stop", &self.kafkas()]));
        }
        let Some(broker) = &mut self.millrace else {
            return Ok(());
        };
        // One that is paused hears nothing.
        broker.resume()?;
        end(broker, STOP_LIMIT)
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        if let Err(reason) = self.end() {
            eprintln!("xtask: {reason}");
        }
    }
}
