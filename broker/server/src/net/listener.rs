//! Listening sockets: binding them, and letting connections in within the limits. A door that is
//! closed ends its own connections, softly at first, and no others.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use millrace_config::Listener as ListenerConfig;
use millrace_host::{Connection, Host, Listener, Pool};
use tokio_util::sync::CancellationToken;

use super::gate::Place;
use super::{Service, Shared, connection};
use crate::context::{ConnectionInfo, Endpoint, Principal};
use crate::outcome::{Close, CloseReason};

/// How long accepting pauses after a failure, so that a lack of descriptors is no busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a listener that is ahead of `max.connection.creation.rate` waits before it looks again.
const RATE_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Why a listener could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is in use.
    #[error(
        "port {port} of listener {name} is taken on {host}: another process listens there. Stop it, \
         or choose another port, as --set {key}, or port 0 for any free one"
    )]
    PortTaken {
        /// The listener's name.
        name: String,
        /// The host that was to be bound.
        host: String,
        /// The port that is taken.
        port: u16,
        /// An option that would choose another port.
        key: String,
    },
    /// The host name has no address.
    #[error("listener {name}: the host {host} cannot be looked up: {source}")]
    Unresolved {
        /// The listener's name.
        name: String,
        /// The host that was to be bound.
        host: String,
        /// What the machine said.
        source: io::Error,
    },
    /// A host with a limit of its own has no address.
    #[error(
        "max.connections.per.ip.overrides: the host {host} cannot be looked up: {source}; give its \
         address, or leave it out"
    )]
    UnresolvedLimit {
        /// The host.
        host: String,
        /// What the machine said.
        source: io::Error,
    },
    /// Anything else the machine said.
    #[error("listener {name} cannot be bound to {host} port {port}: {source}")]
    Refused {
        /// The listener's name.
        name: String,
        /// The host that was to be bound.
        host: String,
        /// The port that was to be bound.
        port: u16,
        /// What the machine said.
        source: io::Error,
    },
}

/// A listener that is bound; nothing is accepted yet.
#[derive(Debug)]
pub(crate) struct Bound {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// The bound address, with the real port.
    pub(crate) address: SocketAddr,
    /// What its clients are told.
    pub(crate) advertised: Arc<Endpoint>,
    listener: Box<dyn Listener>,
}

impl Bound {
    /// Binds a listener of the configuration.
    pub(crate) async fn bind(
        host: &Host,
        config: &ListenerConfig,
        backlog: u32,
    ) -> Result<Self, ListenError> {
        let wanted = resolve(host, config).await?;
        let listener = host
            .net
            .listen(wanted, backlog)
            .await
            .map_err(|e| refused(config, e))?;
        let address = listener.local_addr();
        let told = &config.advertised;
        let port = if told.port == 0 {
            address.port()
        } else {
            told.port
        };
        Ok(Self {
            name: Arc::from(config.name.as_str()),
            address,
            advertised: Arc::new(Endpoint {
                host: told.host.clone(),
                port,
            }),
            listener,
        })
    }
}

/// Ends what came through one door: accepting and reading at once, or everything.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    /// Nothing more is accepted or read; what is in progress is answered.
    pub(super) soft: CancellationToken,
    /// What is still in progress is given up.
    pub(super) cut: CancellationToken,
}

impl Ending {
    /// Ends with the node, or before.
    pub(super) fn of(shared: &Shared) -> Self {
        Self {
            soft: shared.stopping.child_token(),
            cut: shared.cut.child_token(),
        }
    }
}

async fn resolve(host: &Host, config: &ListenerConfig) -> Result<SocketAddr, ListenError> {
    if let Ok(ip) = config.host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, config.port));
    }
    let unresolved = |source| ListenError::Unresolved {
        name: config.name.clone(),
        host: config.host.clone(),
        source,
    };
    let found = host
        .net
        .resolve(&config.host, config.port)
        .await
        .map_err(unresolved)?;
    let first = found.into_iter().next();
    first.ok_or_else(|| unresolved(io::Error::new(io::ErrorKind::NotFound, "no address")))
}

fn refused(config: &ListenerConfig, source: io::Error) -> ListenError {
    let ListenerConfig {
        name, host, port, ..
    } = config.clone();
    if source.kind() == io::ErrorKind::AddrInUse {
        let shown_host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.clone()
        };
        let other = port
            .checked_add(10_000)
            .or(port.checked_sub(10_000))
            .unwrap_or(0);
        let key = format!("listeners={name}://{shown_host}:{other}");
        return ListenError::PortTaken {
            name,
            host,
            port,
            key,
        };
    }
    ListenError::Refused {
        name,
        host,
        port,
        source,
    }
}

/// Lets connections of one listener in.
#[derive(Debug)]
pub(crate) struct Door {
    shared: Arc<Shared>,
    service: Arc<dyn Service>,
    bound: Bound,
    ending: Ending,
}

