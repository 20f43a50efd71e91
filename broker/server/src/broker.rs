//! A node's life: start, serve, stop or be killed.
//!
//! What always holds: nothing is accepted before everything it may need has been recovered; a stop
//! lets the requests in progress end, up to `shutdown.timeout.ms`, and then closes; dropping the
//! handle is what `kill -9` is to a process: every task of the node ends where it stands.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use millrace_config::BrokerConfig;
use millrace_host::{Host, Pool};
use millrace_protocol::metadata::BrokerEndpoint;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::admin_http::{AdminError, AdminHttp, Subject};
use crate::cluster::ProducerIds;
use crate::context::Node;
use crate::coordinator::groups::GroupShards;
use crate::directories::StorageError;
use crate::dispatch::Dispatch;
use crate::exposition;
use crate::handlers::metadata::KeptRows;
use crate::health::{Health, Phase};
use crate::loggers::{Loggers, NoLoggers};
use crate::metrics::Metrics;
use crate::net::{Bound, BufferPool, Doors, LastGone, ListenError, Service, Shared};
use crate::runtime::lateness;
use crate::runtime::lost_directory::{self, NodeFailure};
use crate::runtime::scratch::Scratches;
use crate::runtime::sessions::SessionCache;
use crate::runtime::upkeep;
use crate::storage;
use crate::sync_watch;

/// How often read buffers that nobody needs are given back.
const TRIM_INTERVAL: Duration = Duration::from_secs(10);

/// Encoded rows of topics are kept up to this part of what long answers may take, and beside it.
const METADATA_ROWS_PART: u64 = 4;

/// How long a stop waits at most for its last tasks to let go of the log directories, and how
/// often it looks.
const RELEASE_WAIT_MAX: Duration = Duration::from_secs(1);
const RELEASE_POLL: Duration = Duration::from_millis(1);

/// The number of the protocol without encryption or authentication.
const PLAINTEXT: i16 = 0;

/// Why a node did not start. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener for clients cannot be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The admin HTTP server cannot be bound.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// A log directory or the metadata in it can't be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A listener that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundListener {
    /// Its name.
    pub name: String,
    /// The bound address, with the real port.
    pub address: SocketAddr,
    /// What clients are told: host and port.
    pub advertised: (String, u16),
}

/// A running node. Dropping it kills the node; [`Broker::stop`] ends it cleanly.
#[derive(Debug)]
pub struct Broker {
    node: Arc<Node>,
    /// Until a stop begins.
    doors: Option<Arc<Doors>>,
    admin: Option<SocketAddr>,
    cut: CancellationToken,
    last_gone: LastGone,
}

impl Broker {
    /// Starts a node on `host`, whose tasks must be this node's alone. Returns when clients are
    /// served.
    pub async fn start(config: BrokerConfig, host: Host) -> Result<Self, StartError> {
        Self::start_with(config, host, Arc::new(NoLoggers)).await
    }

    /// The same, with loggers whose levels Kafka's tools can see and change.
    pub async fn start_with(
        config: BrokerConfig,
        host: Host,
        loggers: Arc<dyn Loggers>,
    ) -> Result<Self, StartError> {
        let started = Self::start_on(config, host.clone(), loggers).await;
        if started.is_err() {
            host.spawn.kill();
        }
        started
    }

    async fn start_on(
        config: BrokerConfig,
        host: Host,
        loggers: Arc<dyn Loggers>,
    ) -> Result<Self, StartError> {
        let config = Arc::new(config);
        let metrics = Arc::new(Metrics::new());
        let host = sync_watch::watched(&host, config.log.sync_timeout, &metrics.sync);
        let stopping = CancellationToken::new();
        let cut = CancellationToken::new();
        let health = Arc::new(Health::new());

        // Bound first: a port that is taken is found before any data are touched, and clients that
        // come early wait in the backlog.
        let network = &config.network;
        let mut bound = Vec::new();
        for listener in &network.listeners {
            bound.push(Bound::bind(&host, listener, network.backlog).await?);
        }
        let subject = Subject::new(&metrics, &health);
        let told = Arc::clone(&subject.node);
        let admin = Self::start_admin(&config, &host, subject, &cut).await?;
        let storage = storage::open(&host, &config, end_points(&bound)).await?;
        let inflated_bytes_max = usize::try_from(config.produce.decompressed_bytes_max);
        let (shared, last_gone) = Shared::new(
            host.clone(),
            network.clone(),
            Arc::clone(&metrics),
            stopping.clone(),
            cut.clone(),
        );
        let node = Arc::new(Node {
            host: host.clone(),
            cluster_id: storage.cluster_id,
            config: Arc::clone(&config),
            gate: shared.gate(),
            slow: shared.slow(),
            doors: OnceLock::new(),
            loggers,
            metrics: Arc::clone(&metrics),
            cluster: storage.cluster,
            producer_ids: ProducerIds::new(),
            partitions: storage.partitions,
            groups: GroupShards::new(stopping.clone()),
            metadata_rows: KeptRows::new(
                network.response_bytes_max / METADATA_ROWS_PART,
                metrics.metadata_rows.clone(),
            ),
            scratches: Scratches::new(inflated_bytes_max.unwrap_or(usize::MAX)),
            sessions: Mutex::new(SessionCache::new(&config.fetch, &metrics.fetch)),
            metadata_directory: storage.metadata_directory,
            health: Arc::clone(&health),
            failure: watch::Sender::new(None),
            stopping: stopping.clone(),
        });
        node.configure(None);
        // Nobody else sets it.
        told.set(Arc::downgrade(&node)).ok();
        look_after(&node);
        let trimming = trim(host.clone(), shared.buffers(), stopping);
        begin(&host, "buffer trim", trimming);
        let service: Arc<dyn Service> = Arc::new(Dispatch::new(Arc::clone(&node)));
        let doors = Doors::new(shared, service);
        doors.follow(&node.live_config().network, bound).await;
        // Nobody else sets it.
        node.doors.set(Arc::downgrade(&doors)).ok();
        health.enter(Phase::Serving);
        Ok(Self {
            node,
            doors: Some(doors),
            admin,
            cut,
            last_gone,
        })
    }

