//! Where clients and operators reach the node, and the limits on connections and requests. Every
//! queue between a socket and a handler has its bound here.

use std::net::SocketAddr;
use std::time::Duration;

use crate::error::{ConfigError, Source};
use crate::key::{Check, Key, Kind};
use crate::listener::{self, Listener};
use crate::values::Values;

const PER_IP: &str = "max.connections.per.ip";
const OVERRIDES: &str = "max.connections.per.ip.overrides";

pub(crate) const KEYS: &[Key] = &[
    Key::kafka(
        "socket.request.max.bytes",
        Kind::Int,
        Some("104857600"),
        "Most bytes in one request; a larger one closes its connection.",
    )
    .check(Check::AtLeast(1)),
    Key::kafka(
        "socket.listen.backlog.size",
        Kind::Int,
        Some("50"),
        "Most connections that the machine holds before the broker accepts them.",
    )
    .check(Check::AtLeast(1)),
    Key::kafka(
        "max.connections",
        Kind::Int,
        Some("2147483647"),
        "Most connections at once.",
    )
    .check(Check::AtLeast(1))
    .dynamic(),
    Key::kafka(
        PER_IP,
        Kind::Int,
        Some("2147483647"),
        "Most connections at once from one address.",
    )
    .check(Check::AtLeast(0))
    .dynamic(),
    Key::kafka(
        OVERRIDES,
        Kind::Text,
        Some(""),
        "Other limits than max.connections.per.ip for some addresses, as HOST:COUNT, several \
         separated by commas: 127.0.0.1:200,host-2.example:0. A name stands for each of its addresses.",
    )
    .dynamic(),
    // Kafka takes 0 too, which lets nobody in.
    Key::kafka(
        "max.connection.creation.rate",
        Kind::Int,
        Some("2147483647"),
        "Most connections accepted in a second; past it, others wait to be accepted.",
    )
    .check(Check::AtLeast(1))
    .dynamic(),
    Key::kafka(
        "connections.max.idle.ms",
        Kind::Long,
        Some("600000"),
        "A connection without a request for this long is closed.",
    )
    .check(Check::AtLeast(1)),
    // Kafka's default is -1, no limit. Here memory for requests always has a bound.
    Key::kafka(
        "queued.max.request.bytes",
        Kind::Long,
        Some("268435456"),
        "Most bytes of requests in progress, on all connections together.",
    )
    .check(Check::AtLeast(1)),
    Key::own(
        "connection.requests.max",
        Kind::Int,
        "64",
        "Most requests in progress on one connection; past it, the connection is not read.",
    )
    .check(Check::AtLeast(1)),
    Key::own(
        "connection.request.bytes.max",
        Kind::Long,
        "67108864",
        "Most bytes in progress on one connection; a larger request is served alone.",
    )
    .check(Check::AtLeast(1 << 16)),
    Key::own(
        "queued.response.bytes.max",
        Kind::Long,
        "134217728",
        "Most memory of long answers in progress, on all connections together; a longer one is \
         built alone.",
    )
    .check(Check::AtLeast(1 << 20)),
    Key::own(
        "request.read.timeout.ms",
        Kind::Long,
        "30000",
        "A request that was begun and has not arrived whole after this time closes its connection.",
    )
    .check(Check::Between(1, 3_600_000)),
    Key::own(
        "request.wait.max.ms",
        Kind::Long,
        "300000",
        "Longest wait that a client may ask for in a produce or fetch request; more is cut to it.",
    )
    .check(Check::Between(1, 3_600_000)),
    Key::own(
        "request.slow.ms",
        Kind::Long,
        "1000",
        "A request that takes longer is told of in the log and counted, its wait for data that a \
         fetch asks for left out; -1 tells of none.",
    )
    .check(Check::UnlimitedOrAtLeast(0))
    .dynamic(),
    Key::own(
        "admin.listener",
        Kind::Text,
        "127.0.0.1:9644",
        "Address of /metrics and /health over HTTP; port 0 takes a free one, empty is off.",
    ),
];

/// Where the admin HTTP server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminListener {
    /// The address; port 0 takes a free one.
    pub address: SocketAddr,
    /// Nobody asked for this address. When it is taken, another free port is as good, so that a
    /// second node starts without naming one; an address that was asked for must be had.
    pub is_default: bool,
}

