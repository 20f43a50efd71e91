//! One connection to one broker: requests in, answers out, in the same order.
//!
//! What always holds: requests leave in the order in which [`Connection::send`] was called, and an
//! answer is matched to the oldest request without one; an answer with another correlation id ends
//! the connection. At most [`ConnectionOptions::in_flight_max`] requests are without answer. When
//! the connection ends, every request without answer gets [`Error::Disconnected`], or
//! [`Error::Garbled`] or [`Error::Tls`] when what came is the reason.

mod answers;
mod authenticate;
mod exclusive;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use millrace_host::{Host, Mono, Piece, Pool, TaskHandle, WriteHalf};
use millrace_protocol::api::Api;
use millrace_protocol::header::{RequestHeader, encode_request};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::metrics::Metrics;
use crate::security::Security;
use crate::{Error, TlsProblem};
use answers::read_answers;
pub(crate) use authenticate::Identity;
use authenticate::Renewal;

/// The length in front of every request and answer.
const FRAME_LENGTH_BYTES: usize = 4;
/// The correlation id of requests that nobody answers.
const NO_ANSWER: i32 = -1;

/// Limits of one connection.
///
/// ```
/// # use millrace_client::ConnectionOptions;
/// use std::time::Duration;
///
/// let options = ConnectionOptions {
///     client_id: "billing".to_owned(),
///     request_timeout: Duration::from_secs(10),
///     ..ConnectionOptions::default()
/// };
/// assert!(options.connect_timeout <= options.request_timeout);
/// ```
#[derive(Clone, Debug)]
pub struct ConnectionOptions {
    /// What the client calls itself; stands in the broker's logs and metrics.
    pub client_id: String,
    /// Requests without an answer; a further one waits.
    pub in_flight_max: usize,
    /// The largest answer accepted, in bytes.
    pub reply_bytes_max: usize,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long a request may take, from the call that sends it to its answer.
    pub request_timeout: Duration,
    /// Encryption, and who the client is; neither by default.
    pub security: Security,
    /// Where connections that are opened with these options count what they do: those with clones of
    /// them at the same place.
    pub metrics: Metrics,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self {
            client_id: "millrace-client".to_owned(),
            in_flight_max: 64,
            reply_bytes_max: 128 * 1024 * 1024,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            security: Security::default(),
            metrics: Metrics::default(),
        }
    }
}

/// An API and the version one request speaks.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::Call;
/// # world::run(async |cluster| {
/// use millrace_protocol::messages::MetadataRequest;
///
/// let client = cluster.any_broker().await?;
/// // The highest version that both sides know.
/// let call = client.call_of::<MetadataRequest>()?;
/// assert!(call.flexible);
/// # Ok(()) });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Kafka's API key.
    pub api_key: i16,
    /// The version of request and answer.
    pub api_version: i16,
    /// Whether this version is flexible, so that the request header ends in a tag section.
    pub flexible: bool,
}

impl Call {
    /// An API at a version of it.
    pub(crate) fn of(api: Api, version: i16) -> Self {
        Self {
            api_key: api.key(),
            api_version: version,
            flexible: api.row().is_flexible(version),
        }
    }

    /// `ApiVersions` answers without tags in the header whatever its version (KIP-511).
    fn reply_header_has_tags(self) -> bool {
        const API_VERSIONS: i16 = 18;
        self.flexible && self.api_key != API_VERSIONS
    }
}

/// An open connection. Closed when the last clone is dropped.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # world::run(async |cluster| {
/// use millrace_protocol::messages::MetadataRequest;
///
/// let client = cluster.any_broker().await?;
/// let (call, body) = client.encode(&MetadataRequest::default())?;
/// // Bytes out, bytes in: what they mean is the client's.
/// let answer = client.connection().call(call, body).await?;
/// assert!(!answer.is_empty());
/// # Ok(()) });
/// ```
#[derive(Clone, Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    _reader: Arc<ReaderTask>,
}

