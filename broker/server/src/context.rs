//! What a handler knows: the node it runs on and the request it serves.
//!
//! A handler decides who asks only from [`RequestContext::principal`], which comes from the
//! connection, never from the message; and tells addresses only from the connection's listener.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use millrace_config::BrokerConfig;
use millrace_core::cluster::Directory;
use millrace_host::{Host, Mono};
use millrace_protocol::api::ApiRow;
use millrace_protocol::error_code::ErrorCode;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, ProducerIds};
use crate::coordinator::groups::GroupShards;
use crate::handlers::fetch::SharedSession;
use crate::handlers::metadata::KeptRows;
use crate::health::{Health, Phase};
use crate::loggers::Loggers;
use crate::metrics::Metrics;
use crate::net::{Doors, Gate, Room, SlowLog};
use crate::runtime::lost_directory::NodeFailure;
use crate::runtime::registry::Registry;
use crate::runtime::scratch::Scratches;
use crate::runtime::sessions::SessionCache;

/// One node: what all its connections and tasks share.
#[derive(Debug)]
pub(crate) struct Node {
    /// The machine.
    pub(crate) host: Host,
    /// The cluster's id, as clients are told.
    pub(crate) cluster_id: Arc<str>,
    /// The configuration that it was started with, checked. What changes while it runs is in
    /// [`Node::live_config`].
    pub(crate) config: Arc<BrokerConfig>,
    /// How many connections there may be.
    pub(crate) gate: Arc<Gate>,
    /// The listeners, once they are open and until the node stops.
    pub(crate) doors: OnceLock<Weak<Doors>>,
    /// What tells of slow requests.
    pub(crate) slow: Arc<SlowLog>,
    /// The levels of what the process says.
    pub(crate) loggers: Arc<dyn Loggers>,
    /// Counters, with their handles cached.
    pub(crate) metrics: Arc<Metrics>,
    /// What the cluster's metadata say.
    pub(crate) cluster: Arc<Cluster>,
    /// Ids for idempotent producers.
    pub(crate) producer_ids: ProducerIds,
    /// The partitions that are open here.
    pub(crate) partitions: Arc<Registry>,
    /// Encoded rows of all topics, for Metadata.
    pub(crate) metadata_rows: KeptRows,
    /// Consumer groups.
    pub(crate) groups: GroupShards,
    /// Buffers for looking into batches.
    pub(crate) scratches: Scratches,
    /// Fetch sessions.
    pub(crate) sessions: Mutex<SessionCache<SharedSession>>,
    /// The directory that holds the metadata log.
    pub(crate) metadata_directory: Directory,
    /// Whether the node serves: what `/health/ready` says.
    pub(crate) health: Arc<Health>,
    /// Why the node can't go on, once it can't.
    pub(crate) failure: watch::Sender<Option<NodeFailure>>,
    /// Cancelled when a stop begins: long waits (an empty fetch) end early then.
    pub(crate) stopping: CancellationToken,
}

impl Node {
    /// The fetch sessions; held for a look-up, never across a wait.
    pub(crate) fn sessions(&self) -> MutexGuard<'_, SessionCache<SharedSession>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The configuration as it stands now.
    pub(crate) fn live_config(&self) -> Arc<BrokerConfig> {
        self.partitions.broker_config(&self.cluster.image())
    }

    /// The listeners; `None` before they are open, and once the node stops.
    pub(crate) fn doors(&self) -> Option<Arc<Doors>> {
        self.doors.get().and_then(Weak::upgrade)
    }

    /// Ends the service for good, and says why to whoever holds the node's handle.
    pub(crate) fn fail(&self, failure: NodeFailure) {
        self.health.enter(Phase::Failed(failure.to_string()));
        self.failure.send_replace(Some(failure));
        self.stopping.cancel();
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    /// Kafka's notation, `User:name`.
    pub(crate) name: Arc<str>,
}

impl Principal {
    /// Whoever connects to a listener that does not authenticate.
    pub(crate) fn anonymous() -> Self {
        Self {
            name: Arc::from("User:ANONYMOUS"),
        }
    }
}

/// An address as clients are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Host name or address, without brackets.
    pub(crate) host: String,
    /// Port, never 0.
    pub(crate) port: u16,
}