/// Sockets and requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfig {
    /// `listeners` with `advertised.listeners`: at least one, names and addresses distinct.
    pub listeners: Vec<Listener>,
    /// `admin.listener`; `None` is off.
    pub admin: Option<AdminListener>,
    /// `socket.request.max.bytes`: largest frame, its length field not counted.
    pub request_bytes_max: u32,
    /// `socket.listen.backlog.size`.
    pub backlog: u32,
    /// `max.connections`.
    pub connections_max: u32,
    /// `max.connections.per.ip`.
    pub connections_per_ip_max: u32,
    /// `max.connections.per.ip.overrides`: addresses or names of hosts, without brackets, and how many
    /// connections each may have.
    pub connections_per_ip_overrides: Vec<(String, u32)>,
    /// `max.connection.creation.rate`: in a second.
    pub connection_creation_rate: u32,
    /// `connections.max.idle.ms`.
    pub idle_timeout: Duration,
    /// `queued.max.request.bytes`: the budget from which a frame reserves its length before its
    /// body is read. At least `request_bytes_max`.
    pub queued_bytes_max: u64,
    /// `connection.requests.max`.
    pub connection_requests_max: u32,
    /// `connection.request.bytes.max`.
    pub connection_bytes_max: u64,
    /// `queued.response.bytes.max`: the budget from which a long answer reserves its memory before
    /// it is built.
    pub response_bytes_max: u64,
    /// `request.read.timeout.ms`: from a frame's first byte to its last, the wait for the budget
    /// included. A client that holds room for answers for which others wait has as long to take
    /// them.
    pub read_timeout: Duration,
    /// `request.wait.max.ms`: cap on the waits that clients ask for.
    pub wait_max: Duration,
    /// `request.slow.ms`; `None` tells of no request.
    pub slow_after: Option<Duration>,
}

impl NetworkConfig {
    pub(crate) fn read(values: &Values) -> Result<Self, ConfigError> {
        Ok(Self {
            listeners: listener::read(values)?,
            admin: admin(values)?,
            request_bytes_max: values.count32("socket.request.max.bytes"),
            backlog: values.count32("socket.listen.backlog.size"),
            connections_max: values.count32("max.connections"),
            connections_per_ip_max: values.count32(PER_IP),
            connections_per_ip_overrides: overrides(values)?,
            connection_creation_rate: values.count32("max.connection.creation.rate"),
            idle_timeout: values.millis("connections.max.idle.ms"),
            queued_bytes_max: values.count("queued.max.request.bytes"),
            connection_requests_max: values.count32("connection.requests.max"),
            connection_bytes_max: values.count("connection.request.bytes.max"),
            response_bytes_max: values.count("queued.response.bytes.max"),
            read_timeout: values.millis("request.read.timeout.ms"),
            wait_max: values.millis("request.wait.max.ms"),
            slow_after: u64::try_from(values.number("request.slow.ms"))
                .ok()
                .map(Duration::from_millis),
        })
    }
}

/// Behind the last colon stands the count, so that an IPv6 address needs no brackets, as Kafka's.
fn overrides(values: &Values) -> Result<Vec<(String, u32)>, ConfigError> {
    const RULE: &str = "HOST:COUNT, several separated by commas, each host once, as \
                        127.0.0.1:200,host-2.example:0";
    let text = values.text(OVERRIDES).unwrap_or_default();
    let mut overrides: Vec<(String, u32)> = Vec::new();
    for item in text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
    {
        let read = || {
            let (host, count) = item.rsplit_once(':')?;
            let host = host.trim();
            let inner = host
                .strip_prefix('[')
                .and_then(|host| host.strip_suffix(']'));
            let host = inner.unwrap_or(host);
            let count: i32 = count.trim().parse().ok()?;
            Some((host, u32::try_from(count).ok()?))
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '%' | ':');
        let read = read().filter(|(host, _)| !host.is_empty() && host.chars().all(fits));
        let (host, count) = read.ok_or_else(|| values.refuse(OVERRIDES, RULE))?;
        if overrides.iter().any(|(other, _)| other == host) {
            return Err(values.refuse(OVERRIDES, RULE));
        }
        overrides.push((host.to_owned(), count));
    }
    // As Kafka: else nobody would get in.
    if overrides.is_empty() && values.number(PER_IP) == 0 {
        let rule = "0 only when max.connections.per.ip.overrides lets somebody in";
        return Err(values.refuse(PER_IP, rule));
    }
    Ok(overrides)
}

fn admin(values: &Values) -> Result<Option<AdminListener>, ConfigError> {
    const KEY: &str = "admin.listener";
    let Some(text) = values.text(KEY).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let address = text.parse().map_err(|_| {
        values.refuse(
            KEY,
            "ADDRESS:PORT with a numeric address, as 127.0.0.1:9644, or nothing",
        )
    })?;
    let is_default = values
        .setting(KEY)
        .is_none_or(|set| set.source == Source::Default);
    Ok(Some(AdminListener {
        address,
        is_default,
    }))
}
