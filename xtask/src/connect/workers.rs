//! Workers of Kafka Connect, distributed: started, asked, killed and started again. What always
//! holds: a worker that is asked for something while it can't (it starts, or they rebalance) is asked
//! again until a deadline.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::rest;
use crate::Outcome;
use crate::brokers::{free_port, peer};
use crate::process::Watched;
use crate::root;

/// Whatever is asked of a worker has come to pass within this, its start and rebalances included, on
/// cores that others keep busy too.
const LIMIT: Duration = Duration::from_mins(10);
const PAUSE: Duration = Duration::from_millis(200);
/// Lines of a worker's log that are shown when something failed.
const LOG_LINES_SHOWN: usize = 60;
const HEAP: &str = "-Xmx384m -Xms128m";

/// One worker, whether it runs or not.
pub(super) struct Worker {
    directory: PathBuf,
    name: String,
    port: u16,
    running: Option<Watched>,
}

impl Worker {
    /// Writes a worker's properties and starts it.
    pub(super) fn start(
        nth: usize,
        broker: &str,
        plugins: &Path,
        directory: &Path,
    ) -> Result<Self, String> {
        let mut worker = Self {
            directory: directory.to_owned(),
            name: format!("worker{nth}"),
            port: free_port()?,
            running: None,
        };
        let file = root().join("tests/connect/worker.properties");
        let properties = std::fs::read_to_string(&file);
        let properties = properties.map_err(|error| format!("{}: {error}", file.display()))?;
        let properties = format!(
            "{properties}\nbootstrap.servers={broker}\nlisteners=http://127.0.0.1:{}\nplugin.path={}\n",
            worker.port,
            plugins.display()
        );
        std::fs::write(worker.file("properties"), properties).map_err(|error| error.to_string())?;
        worker.restart()?;
        Ok(worker)
    }

    /// Starts it again after a kill.
    pub(super) fn restart(&mut self) -> Outcome {
        let line = format!(
            "env KAFKA_TOOL_HEAP='{HEAP}' KAFKA_OPTS=-Dpeer.log=INFO {} run connect-distributed {} >>{} 2>&1",
            peer().display(),
            self.file("properties").display(),
            self.file("log").display()
        );
        self.running = Some(Watched::start(&line, &self.directory)?);
        Ok(())
    }

    /// kill -9.
    pub(super) fn kill(&mut self) -> Outcome {
        match self.running.take() {
            Some(mut worker) => worker.kill(),
            None => Err(format!("{} doesn't run", self.name)),
        }
    }

    /// Asks until the answer has this status; its body.
    pub(super) fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        wanted: u16,
    ) -> Result<Value, String> {
        let asked = format!("{method} {path} answers {wanted}");
        self.until(&asked, || {
            let (status, answer) = rest::request(self.port, method, path, body)?;
            if status == wanted {
                Ok(answer)
            } else {
                Err(format!("{status} {answer}"))
            }
        })
    }

    /// Waits until a connector and this many tasks of it are in a state.
    pub(super) fn await_state(&self, connector: &str, state: &str, tasks: usize) -> Outcome {
        self.until(&format!("{connector} is {state}"), || {
            let path = format!("/connectors/{connector}/status");
            let (status, answer) = rest::request(self.port, "GET", &path, None)?;
            let of_tasks = answer["tasks"].as_array().map_or(&[][..], Vec::as_slice);
            let all = of_tasks.iter().all(|task| task["state"] == state);
            if answer["connector"]["state"] == state && all && of_tasks.len() == tasks {
                Ok(())
            } else {
                Err(format!("{status} {answer}"))
            }
        })
    }

    /// Tries until it succeeds, the worker ends, or time is up.
    fn until<T>(
        &self,
        what: &str,
        mut attempt: impl FnMut() -> Result<T, String>,
    ) -> Result<T, String> {
        until(&format!("{}: {what}", self.name), || {
            attempt().map_err(|reason| format!("{reason}\n{}", self.name))
        })
        .map_err(|reason| format!("{reason}; the end of its log:\n{}", self.log_end()))
    }

    fn file(&self, extension: &str) -> PathBuf {
        self.directory.join(&self.name).with_extension(extension)
    }

    fn log_end(&self) -> String {
        let log = std::fs::read_to_string(self.file("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

/// Tries again and again until it succeeds or time is up, and then says why not.
pub(super) fn until<T>(
    what: &str,
    mut attempt: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let begun = now();
    loop {
        match attempt() {
            Ok(got) => return Ok(got),
            Err(reason) if begun.elapsed() > LIMIT => {
                return Err(format!("not within {LIMIT:?}: {what}; {reason}"));
            }
            Err(_) => pause(),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a developer's tool, not part of a node"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a developer's tool that waits for others' programs"
)]
fn pause() {
    std::thread::sleep(PAUSE);
}
