//! The network of the world: connections in memory with drawn latency, bounded buffers, cuts.

pub(crate) mod control;
mod halves;
pub(crate) mod state;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;

use millrace_host::{BoxFuture, Completion, Connection, Listener, Net};

use crate::faults;
use crate::node::Node;
use crate::world::lock;
use halves::{SimRead, SimWrite};
use state::{Conn, End, Listening, NetState, Pipe};

/// First of the ports given for port 0.
const PORTS_FROM: u16 = 40_000;

/// How long a connection attempt waits before it tries again.
const CONNECT_AGAIN_NS: u64 = 500_000_000;

/// The network as one process sees it. All nodes share one set of addresses, as on one machine.
#[derive(Debug)]
pub(crate) struct SimNet {
    pub(crate) node: Arc<Node>,
    pub(crate) process: u64,
}

fn ended() -> io::Error {
    io::Error::other("this process of the simulated node has ended")
}

/// A port of the range that no listener has.
fn free_port(net: &mut NetState) -> u16 {
    loop {
        let port = PORTS_FROM + net.ports_given % 20_000;
        net.ports_given = net.ports_given.wrapping_add(1);
        if net.listeners.keys().all(|addr| addr.port() != port) {
            return port;
        }
    }
}

fn bind(
    node: &Arc<Node>,
    process: u64,
    mut addr: SocketAddr,
    backlog: u32,
) -> io::Result<Box<dyn Listener>> {
    if !node.runs(process) {
        return Err(ended());
    }
    let mut net = lock(&node.shared.net);
    if addr.port() == 0 {
        addr.set_port(free_port(&mut net));
    }
    let taken = |local: &SocketAddr| {
        let overlaps = local.ip().is_unspecified() || addr.ip().is_unspecified();
        local.port() == addr.port() && (local.ip() == addr.ip() || overlaps)
    };
    if net.listeners.keys().any(taken) {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    let listening = Listening {
        node: node.name.clone(),
        process,
        backlog: backlog.max(1) as usize,
        queue: std::collections::VecDeque::new(),
        waker: None,
    };
    net.listeners.insert(addr, listening);
    node.shared
        .event(format_args!("listen {} {addr}", node.name));
    Ok(Box::new(SimListener {
        node: Arc::clone(node),
        process,
        addr,
    }))
}

/// What came of one try to connect.
enum Attempt {
    Made(Connection),
    Refused,
    Unanswered,
}

fn attempt(node: &Arc<Node>, process: u64, to: SocketAddr) -> Attempt {
    let shared = &node.shared;
    let mut net = lock(&shared.net);
    let Some(at) = net.listener(to) else {
        return Attempt::Refused;
    };
    let id = net.next_conn;
    let from = SocketAddr::new(source_ip(to), 60_000 + (id % 5000) as u16);
    let target = &net.listeners[&at];
    let way = (node.name.clone(), target.node.clone());
    let back = (way.1.clone(), way.0.clone());
    let full = target.queue.len() >= target.backlog;
    let stopped = [&way, &back]
        .into_iter()
        .find_map(|way| net.stopped.get(way));
    if let Some(stopped) = stopped {
        stopped.feel(shared, faults::PARTITION);
    }
    if full || stopped.is_some() {
        return Attempt::Unanswered;
    }
    let server = End {
        node: target.node.clone(),
        addr: to,
    };
    let client = End {
        node: node.name.clone(),
        addr: from,
    };
    net.next_conn += 1;
    net.conns.insert(
        id,
        Conn {
            ends: [client, server],
            asked: false,
            pipes: [Pipe::new(), Pipe::new()],
        },
    );
    if let Some(target) = net.listeners.get_mut(&at) {
        target.queue.push_back(id);
        if let Some(waker) = target.waker.take() {
            waker.wake();
        }
    }
    shared.event(format_args!("connect {} {from} to {to}: {id}", node.name));
    Attempt::Made(halves(node, process, id, 0, (from, to)))
}

/// The address that a connection comes from: loopback of the same family.
fn source_ip(to: SocketAddr) -> IpAddr {
    match to.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
    }
}

fn halves(
    node: &Arc<Node>,
    process: u64,
    id: u64,
    end: usize,
    (local, peer): (SocketAddr, SocketAddr),
) -> Connection {
    Connection {
        read: Box::new(SimRead::new(node, process, id, end)),
        write: Box::new(SimWrite::new(node, process, id, end)),
        peer,
        local,
    }
}

impl Net for SimNet {
    fn listen(&self, addr: SocketAddr, backlog: u32) -> Completion<Box<dyn Listener>> {
        Box::pin(std::future::ready(bind(
            &self.node,
            self.process,
            addr,
            backlog,
        )))
    }

    fn connect(&self, addr: SocketAddr) -> Completion<Connection> {
        let (node, process) = (Arc::clone(&self.node), self.process);
        let shared = Arc::clone(&node.shared);
        let latency = shared.draw_us(shared.options.net.latency_us);
        let timeout = shared.options.net.connect_timeout;
        shared.start(async move {
            let shared = &node.shared;
            let began = shared.now_ns();
            shared.sleep_until(began + latency.as_nanos() as u64).await;
            loop {
                if !node.runs(process) {
                    return Err(ended());
                }
                match attempt(&node, process, addr) {
                    Attempt::Made(connection) => return Ok(connection),
                    Attempt::Refused => return Err(io::ErrorKind::ConnectionRefused.into()),
                    Attempt::Unanswered => {}
                }
                let now = shared.now_ns();
                if u128::from(now - began) >= timeout.as_nanos() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                shared.sleep_until(now + CONNECT_AGAIN_NS).await;
            }
        })
    }

    /// Knows numbers and `localhost`.
    fn resolve(&self, host: &str, port: u16) -> Completion<Vec<SocketAddr>> {
        let ip = if host == "localhost" {
            Ok(IpAddr::V4(Ipv4Addr::LOCALHOST))
        } else {
            host.parse::<IpAddr>()
                .map_err(|_| io::Error::from(io::ErrorKind::NotFound))
        };
        Box::pin(std::future::ready(
            ip.map(|ip| vec![SocketAddr::new(ip, port)]),
        ))
    }
}

#[derive(Debug)]
struct SimListener {
    node: Arc<Node>,
    process: u64,
    addr: SocketAddr,
}

impl Listener for SimListener {
    fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Connection>> {
        Box::pin(std::future::poll_fn(|cx| {
            if !self.node.runs(self.process) {
                return Poll::Ready(Err(ended()));
            }
            let mut net = lock(&self.node.shared.net);
            let Some(listening) = net.listeners.get_mut(&self.addr) else {
                return Poll::Ready(Err(ended()));
            };
            let Some(id) = listening.queue.pop_front() else {
                listening.waker = Some(cx.waker().clone());
                return Poll::Pending;
            };
            let Some(conn) = net.conns.get(&id) else {
                // Gone before it was accepted: the next look finds the next one.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            };
            let addrs = (conn.ends[1].addr, conn.ends[0].addr);
            self.node
                .shared
                .event(format_args!("accept {} {id}", self.node.name));
            Poll::Ready(Ok(halves(&self.node, self.process, id, 1, addrs)))
        }))
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        let mut net = lock(&self.node.shared.net);
        let ours = |it: &Listening| it.node == self.node.name && it.process == self.process;
        if !net.listeners.get(&self.addr).is_some_and(ours) {
            return;
        }
        if let Some(listening) = net.listeners.remove(&self.addr) {
            for id in listening.queue {
                state::refuse(&self.node.shared, &mut net, id);
            }
        }
    }
}
