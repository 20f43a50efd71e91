//! The listeners that are open, and what changes them while the node runs.
//!
//! What always holds: one change goes on at a time; a listener is known by its name and keeps its
//! address; one that goes lets its own connections end what they have begun and touches no others; what
//! can't be opened or looked up is refused to whoever asked for it, and told where nobody did.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_config::{Listener, NetworkConfig};
use millrace_host::Pool;
use tokio::sync::{Mutex as Turns, MutexGuard as TurnGuard};

use super::listener::{Bound, Door, Ending, ListenError};
use super::{Service, Shared};
use crate::context::Endpoint;

/// How long connections of a listener that goes may take to end.
const CLOSING_MAX: Duration = Duration::from_secs(30);

/// All of them.
#[derive(Debug)]
pub(crate) struct Doors {
    shared: Arc<Shared>,
    service: Arc<dyn Service>,
    open: Mutex<Vec<OpenDoor>>,
    /// Whose addresses are known, for a look-up that fails later.
    turns: Turns<Addresses>,
}

/// A listener that is open.
#[derive(Clone, Debug)]
pub(crate) struct OpenDoor {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// The bound address, with the real port.
    pub(crate) address: SocketAddr,
    /// What its clients are told.
    pub(crate) advertised: Arc<Endpoint>,
    ending: Ending,
}

/// What a change needs that may fail, had before anything is changed.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    bound: Vec<Bound>,
    addresses: Addresses,
}

/// Hosts that have limits of their own, and what they were looked up to.
type Addresses = BTreeMap<String, Vec<IpAddr>>;

/// A turn to change them.
pub(crate) struct Turn<'a> {
    doors: &'a Doors,
    known: TurnGuard<'a, Addresses>,
}

impl Doors {
    /// None open yet; connections are served by `service`.
    pub(crate) fn new(shared: Arc<Shared>, service: Arc<dyn Service>) -> Arc<Self> {
        Arc::new(Self {
            shared,
            service,
            open: Mutex::default(),
            turns: Turns::default(),
        })
    }

    /// Those that are open, in the order in which they were opened.
    pub(crate) fn open(&self) -> Vec<OpenDoor> {
        self.lock().clone()
    }

