//! `/metrics`, `/metrics/partitions`, `/health/live` and `/health/ready` over HTTP, for operators and their machines.
//!
//! A few fixed answers to GET, written by hand over the host's `Net`: a library would have to be
//! fitted to those traits by more code than there is here, and would bring keep-alive, chunking and
//! upgrades that nobody needs. What always holds: a request's head is at most [`HEAD_BYTES_MAX`]
//! and comes within [`EXCHANGE_TIMEOUT`], its body is never read; one answer, then the connection
//! is closed; at most [`EXCHANGES_MAX`] at once, the others wait in the machine's backlog, and at
//! most [`PAGES_MAX`] pages of metrics are in memory; paths match exactly or not at all; nothing
//! here changes anything.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use std::{fmt, io};

use bytes::BytesMut;
use millrace_config::AdminListener;
use millrace_host::{Clock, Connection, Host, Listener, Mono, Piece, Pool, Rope};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::context::Node;
use crate::exposition;
use crate::health::Health;
use crate::metrics::Metrics;

/// Longest request head, in bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// From a connection's beginning to its end.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests served at once.
const EXCHANGES_MAX: usize = 16;
/// Pages of metrics that are made or sent at once: with ten thousand topics each is megabytes. The
/// next one waits, within its own time.
const PAGES_MAX: usize = 2;
/// Connections the machine may hold that were not accepted yet.
const BACKLOG: u32 = 16;
/// How long accepting pauses after a failure.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The address of the admin server cannot be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "the admin HTTP server cannot be bound to {address}: {source}. Choose another address by --set \
     admin.listener=127.0.0.1:PORT, or none by --set admin.listener="
)]
pub struct AdminError {
    address: SocketAddr,
    source: io::Error,
}

/// What is told here.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// What is counted, from the start of the start.
    pub(crate) metrics: Arc<Metrics>,
    /// Whether the node serves, and lives.
    pub(crate) health: Arc<Health>,
    /// The node, once there is one.
    pub(crate) node: Arc<OnceLock<Weak<Node>>>,
    /// Places of pages.
    pages: Arc<Semaphore>,
}

impl Subject {
    /// Of a node that is about to be.
    pub(crate) fn new(metrics: &Arc<Metrics>, health: &Arc<Health>) -> Self {
        Self {
            metrics: Arc::clone(metrics),
            health: Arc::clone(health),
            node: Arc::default(),
            pages: Arc::new(Semaphore::new(PAGES_MAX)),
        }
    }
}

/// The admin HTTP server of a node.
#[derive(Debug)]
pub(crate) struct AdminHttp {
    host: Host,
    subject: Subject,
    stop: CancellationToken,
    listener: Box<dyn Listener>,
}

impl AdminHttp {
    /// Binds. When the address is only the default one and is taken, any free port will do.
    pub(crate) async fn bind(
        host: &Host,
        config: &AdminListener,
        subject: Subject,
        stop: CancellationToken,
    ) -> Result<Self, AdminError> {
        let mut bound = host.net.listen(config.address, BACKLOG).await;
        let taken = matches!(&bound, Err(error) if error.kind() == io::ErrorKind::AddrInUse);
        if taken && config.is_default {
            bound = host
                .net
                .listen(SocketAddr::new(config.address.ip(), 0), BACKLOG)
                .await;
        }
        let listener = bound.map_err(|source| AdminError {
            address: config.address,
            source,
        })?;
        Ok(Self {
            host: host.clone(),
            subject,
            stop,
            listener,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Answers until told to stop.
    pub(crate) async fn run(mut self) {
        let exchanges = Arc::new(Semaphore::new(EXCHANGES_MAX));
        loop {
            let place = Arc::clone(&exchanges).acquire_owned().await;
            let place = place.expect("the semaphore of exchanges is never closed");
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let now = self.host.clock.now().mono;
            let Ok(connection) = accepted else {
                self.subject.metrics.accept_errors.inc();
                self.host.clock.sleep_until(now + ACCEPT_PAUSE).await;
                continue;
            };
            let answerer = Answerer(self.subject.clone());
            let clock = Arc::clone(&self.host.clock);
            let late = self.host.clock.sleep_until(now + EXCHANGE_TIMEOUT);
            let task = async move {
                tokio::select! {
                    biased;
                    done = exchange(connection, answerer, clock.as_ref()) => if let Err(error) = done {
                        tracing::debug!(%error, "an admin request got no answer");
                    },
                    () = late => {}
                }
                drop(place);
            };
            drop(
                self.host
                    .spawn
                    .spawn(Pool::Control, "admin request", Box::pin(task)),
            );
        }
    }
}

/// What the answers are made of.
struct Answerer(Subject);

struct Answer {
    status: &'static str,
    content_type: &'static str,
    body: Rope,
}

impl Answer {
    fn text(status: &'static str, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: rope(body.into()),
        }
    }
}

impl Answer {
    fn health(said: Result<String, String>) -> Self {
        match said {
            Ok(text) => Self::text("200 OK", text),
            Err(text) => Self::text("503 Service Unavailable", text),
        }
    }

    fn metrics(body: Rope) -> Self {
        Self {
            status: "200 OK",
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body,
        }
    }
}

fn rope(text: String) -> Rope {
    vec![Piece::Bytes(text.into())]
}

/// The head.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "HTTP/1.1 {}\r\ncontent-type: {}\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
             connection: close\r\n\r\n",
            self.status,
            self.content_type,
            self.body.iter().map(Piece::len).sum::<u64>(),
        )
    }
}

