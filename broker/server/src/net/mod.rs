//! Listeners and connections: bytes in, requests in order, replies in order, bytes out.
//!
//! Knows frames, limits and order; what a request means is the [`Service`]'s. What always holds:
//! replies leave strictly in request order; only a request whose route overlaps may be followed by
//! the next one before its reply is sent; every queue has a limit, and past it the socket is not
//! read; whatever ends a connection is counted by its reason.

mod budget;
mod buffers;
mod closing;
mod connection;
mod doors;
mod gate;
mod listener;
mod reader;
mod replies;
mod room;
mod slow;
mod writer;

#[cfg(test)]
mod connection_tests;
#[cfg(all(test, feature = "schedules"))]
#[path = "tests/schedules.rs"]
mod schedules;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use millrace_config::NetworkConfig;
use millrace_host::{BoxFuture, Host, Mono};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::context::ConnectionInfo;
use crate::metrics::{ApiMetrics, Metrics};
use crate::outcome::{Close, Outcome};

pub(crate) use buffers::BufferPool;
pub(crate) use doors::{Doors, Prepared, Turn};
pub(crate) use listener::Bound;
pub use listener::ListenError;

pub(crate) use room::Room;
pub(crate) use slow::SlowLog;

use budget::Budget;
use closing::ClosingLog;
pub(crate) use gate::Gate;

/// What the requests of all connections mean.
pub(crate) trait Service: fmt::Debug + Send + Sync {
    /// How requests of this API and version are read and ordered; an error ends the connection
    /// without a reply.
    fn route(&self, api_key: i16, api_version: i16) -> Result<Route, Close>;

    /// Runs the effect of a request.
    fn handle(&self, request: Request) -> BoxFuture<'_, Result<Outcome, Close>>;
}

/// How requests of one API in one version are read, ordered and counted.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// Whether the request header ends in tags (header version 2).
    pub(crate) request_tags: bool,
    /// Whether the response header ends in tags (header version 1).
    pub(crate) response_tags: bool,
    /// Whether the next request's effect may begin before this one's reply is sent.
    pub(crate) overlaps: bool,
    /// The counters of the API.
    pub(crate) metrics: Arc<ApiMetrics>,
}

/// One request, its header taken off.
#[derive(Debug)]
pub(crate) struct Request {
    /// The connection it came by.
    pub(crate) connection: Arc<ConnectionInfo>,
    /// Which API.
    pub(crate) api_key: i16,
    /// In which version.
    pub(crate) api_version: i16,
    /// What the client calls itself; empty for null.
    pub(crate) client_id: Arc<str>,
    /// When its last byte had arrived.
    pub(crate) received: Mono,
    /// When effect and wait must have ended.
    pub(crate) deadline: Mono,
    /// What follows the header.
    pub(crate) body: Bytes,
    /// What its answer reserves.
    pub(crate) room: Arc<Room>,
}

/// What all connections of a node share.
#[derive(Debug)]
pub(crate) struct Shared {
    host: Host,
    limits: NetworkConfig,
    metrics: Arc<Metrics>,
    budget: Budget,
    answers: Arc<Budget>,
    buffers: Arc<BufferPool>,
    gate: Arc<Gate>,
    closing: ClosingLog,
    slow: Arc<SlowLog>,
    next_connection: AtomicU64,
    /// Cancelled when no further request is to be begun.
    stopping: CancellationToken,
    /// Cancelled when what is still in progress is given up.
    cut: CancellationToken,
    /// Held by every connection and listener; closed when the last has ended.
    _alive: mpsc::Sender<()>,
}

/// Tells when the last connection has ended.
#[derive(Debug)]
pub(crate) struct LastGone(mpsc::Receiver<()>);

impl LastGone {
    /// Completes when nothing holds the [`Shared`] any more. Cancel-safe.
    pub(crate) async fn wait(&mut self) {
        let nothing = self.0.recv().await;
        debug_assert!(nothing.is_none(), "nobody sends here");
    }
}

impl Shared {
    /// Room and limits for the connections of a node. `stopping` ends them softly, `cut` at once.
    pub(crate) fn new(
        host: Host,
        limits: NetworkConfig,
        metrics: Arc<Metrics>,
        stopping: CancellationToken,
        cut: CancellationToken,
    ) -> (Arc<Self>, LastGone) {
        let (alive, last_gone) = mpsc::channel(1);
        let gate = Gate::new(limits.connections_max, limits.connections_per_ip_max);
        gate.limit_rate(limits.connection_creation_rate);
        let budget_bytes = limits
            .queued_bytes_max
            .max(u64::from(limits.request_bytes_max));
        let shared = Self {
            budget: Budget::new(
                budget_bytes,
                metrics.budget_bytes.clone(),
                metrics.budget_waits.clone(),
            ),
            answers: Arc::new(Budget::new(
                limits.response_bytes_max,
                metrics.answers_bytes.clone(),
                metrics.answers_waits.clone(),
            )),
            buffers: Arc::default(),
            gate,
            closing: ClosingLog::default(),
            slow: Arc::new(SlowLog::new(limits.slow_after)),
            next_connection: AtomicU64::new(1),
            host,
            limits,
            metrics,
            stopping,
            cut,
            _alive: alive,
        };
        (Arc::new(shared), LastGone(last_gone))
    }

    /// Who is let in, for limits that change while the node runs.
    pub(crate) fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.gate)
    }

    /// What tells of slow requests, for a limit that changes while the node runs.
    pub(crate) fn slow(&self) -> Arc<SlowLog> {
        Arc::clone(&self.slow)
    }

    /// The read buffers, to be trimmed now and then.
    pub(crate) fn buffers(&self) -> Arc<BufferPool> {
        Arc::clone(&self.buffers)
    }
}
