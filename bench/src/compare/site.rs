//! A broker of either kind on a directory of its own: prepared, started, killed, asked for what it
//! keeps. What always holds: nothing outlives the value that started it, its directory neither.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use millrace_client::{Client, Error};
use millrace_host::Host;
use millrace_protocol::error_code::ErrorCode;
use tempfile::TempDir;

use crate::idle_node::{Node, drop_caches, usage};
use crate::{idle_work, load, text};

/// A broker that is not up by then never will be, a JVM included.
const START_TIMEOUT: Duration = Duration::from_mins(2);
/// Files of deleted topics are gone by then.
const GONE_TIMEOUT: Duration = Duration::from_mins(2);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Kafka's controller listens this far above its broker's port.
const CONTROLLER_PORT_ABOVE: u16 = 100;

/// What both are told: files of a deleted topic go at once, so that they are in no later figure.
const OF_BOTH: [&str; 1] = ["log.segment.delete.delay.ms=1000"];
/// Kafka's own defaults for groups, which the script that prepares it changes for tests.
const OF_KAFKA: [&str; 2] = [
    "offsets.topic.num.partitions=50",
    "group.initial.rebalance.delay.ms=3000",
];

/// What a column of the table shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No broker: what the bytes alone take.
    Machine,
    /// Apache Kafka.
    Kafka,
    /// This tree's.
    Millrace,
}

/// Where the programs are, and where files go.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    /// This program.
    pub(super) own: PathBuf,
    /// The broker.
    pub(super) millrace: PathBuf,
    /// The script that installs and runs Apache Kafka.
    pub(super) peer: PathBuf,
    /// librdkafka's perf tool, once a scenario wanted it.
    pub(super) librdkafka: Option<PathBuf>,
    /// On the file system that brokers use.
    pub(super) dir: PathBuf,
}

/// A broker's directory and port, and its process while there is one.
pub(super) struct Site {
    pub(super) kind: Kind,
    programs: Programs,
    // Before the directory: the process goes first.
    node: Option<Node>,
    pid: u32,
    directory: TempDir,
    port: u16,
    settings: Vec<String>,
}

impl Site {
    /// A place for a broker with these `key=value`, prepared as far as its kind needs before it can
    /// start.
    pub(super) fn new(kind: Kind, programs: &Programs, settings: &[&str]) -> Result<Self, String> {
        let directory = tempfile::Builder::new()
            .prefix("compare-")
            .tempdir_in(&programs.dir)
            .map_err(|error| format!("{}: {error}", programs.dir.display()))?;
        let settings = OF_BOTH.iter().chain(settings);
        let site = Self {
            kind,
            programs: programs.clone(),
            node: None,
            pid: 0,
            directory,
            port: free_port()?,
            settings: settings.map(|setting| (*setting).to_owned()).collect(),
        };
        if kind == Kind::Kafka {
            let mut script = Command::new(&programs.peer);
            script.arg("prepare").arg(site.base());
            script.args(OF_KAFKA).args(&site.settings);
            script.env("KAFKA_PORT", site.port.to_string());
            let prepared = script.stdin(Stdio::null()).stdout(Stdio::null()).status();
            let prepared = prepared.map_err(|error| format!("{script:?}: {error}"))?;
            if !prepared.success() {
                return Err(format!("{script:?}: {prepared}"));
            }
        }
        Ok(site)
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Its process id, of the last one that was started.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    fn base(&self) -> PathBuf {
        self.directory.path().join("broker")
    }

    /// Where its partitions are.
    pub(super) fn data(&self) -> PathBuf {
        match self.kind {
            Kind::Kafka => self.base().join("node1"),
            Kind::Machine | Kind::Millrace => self.base(),
        }
    }

    /// The command that is the broker, on what the directory holds.
    pub(super) fn command(&self) -> Vec<String> {
        let shown = |path: &Path| path.display().to_string();
        if self.kind == Kind::Kafka {
            return vec![
                shown(&self.programs.peer),
                "serve".to_owned(),
                shown(&self.base()),
                "1".to_owned(),
            ];
        }
        let mut command = vec![shown(&self.programs.millrace), "serve".to_owned()];
        let own = [
            format!("listeners=PLAINTEXT://{}", self.address()),
            "admin.listener=".to_owned(),
            format!("log.dirs={}", shown(&self.data())),
        ];
        for setting in own.iter().chain(&self.settings) {
            command.extend(["--set".to_owned(), setting.clone()]);
        }
        command
    }

    /// Starts the broker on what the directory holds and waits until it serves.
    pub(super) async fn start(&mut self, host: &Host) -> Result<(), String> {
        let mut node = Node::start(&self.command())?;
        self.pid = node.id();
        let start = host.clock.now().mono;
        loop {
            node.check()?;
            let Err(failed) = self.client(host).await else {
                break;
            };
            let now = host.clock.now().mono;
            if now.since(start) > START_TIMEOUT {
                return Err(format!("nobody answers in {START_TIMEOUT:?}: {failed}"));
            }
            host.clock.sleep_until(now + LOOK_EVERY).await;
        }
        self.node = Some(node);
        Ok(())
    }

    /// A connection to the broker that has answered something.
    pub(super) async fn client(&self, host: &Host) -> Result<Client, String> {
        let client = load::connect(host, self.address(), 64).await?;
        client.metadata(Some(&[])).await.map_err(text)?;
        Ok(client)
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self) -> Result<(), String> {
        self.node.take().map_or(Ok(()), |mut node| node.kill())
    }

    /// Bytes of all its files.
    pub(super) fn bytes(&self) -> Result<u64, String> {
        usage(&self.data()).map(|(bytes, _)| bytes)
    }

    /// Deletes a topic, if it is there, and waits until its files are off the disk.
    pub(super) async fn forget(&self, host: &Host, topic: &str) -> Result<(), String> {
        let client = self.client(host).await?;
        match client.topic(topic).await {
            Ok(known) => idle_work::delete(&client, &[known]).await?,
            Err(Error::Broker {
                code: ErrorCode::UnknownTopicOrPartition,
                ..
            }) => return Ok(()),
            Err(error) => return Err(text(error)),
        }
        let deadline = host.clock.now().mono + GONE_TIMEOUT;
        let data = self.data();
        while left_of(&data, topic)? > 0 {
            let now = host.clock.now().mono;
            if now > deadline {
                return Err(format!("{topic} is on disk {GONE_TIMEOUT:?} after it went"));
            }
            host.clock.sleep_until(now + LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Drops what is cached; says how far that was permitted.
    pub(super) fn drop_caches(&self) -> Result<&'static str, String> {
        drop_caches(self.directory.path())
    }
}

/// Directories of a topic's partitions, deleted ones too.
fn left_of(data: &Path, topic: &str) -> Result<usize, String> {
    let listed = std::fs::read_dir(data).map_err(text)?;
    let prefix = format!("{topic}-");
    let names = listed.filter_map(|entry| Some(entry.ok()?.file_name()));
    let is_left = |name: &str| name.starts_with(&prefix) || name.ends_with("-delete");
    Ok(names
        .filter(|name| name.to_str().is_some_and(is_left))
        .count())
}

/// A port that is free now, and its controller's with it.
fn free_port() -> Result<u16, String> {
    for _ in 0..64 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(text)?;
        let port = listener.local_addr().map_err(text)?.port();
        let above = port.checked_add(CONTROLLER_PORT_ABOVE);
        if above.is_some_and(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()) {
            return Ok(port);
        }
    }
    Err("no two free ports 100 apart in 64 tries".to_owned())
}
