//! A broker as a process of its own: started from the shipped binary, told from its output where it
//! listens, ended by a signal, never outliving the value that holds it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

/// A running broker.
#[derive(Debug)]
pub struct BrokerProcess {
    child: Child,
    address: SocketAddr,
    // Kept open: a broker that writes to a closed pipe would end.
    output: Option<BufReader<ChildStdout>>,
}

/// How a broker is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// At this instant, whatever it does: SIGKILL.
    Kill,
    /// After it has put things in order: SIGTERM.
    Terminate,
}

/// How a broker is started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Words before the binary: a program that becomes it (`sh -c '...; exec "$0" "$@"'`), or that
    /// looks on from outside (`strace -D`). Empty for none.
    pub before: Vec<String>,
    /// The binary.
    pub binary: PathBuf,
    /// Its log directories, the first of a fresh broker holding the metadata.
    pub directories: Vec<PathBuf>,
    /// `--set` pairs that come after, and so before, those that every broker here has.
    pub settings: Vec<String>,
    /// A file that its log goes to; to ours without one.
    pub log: Option<PathBuf>,
}

impl Launch {
    /// Of a binary on one directory.
    pub fn new(binary: &Path, directory: &Path) -> Self {
        Self {
            before: Vec::new(),
            binary: binary.to_owned(),
            directories: vec![directory.to_owned()],
            settings: Vec::new(),
            log: None,
        }
    }

    /// With words before the binary.
    #[must_use]
    pub fn before<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.before.extend(words.into_iter().map(Into::into));
        self
    }

    /// With one more `--set` pair.
    #[must_use]
    pub fn set(mut self, setting: impl Into<String>) -> Self {
        self.settings.push(setting.into());
        self
    }

    /// Starts the broker and waits until it says where it listens.
    pub fn start(&self) -> Result<BrokerProcess, String> {
        let mut broker = self.spawn()?;
        broker.wait_until_listening()?;
        Ok(broker)
    }

    /// Starts it without waiting: [`BrokerProcess::address`] means nothing yet.
    pub fn spawn(&self) -> Result<BrokerProcess, String> {
        let directories: Vec<String> = self
            .directories
            .iter()
            .map(|directory| directory.display().to_string())
            .collect();
        let fixed = [
            "listeners=PLAINTEXT://127.0.0.1:0".to_owned(),
            "admin.listener=127.0.0.1:0".to_owned(),
            format!("log.dirs={}", directories.join(",")),
        ];
        let binary = self.binary.display().to_string();
        let mut words = self.before.iter().chain([&binary]);
        let mut command = Command::new(words.next().map_or("", String::as_str));
        command.args(words).arg("serve");
        for setting in fixed.iter().chain(&self.settings) {
            command.args(["--set", setting]);
        }
        let log = match &self.log {
            None => Stdio::inherit(),
            Some(path) => File::options()
                .create(true)
                .append(true)
                .open(path)
                .map_err(|error| format!("cannot write {}: {error}", path.display()))?
                .into(),
        };
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| {
                format!("cannot start {}: {error}", command.get_program().display())
            })?;
        let output = child.stdout.take().map(BufReader::new);
        Ok(BrokerProcess {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            output,
        })
    }
}

impl BrokerProcess {
    /// Starts `binary` on `data` and a free port of loopback, with further `--set` pairs, and waits
    /// until it says where it listens.
    pub fn start(binary: &Path, data: &Path, settings: &[&str]) -> Result<Self, String> {
        let mut launch = Launch::new(binary, data);
        launch.settings = settings.iter().map(|text| (*text).to_owned()).collect();
        launch.start()
    }

    /// Reads its output up to the line that says where it listens.
    pub fn wait_until_listening(&mut self) -> Result<(), String> {
        let output = self.output.as_mut().ok_or("the broker's output is gone")?;
        let mut line = String::new();
        while output
            .read_line(&mut line)
            .map_err(|error| error.to_string())?
            > 0
        {
            if let Some(address) = listening_address(&line) {
                self.address = address;
                return Ok(());
            }
            line.clear();
        }
        let status = self.child.wait().map_err(|error| error.to_string())?;
        Err(format!("the broker ended before it listened: {status}"))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended; `None` while it runs.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, String> {
        self.child.try_wait().map_err(|error| error.to_string())
    }

    /// Sends the signal and waits for the end.
    pub fn end(&mut self, signal: Signal) -> Result<ExitStatus, String> {
        match signal {
            // Without another program: it is what is done a thousand times.
            Signal::Kill => self.child.kill().map_err(|error| error.to_string())?,
            Signal::Terminate => self.send(signal)?,
        }
        self.child.wait().map_err(|error| error.to_string())
    }

    /// Sends the signal.
    pub fn send(&self, signal: Signal) -> Result<(), String> {
        let name = match signal {
            Signal::Kill => "-KILL",
            Signal::Terminate => "-TERM",
        };
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &id]).status();
        match sent {
            Ok(status) if status.success() => Ok(()),
            other => Err(format!("cannot send {name} to {id}: {other:?}")),
        }
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // It may just have ended: then there is nothing to kill, and waiting returns at once.
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// The address in a line that says that a broker listens; none in any other line.
fn listening_address(line: &str) -> Option<SocketAddr> {
    const LOOPBACK: &str = "127.0.0.1:";
    if !line.to_ascii_lowercase().contains("listening") {
        return None;
    }
    let from = line.find(LOOPBACK)?;
    let port: String = line[from + LOOPBACK.len()..]
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let port = port.parse().ok().filter(|port| *port != 0)?;
    Some(SocketAddr::from(([127, 0, 0, 1], port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_the_line_that_says_it() {
        let address = Some(SocketAddr::from(([127, 0, 0, 1], 45_123)));
        assert_eq!(
            listening_address("Listening on PLAINTEXT://127.0.0.1:45123 ok"),
            address
        );
        assert_eq!(
            listening_address("millrace: listening on 127.0.0.1:45123\n"),
            address
        );
        assert_eq!(
            listening_address("data in ./millrace-data, 127.0.0.1:45123"),
            None
        );
        assert_eq!(listening_address("listening on 127.0.0.1:0"), None);
    }
}