impl Answerer {
    fn node(&self) -> Option<Arc<Node>> {
        self.0.node.get()?.upgrade()
    }

    fn answer(&self, head: &[u8], now: Mono) -> Answer {
        let Some(path) = get_path(head) else {
            return Answer::text("405 Method Not Allowed", "only GET is answered here\n");
        };
        match path {
            b"/metrics" => Answer::metrics(match self.node() {
                Some(node) => exposition::page(&node),
                None => rope(self.0.metrics.text()),
            }),
            b"/metrics/partitions" => Answer::metrics(
                self.node()
                    .map_or_else(Rope::new, |node| exposition::partitions_page(&node)),
            ),
            b"/health/live" => Answer::health(self.0.health.live(now)),
            b"/health/ready" => Answer::health(self.0.health.ready(self.node().as_deref())),
            _ => Answer::text(
                "404 Not Found",
                "/metrics, /metrics/partitions, /health/live and /health/ready are here\n",
            ),
        }
    }
}

/// The path of a GET request, without its query; `None` for any other request.
fn get_path(head: &[u8]) -> Option<&[u8]> {
    let line = head.split(|byte| *byte == b'\r' || *byte == b'\n').next()?;
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if method != b"GET" || !version.starts_with(b"HTTP/1.") || words.next().is_some() {
        return None;
    }
    target.split(|byte| *byte == b'?').next()
}

async fn exchange(
    mut connection: Connection,
    answerer: Answerer,
    clock: &dyn Clock,
) -> io::Result<()> {
    let head = read_head(&mut connection).await?;
    let pages = Arc::clone(&answerer.0.pages);
    let page = match &head {
        Some(head) if is_page(head) => Some(pages.acquire().await),
        _ => None,
    };
    let answer = match head {
        Some(head) => answerer.answer(&head, clock.now().mono),
        None => Answer::text(
            "431 Request Header Fields Too Large",
            "the head is too long\n",
        ),
    };
    let mut rope = rope(answer.to_string());
    rope.extend(answer.body);
    connection.write.send(rope).await?;
    drop(page);
    connection.write.shutdown().await
}

/// Whether a page of metrics is asked for, which may be long.
fn is_page(head: &[u8]) -> bool {
    get_path(head).is_some_and(|path| path.starts_with(b"/metrics"))
}

/// Everything up to the empty line; `None` when that does not come within the limit.
async fn read_head(connection: &mut Connection) -> io::Result<Option<BytesMut>> {
    let mut head = BytesMut::new();
    while !ends_head(&head) {
        if head.len() == HEAD_BYTES_MAX {
            return Ok(None);
        }
        let limit = HEAD_BYTES_MAX - head.len();
        if connection.read.read(&mut head, limit.min(1024)).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Some(head))
}

fn ends_head(head: &[u8]) -> bool {
    head.windows(4).any(|bytes| bytes == b"\r\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Phase;

    fn status(ready: bool, head: &str) -> &'static str {
        let health = Arc::new(Health::new());
        if ready {
            health.enter(Phase::Serving);
        }
        let answerer = Answerer(Subject::new(&Arc::new(Metrics::new()), &health));
        answerer.answer(head.as_bytes(), Mono(1)).status
    }

    #[test]
    fn only_these_paths_are_answered_and_only_by_get() {
        let ok = [
            "/metrics",
            "/metrics?x=1",
            "/metrics/partitions",
            "/health/live",
            "/health/ready",
        ];
        for path in ok {
            assert_eq!(
                status(true, &format!("GET {path} HTTP/1.1\r\n\r\n")),
                "200 OK",
                "{path}"
            );
        }
        let missing = [
            "/",
            "/metrics/",
            "//metrics",
            "/x/metrics",
            "/health",
            "/metrics%20",
            "",
        ];
        for path in missing {
            let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
            assert_eq!(status(true, &head), "404 Not Found", "{path}");
        }
        let others = [
            "POST /metrics HTTP/1.1",
            "GET /metrics",
            "GET /metrics HTTP/2",
            "\0",
            "",
            "G",
        ];
        for line in others {
            let head = format!("{line}\r\n\r\n");
            assert_eq!(status(true, &head), "405 Method Not Allowed", "{line}");
        }
    }

    #[test]
    fn ready_only_when_the_node_is() {
        let head = "GET /health/ready HTTP/1.0\r\n\r\n";
        assert_eq!(status(false, head), "503 Service Unavailable");
        assert_eq!(status(true, head), "200 OK");
        assert_eq!(status(false, "GET /health/live HTTP/1.0\r\n\r\n"), "200 OK");
    }
}
