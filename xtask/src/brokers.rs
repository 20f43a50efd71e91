//! A broker of either kind on a directory of its own: started, asked for its address and process,
//! killed, ended. What always holds: nothing outlives the value that started it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::ValueEnum;

use crate::process::{Watched, succeed};
use crate::root;

/// A broker listens within this, a JVM included.
const START_LIMIT: Duration = Duration::from_mins(1);
/// A broker that was asked to end is gone within this.
const STOP_LIMIT: Duration = Duration::from_mins(1);
/// Kafka's controller listens this far above its broker's port.
const CONTROLLER_PORT_ABOVE: u16 = 100;

/// Whose broker.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// This tree's.
    Millrace,
    /// Apache Kafka's.
    Kafka,
}

/// Kafka's own defaults for groups, which the script that starts it changes for tests.
const GROUPS_AS_SHIPPED: [&str; 2] = [
    "offsets.topic.num.partitions=50",
    "group.initial.rebalance.delay.ms=3000",
];

/// A broker's directory and port, whether it runs or not.
#[derive(Debug)]
pub(crate) struct Site {
    kind: Kind,
    directory: tempfile::TempDir,
    port: u16,
    millrace: PathBuf,
    /// `key=value` that it is started with beside what every broker is.
    settings: Vec<String>,
    /// Variables of the script that starts Kafka.
    variables: Vec<(&'static str, String)>,
}

/// A broker that runs.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    site: &'a Site,
    millrace: Option<Watched>,
    ended: bool,
}

impl Site {
    /// A place for a broker, prepared as far as its kind needs that before it can start.
    pub(crate) fn new(kind: Kind, millrace: &Path) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        Ok(Self {
            kind,
            directory,
            port: free_port()?,
            millrace: millrace.to_owned(),
            settings: Vec::new(),
            variables: Vec::new(),
        })
    }

    /// The same place, its broker configured by these `key=value` too.
    pub(crate) fn with(mut self, settings: &[&str]) -> Self {
        self.settings
            .extend(settings.iter().map(|setting| (*setting).to_owned()));
        self
    }

    /// The same place, Kafka's script being told this too.
    pub(crate) fn told(mut self, variable: &'static str, value: String) -> Self {
        self.variables.push((variable, value));
        self
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The command that is Millrace's broker, on what the directory holds.
    fn command(&self) -> Vec<String> {
        let mut command = vec![self.millrace.display().to_string(), "serve".into()];
        let own = [
            format!("listeners=PLAINTEXT://{}", self.address()),
            "admin.listener=".into(),
            format!("log.dirs={}", self.directory.path().join("data").display()),
        ];
        for setting in own.iter().chain(&self.settings) {
            command.extend(["--set".into(), setting.clone()]);
        }
        command
    }

    fn kafka_directory(&self) -> String {
        self.directory.path().join("kafka").display().to_string()
    }

    /// Where its files are.
    pub(crate) fn path(&self) -> String {
        self.directory.path().display().to_string()
    }

    /// Starts the broker on its empty directory and waits until it listens.
    pub(crate) fn start(&self) -> Result<Running<'_>, String> {
        self.launch("start")
    }

    /// Starts the broker on what it left, and waits until it listens.
    pub(crate) fn restart(&self) -> Result<Running<'_>, String> {
        self.launch("restart")
    }

    fn launch(&self, kafka_command: &str) -> Result<Running<'_>, String> {
        match self.kind {
            Kind::Millrace => {
                let mut broker = Watched::start(&self.command().join(" "), self.directory.path())?;
                broker.wait_for_line("say that it listens", START_LIMIT, |line| {
                    line.starts_with("listening on ")
                })?;
                Ok(Running {
                    site: self,
                    millrace: Some(broker),
                    ended: false,
                })
            }
            Kind::Kafka => {
                let directory = self.kafka_directory();
                let mut script = Command::new(peer());
                script.args([kafka_command, &directory]);
                if kafka_command == "start" {
                    script.args(GROUPS_AS_SHIPPED).args(&self.settings);
                } else {
                    script.arg("1");
                }
                script.env("KAFKA_PORT", self.port.to_string());
                script.envs(self.variables.iter().map(|(name, value)| (name, value)));
                succeed(script.stdout(std::process::Stdio::null()))?;
                Ok(Running {
                    site: self,
                    millrace: None,
                    ended: false,
                })
            }
        }
    }
}

impl Running<'_> {
    /// Millrace's process; Kafka's is its script's.
    pub(crate) fn id(&self) -> Option<u32> {
        self.millrace.as_ref().map(Watched::id)
    }

    /// kill -9.
    pub(crate) fn kill(mut self) -> Result<(), String> {
        self.ended = true;
        match &mut self.millrace {
            Some(broker) => broker.kill(),
            None => succeed(Command::new(peer()).args(["kill", &self.site.kafka_directory(), "1"])),
        }
    }

    /// Ends it as an operator would.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        self.end()
    }

    fn end(&mut self) -> Result<(), String> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        match &mut self.millrace {
            Some(broker) => {
                broker.terminate()?;
                broker.wait(STOP_LIMIT).map(drop)
            }
            None => succeed(Command::new(peer()).args(["stop", &self.site.kafka_directory()])),
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Err(reason) = self.end() {
            eprintln!("xtask: {reason}");
        }
    }
}

/// The script that installs and runs Apache Kafka.
pub(crate) fn peer() -> PathBuf {
    root().join("xtask/kafka-peer")
}

/// A port that is free now, and its controller's with it.
pub(crate) fn free_port() -> Result<u16, String> {
    for _ in 0..64 {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        let port = listener
            .local_addr()
            .map_err(|error| error.to_string())?
            .port();
        let above = port.checked_add(CONTROLLER_PORT_ABOVE);
        if above.is_some_and(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return Ok(port);
        }
    }
    Err("no two free ports 100 apart in 64 tries".into())
}