impl Door {
    /// A door for what `bound` listens on, to what `service` does, until that ending.
    pub(super) fn new(
        shared: Arc<Shared>,
        service: Arc<dyn Service>,
        bound: Bound,
        ending: Ending,
    ) -> Self {
        Self {
            shared,
            service,
            bound,
            ending,
        }
    }

    /// Accepts until the node stops, or the door is closed.
    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            self.keep_to_rate().await;
            let accepted = tokio::select! {
                biased;
                () = self.ending.soft.cancelled() => return,
                accepted = self.bound.listener.accept() => accepted,
            };
            match accepted {
                Ok(connection) => {
                    shared.gate.accepted(shared.host.clock.now().mono);
                    self.let_in(connection);
                }
                Err(error) if error.kind() == io::ErrorKind::QuotaExceeded => {
                    shared.metrics.accepted.inc();
                    let detail = "the descriptors that are left are kept for files: raise the limit \
                                  on open files, or lower max.connections";
                    self.turn_away(detail.to_owned(), self.bound.address);
                }
                Err(error) => {
                    shared.metrics.accept_errors.inc();
                    let now = shared.host.clock.now().mono;
                    let detail = format!("cannot accept a connection: {error}");
                    let close = Close::new(CloseReason::Internal, detail);
                    shared.closing.tell(now, &close, self.bound.address, "");
                    let pause = shared.host.clock.sleep_until(now + ACCEPT_PAUSE);
                    tokio::select! {
                        biased;
                        () = self.ending.soft.cancelled() => return,
                        () = pause => {}
                    }
                }
            }
        }
    }

    /// Waits until one more connection may be accepted; those that come wait in the backlog.
    async fn keep_to_rate(&self) {
        let shared = &self.shared;
        let mut delayed = false;
        loop {
            let now = shared.host.clock.now().mono;
            let wait = shared.gate.wait(now);
            if wait.is_zero() || self.ending.soft.is_cancelled() {
                return;
            }
            if !std::mem::replace(&mut delayed, true) {
                shared.metrics.accepts_delayed.inc();
            }
            // The rate may change meanwhile.
            let pause = shared
                .host
                .clock
                .sleep_until(now + wait.min(RATE_PAUSE_MAX));
            tokio::select! {
                biased;
                () = self.ending.soft.cancelled() => return,
                () = pause => {}
            }
        }
    }

    /// Counts and tells that a connection was closed for want of a place.
    fn turn_away(&self, detail: String, peer: SocketAddr) {
        let shared = &self.shared;
        let close = Close::new(CloseReason::TooManyConnections, detail);
        shared.metrics.closed(close.reason).inc();
        let now = shared.host.clock.now().mono;
        shared.closing.tell(now, &close, peer, "");
    }

    fn let_in(&self, connection: Connection) {
        let shared = &self.shared;
        shared.metrics.accepted.inc();
        let place = match shared.gate.enter(connection.peer.ip()) {
            Ok(place) => place,
            Err(full) => {
                let detail = format!("as many connections are open as {} allows", full.key());
                self.turn_away(detail, connection.peer);
                return;
            }
        };
        let info = Arc::new(ConnectionInfo {
            principal: Principal::anonymous(),
            listener: Arc::clone(&self.bound.name),
            advertised: Arc::clone(&self.bound.advertised),
            peer: connection.peer,
            id: shared.next_connection.fetch_add(1, Ordering::Relaxed),
        });
        let task = attend(
            Arc::clone(shared),
            Arc::clone(&self.service),
            (connection, self.ending.clone()),
            info,
            place,
        );
        drop(
            shared
                .host
                .spawn
                .spawn(Pool::Data, "connection", Box::pin(task)),
        );
    }
}

/// Serves a connection to its end, and counts and tells how it ended.
async fn attend(
    shared: Arc<Shared>,
    service: Arc<dyn Service>,
    (connection, ending): (Connection, Ending),
    info: Arc<ConnectionInfo>,
    _place: Place,
) {
    shared.metrics.connections.inc();
    let _open = Open(shared.metrics.connections.clone());
    let soft = ending.soft;
    let serving = connection::serve(
        Arc::clone(&shared),
        service,
        (connection, soft),
        Arc::clone(&info),
    );
    let (close, client_id) = tokio::select! {
        biased;
        () = ending.cut.cancelled() => {
            let close = Close::new(CloseReason::Stopping, "the broker or its listener stops");
            (close, Arc::from(""))
        }
        ended = serving => ended,
    };
    shared.metrics.closed(close.reason).inc();
    shared
        .closing
        .tell(shared.host.clock.now().mono, &close, info.peer, &client_id);
    tracing::debug!(id = info.id, peer = %info.peer, reason = close.reason.label(), "connection ended");
}

/// Counts an open connection until it has ended, by a panic too.
struct Open(prometheus::IntGauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