    /// Starts the admin HTTP server, unless it is off.
    async fn start_admin(
        config: &BrokerConfig,
        host: &Host,
        subject: Subject,
        cut: &CancellationToken,
    ) -> Result<Option<SocketAddr>, StartError> {
        let Some(listener) = &config.network.admin else {
            return Ok(None);
        };
        let server = AdminHttp::bind(host, listener, subject, cut.clone()).await?;
        let address = server.address();
        begin(host, "admin http", server.run());
        Ok(Some(address))
    }

    /// Where clients connect now: those it was started with in the order of the configuration, then
    /// those that were added while it ran.
    pub fn listeners(&self) -> Vec<BoundListener> {
        let open = self.doors.iter().flat_map(|doors| doors.open());
        let told = open.map(|door| BoundListener {
            name: door.name.to_string(),
            address: door.address,
            advertised: (door.advertised.host.clone(), door.advertised.port),
        });
        told.collect()
    }

    /// Where metrics and health are served, unless that is off.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Everything the node counts, in Prometheus' text format.
    pub fn metrics_text(&self) -> String {
        exposition::text(&self.node)
    }

    /// Bytes of each log directory in use that wait to become durable.
    pub fn unflushed_bytes(&self) -> Vec<u64> {
        let dirs = self.node.partitions.dirs();
        let dirs = dirs.iter().filter_map(Weak::upgrade);
        dirs.map(|dir| dir.unflushed_bytes()).collect()
    }

    /// Completes when the node can't go on, and says why; never while it can. The node serves
    /// nothing from then on: drop it and end the process with an error.
    pub async fn failed(&self) -> NodeFailure {
        let mut failure = self.node.failure.subscribe();
        loop {
            if let Some(failure) = failure.borrow_and_update().clone() {
                return failure;
            }
            if failure.changed().await.is_err() {
                // The sender is in the node, which this handle holds.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Ends the node: accepts and begins nothing more, lets the requests in progress end up to
    /// `shutdown.timeout.ms`, closes. The log directories are free for another start then.
    pub async fn stop(mut self) {
        self.node.health.enter(Phase::Stopping);
        self.node.stopping.cancel();
        self.doors = None;
        let clock = &self.node.host.clock;
        let deadline = clock.now().mono + self.node.config.node.shutdown_timeout;
        tokio::select! {
            biased;
            () = self.last_gone.wait() => {}
            () = clock.sleep_until(deadline) => {
                tracing::warn!("requests in progress did not end in time; closing connections");
                self.cut.cancel();
                self.last_gone.wait().await;
            }
        }
        self.cut.cancel();
        self.node.partitions.close(&self.node.cluster).await;
        let (dirs, clock) = (self.node.partitions.dirs(), Arc::clone(clock));
        drop(self);
        // The tasks that were cut hold the directories' locks until each has ended.
        let deadline = clock.now().mono + RELEASE_WAIT_MAX;
        while dirs.iter().any(|dir| dir.strong_count() > 0) && clock.now().mono < deadline {
            clock.sleep_until(clock.now().mono + RELEASE_POLL).await;
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.node.host.spawn.kill();
    }
}

/// Begins what a node does on its own.
fn look_after(node: &Arc<Node>) {
    lost_directory::watch(node);
    let host = &node.host;
    begin(host, "log upkeep", upkeep::run(Arc::clone(node)));
    begin(host, "group upkeep", Arc::clone(node).keep_groups());
    let late = lateness::watch(
        Arc::clone(&host.clock),
        node.metrics.lateness.clone(),
        Arc::clone(&node.health),
    );
    drop(host.spawn.spawn(Pool::Data, "lateness", Box::pin(late)));
}

/// Begins a task that ends with the node.
fn begin(host: &Host, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
    drop(host.spawn.spawn(Pool::Control, name, Box::pin(work)));
}

/// Gives back, now and then, the read buffers that nobody needed.
async fn trim(host: Host, buffers: Arc<BufferPool>, stopping: CancellationToken) {
    loop {
        let next = host.clock.now().mono + TRIM_INTERVAL;
        tokio::select! {
            biased;
            () = stopping.cancelled() => return,
            () = host.clock.sleep_until(next) => buffers.trim(),
        }
    }
}

/// The listeners as they stand in the metadata.
fn end_points(bound: &[Bound]) -> Vec<BrokerEndpoint> {
    let end_point = |bound: &Bound| BrokerEndpoint {
        name: bound.name.to_string(),
        host: bound.advertised.host.clone(),
        port: bound.advertised.port,
        security_protocol: PLAINTEXT,
    };
    bound.iter().map(end_point).collect()
}