#[derive(Debug)]
struct Shared {
    address: String,
    host: Host,
    options: ConnectionOptions,
    write: tokio::sync::Mutex<Outgoing>,
    pending: Mutex<Pending>,
    slots: Arc<Semaphore>,
}

/// What requests go out by, one whole request at a time.
#[derive(Debug)]
struct Outgoing {
    half: Box<dyn WriteHalf>,
    /// When the client says anew who it is, before the next request.
    renewal: Option<Renewal>,
}

#[derive(Debug, Default)]
struct Pending {
    queue: VecDeque<Waiting>,
    next_correlation_id: i32,
    broken: Option<String>,
}

#[derive(Debug)]
struct Waiting {
    correlation_id: i32,
    header_has_tags: bool,
    answer: oneshot::Sender<Result<Bytes, Error>>,
    call: Call,
    sent_at: Mono,
    /// None for what has the connection to itself.
    _slot: Option<OwnedSemaphorePermit>,
}

/// Ends the reading task with the connection.
#[derive(Debug)]
struct ReaderTask(Box<dyn TaskHandle>);

impl Drop for ReaderTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A request that was sent and whose answer is on its way. Keeps its connection open.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # world::run(async |cluster| {
/// use millrace_protocol::messages::MetadataRequest;
///
/// let client = cluster.any_broker().await?;
/// let (call, body) = client.encode(&MetadataRequest::default())?;
/// let reply = client.connection().send(call, body).await?;
/// // Something else may be sent meanwhile.
/// assert!(!reply.wait().await?.is_empty());
/// # Ok(()) });
/// ```
#[derive(Debug)]
pub struct PendingReply {
    connection: Connection,
    answer: oneshot::Receiver<Result<Bytes, Error>>,
    deadline: Mono,
}

impl Connection {
    /// Connects to `address`, with TLS if the options say so; then the broker's certificate must be for
    /// that address, or for the name that the options give. Says nothing of who the client is: that is
    /// [`Client::connect`](crate::Client::connect)'s.
    pub async fn open(
        host: &Host,
        address: SocketAddr,
        options: ConnectionOptions,
    ) -> Result<Self, Error> {
        Self::open_named(host, &address.ip().to_string(), address, options).await
    }

    /// The same, the broker's certificate being for `name`.
    pub(crate) async fn open_named(
        host: &Host,
        name: &str,
        address: SocketAddr,
        options: ConnectionOptions,
    ) -> Result<Self, Error> {
        let deadline = host.clock.now().mono + options.connect_timeout;
        let opened = tokio::select! {
            biased;
            opened = reach(host, name, address, &options) => opened,
            () = host.clock.sleep_until(deadline) => Err(Error::Connect {
                address: address.to_string(),
                reason: format!("no answer within {:?}", options.connect_timeout),
            }),
        };
        let connection = opened.inspect_err(|error| {
            options.metrics.connect_failed();
            tracing::debug!(%address, %error, "can't connect");
        })?;
        options.metrics.connected();
        tracing::debug!(%address, "connected");
        let shared = Arc::new(Shared {
            address: address.to_string(),
            host: host.clone(),
            slots: Arc::new(Semaphore::new(options.in_flight_max)),
            options,
            write: tokio::sync::Mutex::new(Outgoing {
                half: connection.write,
                renewal: None,
            }),
            pending: Mutex::new(Pending::default()),
        });
        let reader = host.spawn.spawn(
            Pool::Data,
            "client connection",
            Box::pin(read_answers(connection.read, Arc::clone(&shared))),
        );
        Ok(Self {
            shared,
            _reader: Arc::new(ReaderTask(reader)),
        })
    }

    /// The broker's address, for messages.
    pub fn address(&self) -> &str {
        &self.shared.address
    }

    /// Whether requests can still be sent.
    pub fn is_open(&self) -> bool {
        self.shared.lock().broken.is_none()
    }

    /// The limits it was opened with.
    pub fn options(&self) -> &ConnectionOptions {
        &self.shared.options
    }

