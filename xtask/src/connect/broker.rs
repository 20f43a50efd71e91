//! The broker that the suite kills: Millrace, or Apache Kafka with its own defaults, on one port and
//! one directory through all its lives. What always holds: it ends with the value that holds it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Outcome;
use crate::brokers::{Kind, free_port, peer};
use crate::process::{Watched, output, succeed};

/// A broker listens within this, on busy cores too.
const START_LIMIT: Duration = Duration::from_mins(2);
/// One that was asked to end is gone within this.
const STOP_LIMIT: Duration = Duration::from_mins(1);
/// Kafka's memory: small, since two workers and `PostgreSQL` run beside it.
const KAFKA_HEAP: &str = "-Xmx512m -Xms256m";

/// A broker with its place.
pub(super) struct Broker {
    kind: Kind,
    binary: PathBuf,
    directory: PathBuf,
    port: u16,
    /// Millrace, while it runs.
    running: Option<Watched>,
}

impl Broker {
    /// Starts one on an empty directory.
    pub(super) fn start(kind: Kind, binary: &Path, directory: &Path) -> Result<Self, String> {
        let mut broker = Self {
            kind,
            binary: binary.to_owned(),
            directory: directory.join("broker"),
            port: free_port()?,
            running: None,
        };
        std::fs::create_dir_all(&broker.directory).map_err(|error| error.to_string())?;
        if kind == Kind::Kafka {
            broker.peer(&["start"], &[])?;
        } else {
            broker.restart()?;
        }
        Ok(broker)
    }

    /// Where it listens.
    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// kill -9.
    pub(super) fn kill(&mut self) -> Outcome {
        match self.running.take() {
            Some(mut broker) => broker.kill(),
            None => self.peer(&["kill"], &["1"]),
        }
    }

    /// Starts it again on what it left.
    pub(super) fn restart(&mut self) -> Outcome {
        if self.kind == Kind::Kafka {
            return self.peer(&["restart"], &["1"]);
        }
        let line = format!(
            "env RUST_LOG=warn {} serve --set listeners=PLAINTEXT://{} --set admin.listener= --set log.dirs={}",
            self.binary.display(),
            self.address(),
            self.data().display()
        );
        let mut broker = Watched::start(&line, &self.directory)?;
        broker.wait_for_line("say that it listens", START_LIMIT, |line| {
            line.starts_with("listening on ")
        })?;
        self.running = Some(broker);
        Ok(())
    }

    /// Ends it cleanly; Millrace's directory is then verified, every batch.
    pub(super) fn stop(mut self) -> Outcome {
        let Some(mut broker) = self.running.take() else {
            return self.peer(&["stop"], &[]);
        };
        broker.terminate()?;
        let status = broker.wait(STOP_LIMIT)?;
        if !status.success() {
            return Err(format!("the broker ended with {status} after SIGTERM"));
        }
        output(Command::new(&self.binary).arg("check").arg(self.data())).map(drop)
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn peer(&self, before: &[&str], after: &[&str]) -> Outcome {
        succeed(
            Command::new(peer())
                .args(before)
                .arg(&self.directory)
                .args(after)
                .env("KAFKA_PORT", self.port.to_string())
                .env("KAFKA_HEAP", KAFKA_HEAP)
                .env("KAFKA_PLAIN", "1")
                .stdout(Stdio::null()),
        )
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // `stop` has taken Millrace; asking Kafka twice does no harm.
        if self.kind == Kind::Kafka
            && let Err(reason) = self.peer(&["stop"], &[])
        {
            eprintln!("xtask: {reason}");
        }
    }
}
