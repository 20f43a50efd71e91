//! The connection to one broker for one use, made when it is needed and again when it broke.
//!
//! What always holds: at most one attempt to connect is under way; after a failed one the next waits
//! for its turn (KIP-580), however many ask.

use std::net::SocketAddr;

use millrace_host::{Host, Mono};

use super::backoff::Backoff;
use crate::{Client, ConnectionOptions, Error};

/// Where a broker is, as `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Place {
    /// Reads `host:port`, the host in brackets if it is an address with colons.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let place = Self {
            host: host.to_owned(),
            port: port.parse().ok()?,
        };
        (!place.host.is_empty()).then_some(place)
    }

    /// Connects to the first address of this host that lets us.
    pub(super) async fn connect(
        &self,
        host: &Host,
        options: &ConnectionOptions,
    ) -> Result<Client, Error> {
        let addresses = self.resolve(host).await?;
        let mut failed = Err(self.failed("its name stands for no address"));
        for address in addresses {
            failed = Client::connect_named(host, &self.host, address, options.clone()).await;
            if failed.is_ok() {
                break;
            }
        }
        failed
    }

    async fn resolve(&self, host: &Host) -> Result<Vec<SocketAddr>, Error> {
        let resolved = host.net.resolve(&self.host, self.port).await;
        resolved.map_err(|error| self.failed(&error.to_string()))
    }

    fn failed(&self, reason: &str) -> Error {
        Error::Connect {
            address: self.to_string(),
            reason: reason.to_owned(),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The way to one broker.
#[derive(Debug, Default)]
pub(crate) struct Link(tokio::sync::Mutex<State>);

#[derive(Debug, Default)]
struct State {
    open: Option<(Place, Client)>,
    failures: u32,
    not_before: Mono,
}

impl Link {
    /// The open connection to the broker, which is at `place` now.
    pub(super) async fn client(
        &self,
        place: &Place,
        host: &Host,
        options: &ConnectionOptions,
        backoff: Backoff,
    ) -> Result<Client, Error> {
        let mut state = self.0.lock().await;
        if let Some((at, client)) = &state.open {
            if at == place && client.connection().is_open() {
                return Ok(client.clone());
            }
            state.open = None;
        }
        host.clock.sleep_until(state.not_before).await;
        let connected = place.connect(host, options).await;
        if let Ok(client) = &connected {
            state.failures = 0;
            state.open = Some((place.clone(), client.clone()));
        } else {
            state.failures = state.failures.saturating_add(1);
            let wait = backoff.after(state.failures, &*host.rng);
            state.not_before = host.clock.now().mono + wait;
        }
        connected
    }

    /// The open connection, if there is one and nobody is making one.
    pub(super) fn open(&self) -> Option<Client> {
        let state = self.0.try_lock().ok()?;
        let (_, client) = state.open.as_ref()?;
        client.connection().is_open().then(|| client.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_shown() {
        for text in ["localhost:9092", "127.0.0.1:1", "[::1]:65535"] {
            assert_eq!(Place::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "localhost",
            ":9092",
            "localhost:",
            "localhost:65536",
            "a:b",
        ] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
    }
}