    /// Sends one request whose encoded body is `body` and returns once it was handed to the
    /// machine; the answer's body comes from [`PendingReply::wait`]. Dropping this future half-way
    /// ends the connection.
    pub async fn send(&self, call: Call, body: Bytes) -> Result<PendingReply, Error> {
        let deadline = self.deadline();
        let sending = async {
            let shared = &self.shared;
            let slot = Arc::clone(&shared.slots)
                .acquire_owned()
                .await
                .map_err(|_| shared.disconnected("it was closed"))?;
            // The write lock is taken before the request joins the queue: both orders are one.
            let mut write = shared.write.lock().await;
            authenticate::renew(shared, &mut write).await?;
            let (correlation_id, answer) = shared.enqueue(call, Some(slot))?;
            shared
                .hand_over(&mut *write.half, call, correlation_id, body)
                .await?;
            Ok(answer)
        };
        let answer = self.until(deadline, sending).await?;
        Ok(PendingReply {
            connection: self.clone(),
            answer,
            deadline,
        })
    }

    /// Sends one request that has no answer (produce with `acks=0`).
    pub async fn send_without_reply(&self, call: Call, body: Bytes) -> Result<(), Error> {
        let sending = async {
            let shared = &self.shared;
            let mut write = shared.write.lock().await;
            authenticate::renew(shared, &mut write).await?;
            if let Some(reason) = &shared.lock().broken {
                return Err(shared.disconnected(reason));
            }
            shared
                .hand_over(&mut *write.half, call, NO_ANSWER, body)
                .await
        };
        self.until(self.deadline(), sending).await
    }

    /// Sends one request and waits for the body of its answer.
    pub async fn call(&self, call: Call, body: Bytes) -> Result<Bytes, Error> {
        self.send(call, body).await?.wait().await
    }

    fn deadline(&self) -> Mono {
        self.shared.host.clock.now().mono + self.shared.options.request_timeout
    }

    async fn until<T>(
        &self,
        deadline: Mono,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.shared.host.clock.sleep_until(deadline) => Err(self.shared.timed_out()),
        }
    }
}

impl PendingReply {
    /// Gives the answer so much more time.
    pub(crate) fn allow(&mut self, more: Duration) {
        self.deadline = self.deadline + more;
    }