/// What stays the same for all requests of a connection.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionInfo {
    /// Who asks.
    pub(crate) principal: Principal,
    /// Name of the listener that accepted the connection.
    pub(crate) listener: Arc<str>,
    /// What clients of that listener are told as this node's address.
    pub(crate) advertised: Arc<Endpoint>,
    /// The client's address.
    pub(crate) peer: SocketAddr,
    /// Number of the connection, unique while the node runs; for logs and for ownership of fetch
    /// sessions.
    pub(crate) id: u64,
}

/// What a request does to a resource, as access control lists name it (KIP-11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Reading records, committing offsets.
    Read,
    /// Writing records.
    Write,
    /// Creating topics.
    Create,
    /// Deleting topics, records, groups.
    Delete,
    /// Changing what is there.
    Alter,
    /// Seeing that it is there, and what it is.
    Describe,
    /// What only brokers do to each other.
    ClusterAction,
    /// Seeing configurations.
    DescribeConfigs,
    /// Changing configurations.
    AlterConfigs,
    /// Producing with a producer id; any right to write implies it.
    IdempotentWrite,
}

impl Operation {
    /// Kafka's number of the operation.
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::Read => 3,
            Self::Write => 4,
            Self::Create => 5,
            Self::Delete => 6,
            Self::Alter => 7,
            Self::Describe => 8,
            Self::ClusterAction => 9,
            Self::DescribeConfigs => 10,
            Self::AlterConfigs => 11,
            Self::IdempotentWrite => 12,
        }
    }
}

/// What an operation is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource<'a> {
    /// The cluster as a whole.
    Cluster,
    /// A topic, by name.
    Topic(&'a str),
    /// A consumer group.
    Group(&'a str),
    /// A transactional id.
    TransactionalId(&'a str),
}

/// One request, and the node that serves it.
#[derive(Clone, Debug)]
pub(crate) struct RequestContext {
    /// The node.
    pub(crate) node: Arc<Node>,
    /// The connection.
    pub(crate) connection: Arc<ConnectionInfo>,
    /// What the client calls itself, `""` for null. Foreign text: show it by [`shown`].
    pub(crate) client_id: Arc<str>,
    /// The row of the API, for its name and versions.
    pub(crate) api: &'static ApiRow,
    /// The version the request speaks; served, but for `ApiVersions`, which answers any.
    pub(crate) api_version: i16,
    /// When the request had arrived.
    pub(crate) received: Mono,
    /// When its effect and wait must have ended; a client's own timeout is cut to it.
    pub(crate) deadline: Mono,
    /// What the answer reserves.
    pub(crate) room: Arc<Room>,
}

impl RequestContext {
    /// Whether the principal may do `operation` to `resource`. Everyone may do everything until
    /// there are access control lists; every handler asks nevertheless.
    #[expect(
        clippy::unused_self,
        reason = "the principal decides once there are access lists"
    )]
    pub(crate) fn authorize(&self, _operation: Operation, _resource: Resource<'_>) -> bool {
        true
    }

    /// Counts the error codes that a reply carries.
    pub(crate) fn count_errors(&self, codes: impl IntoIterator<Item = i16>) {
        for code in codes.into_iter().filter(|code| *code != 0) {
            let error = ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError);
            self.node.metrics.count_error(self.api.name, error.name());
        }
    }
}

/// Longest foreign text in a log line or message, in characters.
const SHOWN_CHARS_MAX: usize = 100;

/// Foreign text made safe to print: control characters escaped, at most 100 characters.
pub(crate) fn shown(text: &str) -> impl fmt::Display + '_ {
    let cut = text
        .char_indices()
        .nth(SHOWN_CHARS_MAX)
        .map_or(text.len(), |(at, _)| at);
    text[..cut].escape_debug()
}
