//! The client crate against a broker whose listeners want TLS, or want to know who asks: records go
//! through each of them, and what is refused is refused in words that help. `cargo xtask security` starts
//! Apache Kafka with such listeners and runs it.

mod certificates;
mod entitled;
mod passing;
mod refusals;
mod token;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use millrace_client::{
    Cluster, ClusterOptions, Error, Identity, Roots, Sasl, Security, Tls, TlsOptions,
};
use millrace_host::Host;
use millrace_host::real::{Options, RealHost};

/// Longer than anything takes that doesn't hang.
const LIMIT: Duration = Duration::from_mins(1);

/// Pause between two looks at what is to come.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Who is known to the broker, by the suite that starts it.
const USER: &str = "alice";
/// Her password.
const PASSWORD: &str = "alice-secret";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("security: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["certificates", directory] => certificates::write(Path::new(directory)),
        ["run", directory, listeners @ ..] => {
            let machine =
                RealHost::start(&Options::default()).map_err(|error| error.to_string())?;
            let stage = Stage::new(machine.host(), Path::new(directory), listeners)?;
            machine.block_on(async {
                passing::all(&stage).await?;
                refusals::all(&stage).await?;
                entitled::all(&stage).await
            })
        }
        _ => Err("certificates DIRECTORY, or run DIRECTORY NAME=ADDRESS...".to_owned()),
    }
}

/// A broker's listeners, and the files that go with them.
struct Stage {
    host: Host,
    files: PathBuf,
    listeners: BTreeMap<String, SocketAddr>,
}

impl Stage {
    fn new(host: Host, files: &Path, listeners: &[&str]) -> Result<Self, String> {
        let listener = |text: &&str| {
            let (name, address) = text.split_once('=')?;
            Some((name.to_owned(), address.parse().ok()?))
        };
        let listeners: Option<_> = listeners.iter().map(listener).collect();
        Ok(Self {
            host,
            files: files.to_owned(),
            listeners: listeners.ok_or("a listener is not of the form NAME=ADDRESS")?,
        })
    }

    /// How a cluster is found behind a listener.
    fn options(&self, listener: &str, security: Security) -> Result<ClusterOptions, String> {
        let address = self.listeners.get(listener);
        let address = address.ok_or_else(|| format!("no listener {listener} was named"))?;
        let mut options = ClusterOptions::new([format!("localhost:{}", address.port())]);
        options.connection.security = security;
        Ok(options)
    }

    async fn connect(&self, listener: &str, security: Security) -> Result<Cluster, String> {
        let options = self.options(listener, security)?;
        self.within(Cluster::connect(&self.host, options))
            .await?
            .map_err(text)
    }

    /// Does something that must not hang.
    async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, String> {
        let deadline = self.host.clock.now().mono + LIMIT;
        tokio::select! {
            done = work => Ok(done),
            () = self.host.clock.sleep_until(deadline) => Err(format!("nothing within {LIMIT:?}")),
        }
    }

    /// Waits until `look` finds what is to come.
    async fn comes<T>(&self, what: &str, look: impl AsyncFn() -> Option<T>) -> Result<T, String> {
        let until = async {
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                let again = self.host.clock.now().mono + LOOK_EVERY;
                self.host.clock.sleep_until(again).await;
            }
        };
        let found = self.within(until).await;
        found.map_err(|late| format!("{what}: {late}"))
    }

    /// TLS that trusts the authority of this file.
    fn tls(&self, ca: &str) -> TlsOptions {
        TlsOptions {
            roots: Roots::File(self.files.join(ca)),
            ..TlsOptions::default()
        }
    }

    /// The same as a client that has a certificate.
    fn tls_as_client(&self) -> TlsOptions {
        TlsOptions {
            identity: Some(Identity {
                certificate: self.files.join("client.pem"),
                key: self.files.join("client.key"),
            }),
            ..self.tls("ca.pem")
        }
    }
}

fn encrypted(tls: TlsOptions) -> Security {
    Security {
        tls: Some(Tls::new(tls)),
        sasl: None,
    }
}

fn known(sasl: Sasl) -> Security {
    Security {
        tls: None,
        sasl: Some(sasl),
    }
}

fn both(tls: TlsOptions, sasl: Sasl) -> Security {
    Security {
        tls: Some(Tls::new(tls)),
        sasl: Some(sasl),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn text(error: Error) -> String {
    error.to_string()
}

#[expect(clippy::print_stdout, reason = "the output of a suite")]
fn say(line: &str) {
    println!("{line}");
}