    /// Waits for the answer's body, at most until the request's deadline. A timeout ends the
    /// connection: the answers behind the late one could not be told apart from it.
    pub async fn wait(self) -> Result<Bytes, Error> {
        let Self {
            connection,
            answer,
            deadline,
        } = self;
        let shared = &connection.shared;
        let answered = async {
            answer
                .await
                .unwrap_or_else(|_| Err(shared.disconnected("it was closed")))
        };
        connection.until(deadline, answered).await
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        // No code panics while holding it; a poisoned queue is still a queue.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the request wait for its answer; it must be handed over next.
    fn enqueue(
        &self,
        call: Call,
        slot: Option<OwnedSemaphorePermit>,
    ) -> Result<(i32, oneshot::Receiver<Result<Bytes, Error>>), Error> {
        let mut pending = self.lock();
        if let Some(reason) = &pending.broken {
            return Err(self.disconnected(reason));
        }
        let (sender, answer) = oneshot::channel();
        let correlation_id = pending.next_correlation_id;
        pending.next_correlation_id = correlation_id.wrapping_add(1) & i32::MAX;
        pending.queue.push_back(Waiting {
            correlation_id,
            header_has_tags: call.reply_header_has_tags(),
            answer: sender,
            call,
            sent_at: self.host.clock.now().mono,
            _slot: slot,
        });
        Ok((correlation_id, answer))
    }

    async fn hand_over(
        &self,
        write: &mut dyn WriteHalf,
        call: Call,
        correlation_id: i32,
        body: Bytes,
    ) -> Result<(), Error> {
        let half_sent = BreakOnDrop(self);
        let head = request_head(call, correlation_id, &self.options.client_id, body.len());
        let sent = match head {
            Some(head) => {
                let metrics = &self.options.metrics;
                metrics.sent(call.api_key, head.len() + body.len());
                write
                    .send(vec![Piece::Bytes(head), Piece::Bytes(body)])
                    .await
            }
            None => Err(std::io::Error::other(
                "a request is larger than its length can say",
            )),
        };
        std::mem::forget(half_sent);
        sent.map_err(|error| {
            self.end(&error.to_string());
            self.disconnected(&error.to_string())
        })
    }

    /// Ends the connection because of a request that took too long.
    fn timed_out(&self) -> Error {
        self.options.metrics.timed_out();
        self.end("a request timed out");
        let timeout_ms = self.options.request_timeout.as_millis();
        Error::Timeout {
            address: self.address.clone(),
            timeout_ms: u64::try_from(timeout_ms).unwrap_or(u64::MAX),
        }
    }

    fn disconnected(&self, reason: &str) -> Error {
        Error::Disconnected {
            address: self.address.clone(),
            reason: reason.to_owned(),
        }
    }

    /// Marks the connection as ended and tells every request without an answer.
    fn end(&self, reason: &str) {
        self.end_with(reason, &self.disconnected(reason));
    }

    /// The same because of what came.
    fn garbled(&self, reason: &str) {
        self.options.metrics.garbled();
        let error = Error::Garbled {
            address: self.address.clone(),
            reason: reason.to_owned(),
        };
        self.end_with(reason, &error);
    }

    /// The same because of what came in place of TLS, or in place of no TLS.
    fn no_tls(&self, problem: TlsProblem, reason: &str) {
        let error = Error::Tls {
            address: self.address.clone(),
            problem,
            reason: reason.to_owned(),
        };
        self.end_with(reason, &error);
    }

    fn end_with(&self, reason: &str, error: &Error) {
        let (waiting, is_first) = {
            let mut pending = self.lock();
            let is_first = pending.broken.is_none();
            pending.broken.get_or_insert_with(|| reason.to_owned());
            (std::mem::take(&mut pending.queue), is_first)
        };
        if is_first {
            self.options.metrics.lost();
            let address = &self.address;
            tracing::debug!(%address, reason, unanswered = waiting.len(), "the connection ended");
        }
        for request in waiting {
            // A caller that no longer waits needs no answer.
            drop(request.answer.send(Err(error.clone())));
        }
    }
}

/// Connects, and agrees on TLS.
async fn reach(
    host: &Host,
    name: &str,
    address: SocketAddr,
    options: &ConnectionOptions,
) -> Result<millrace_host::Connection, Error> {
    let connection = host.net.connect(address).await;
    let connection = connection.map_err(|error| Error::Connect {
        address: address.to_string(),
        reason: error.to_string(),
    })?;
    options.security.protect(host, name, connection).await
}

/// A request of which only a part was sent makes the stream unusable.
struct BreakOnDrop<'a>(&'a Shared);

impl Drop for BreakOnDrop<'_> {
    fn drop(&mut self) {
        self.0
            .end("a request was abandoned while it was being sent");
    }
}

/// Frame length and request header; `None` when the frame's length does not fit its field.
fn request_head(
    call: Call,
    correlation_id: i32,
    client_id: &str,
    body_bytes: usize,
) -> Option<Bytes> {
    let header = RequestHeader {
        api_key: call.api_key,
        api_version: call.api_version,
        correlation_id,
        client_id: Some(Bytes::copy_from_slice(client_id.as_bytes())),
    };
    let mut head = BytesMut::with_capacity(16 + client_id.len());
    head.put_i32(0);
    encode_request(&header, call.flexible, &mut head);
    let frame_bytes = i32::try_from(head.len() - FRAME_LENGTH_BYTES + body_bytes).ok()?;
    head[..FRAME_LENGTH_BYTES].copy_from_slice(&frame_bytes.to_be_bytes());
    Some(head.freeze())
}