    /// Waits until no other change goes on.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        Turn {
            doors: self,
            known: self.turns.lock().await,
        }
    }

    /// Has the listeners and the limits of addresses be those of `network`; what can't be had is told
    /// and left out. `bound` are listeners that wait to be opened.
    pub(crate) async fn follow(&self, network: &NetworkConfig, bound: Vec<Bound>) {
        let turn = self.turn().await;
        let mut prepared = Prepared {
            bound,
            ..Prepared::default()
        };
        for listener in &network.listeners {
            if let Err(error) = turn.bind(listener, &mut prepared).await {
                tracing::error!(%error, "a listener that was set while the broker ran is not open");
            }
        }
        for (host, _) in &network.connections_per_ip_overrides {
            if let Err(error) = turn.look_up(host, &mut prepared).await {
                tracing::error!(%error, "a limit of max.connections.per.ip.overrides does not hold");
            }
        }
        turn.follow(network, prepared);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<OpenDoor>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Adds what going by `network` needs, or says why it can't be had.
    pub(crate) async fn prepare(
        &self,
        network: &NetworkConfig,
        prepared: &mut Prepared,
    ) -> Result<(), ListenError> {
        for listener in &network.listeners {
            self.bind(listener, prepared).await?;
        }
        for (host, _) in &network.connections_per_ip_overrides {
            self.look_up(host, prepared).await?;
        }
        Ok(())
    }

    /// Goes by `network`: opens what is new, closes what is not in it.
    pub(crate) fn follow(mut self, network: &NetworkConfig, prepared: Prepared) {
        let wanted = |name: &str| network.listeners.iter().any(|one| one.name == name);
        // Of those of a start the process tells by itself.
        let is_start = self.doors.lock().is_empty();
        for bound in prepared.bound {
            if wanted(&bound.name) {
                if !is_start {
                    tracing::info!(listener = %bound.name, address = %bound.address, "listener opened");
                }
                self.open(bound);
            }
        }
        let mut open = self.doors.lock();
        let (stay, go): (Vec<_>, Vec<_>) = open.drain(..).partition(|door| wanted(&door.name));
        *open = stay;
        drop(open);
        for door in go {
            self.close(door);
        }
        let of_host = |(host, count): &(String, u32)| {
            let addresses = prepared.addresses.get(host).into_iter().flatten();
            let limits: Vec<_> = addresses.map(|ip| (*ip, *count)).collect();
            limits
        };
        let overrides = &network.connections_per_ip_overrides;
        let limits: Vec<_> = overrides.iter().flat_map(of_host).collect();
        self.doors.shared.gate.limit_some(limits);
        *self.known = prepared.addresses;
    }

    /// Binds a listener, unless one of its name is there.
    async fn bind(&self, listener: &Listener, prepared: &mut Prepared) -> Result<(), ListenError> {
        let is_open = self
            .doors
            .lock()
            .iter()
            .any(|door| *door.name == *listener.name);
        if !is_open && !prepared.bound.iter().any(|one| *one.name == *listener.name) {
            let shared = &self.doors.shared;
            let bound = Bound::bind(&shared.host, listener, shared.limits.backlog);
            prepared.bound.push(bound.await?);
        }
        Ok(())
    }

    /// The addresses of a host that has a limit of its own: those of before, where it can't be looked
    /// up now.
    async fn look_up(&self, host: &str, prepared: &mut Prepared) -> Result<(), ListenError> {
        let found = match host.parse() {
            Ok(ip) => vec![ip],
            Err(_) => match self.doors.shared.host.net.resolve(host, 0).await {
                Ok(found) => found.iter().map(SocketAddr::ip).collect(),
                Err(source) => {
                    let unresolved = || ListenError::UnresolvedLimit {
                        host: host.to_owned(),
                        source,
                    };
                    self.known.get(host).cloned().ok_or_else(unresolved)?
                }
            },
        };
        prepared.addresses.insert(host.to_owned(), found);
        Ok(())
    }

    fn open(&self, bound: Bound) {
        let shared = &self.doors.shared;
        let ending = Ending::of(shared);
        if !bound.address.ip().is_loopback() {
            shared.metrics.open_listeners.inc();
            tracing::warn!(listener = %bound.name, address = %bound.address,
                "whoever reaches this listener may read, write and delete everything: there is no \
                 authentication; bind it to loopback, or keep it in a network that you trust");
        }
        self.doors.lock().push(OpenDoor {
            name: Arc::clone(&bound.name),
            address: bound.address,
            advertised: Arc::clone(&bound.advertised),
            ending: ending.clone(),
        });
        let door = Door::new(
            Arc::clone(shared),
            Arc::clone(&self.doors.service),
            bound,
            ending,
        );
        let run = Box::pin(door.run());
        drop(shared.host.spawn.spawn(Pool::Data, "listener", run));
    }

    fn close(&self, door: OpenDoor) {
        let shared = &self.doors.shared;
        tracing::info!(listener = %door.name, address = %door.address, "listener closed");
        if !door.address.ip().is_loopback() {
            shared.metrics.open_listeners.dec();
        }
        door.ending.soft.cancel();
        let clock = &shared.host.clock;
        let until = clock.sleep_until(clock.now().mono + CLOSING_MAX);
        // Ends with the node, whose stop waits for no time of its own.
        let ending = door.ending;
        let work = async move {
            tokio::select! {
                biased;
                () = ending.cut.cancelled() => {}
                () = until => ending.cut.cancel(),
            }
        };
        drop(
            shared
                .host
                .spawn
                .spawn(Pool::Data, "listener closing", Box::pin(work)),
        );
    }
}
