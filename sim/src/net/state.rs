//! Every listener and connection of the world.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use bytes::Bytes;

use super::control::Drip;
use crate::faults;
use crate::world::{Shared, lock};

/// The whole network.
#[derive(Debug, Default)]
pub(crate) struct NetState {
    pub(crate) listeners: BTreeMap<SocketAddr, Listening>,
    pub(crate) conns: BTreeMap<u64, Conn>,
    /// Directions in which nothing arrives: from, to.
    pub(crate) stopped: BTreeMap<(String, String), Felt>,
    pub(crate) drips: BTreeMap<(String, String), (Drip, Felt)>,
    pub(crate) next_conn: u64,
    pub(crate) ports_given: u16,
}

/// Whether a fault of the network has held anything up yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Felt(Arc<AtomicBool>);

impl Felt {
    /// It has; counted the first time.
    pub(crate) fn feel(&self, shared: &Shared, fault: &'static str) {
        if !self.0.swap(true, Ordering::Relaxed) {
            shared.count(fault, 1);
        }
    }
}

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) node: String,
    pub(crate) process: u64,
    pub(crate) backlog: usize,
    pub(crate) queue: VecDeque<u64>,
    pub(crate) waker: Option<Waker>,
}

/// A connection: end 0 connected, end 1 was accepted; `pipes[n]` carries what end n sends.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) ends: [End; 2],
    /// End 0 has sent something since it last read: it waits for an answer.
    pub(crate) asked: bool,
    pub(crate) pipes: [Pipe; 2],
}

/// One side.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) node: String,
    pub(crate) addr: SocketAddr,
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// What was sent and not read, with the time at which it arrives, never falling.
    pub(crate) segments: VecDeque<(u64, Bytes)>,
    pub(crate) buffered: usize,
    /// When the last segment arrives; the next one not before.
    pub(crate) last_ns: u64,
    /// The stream ends here, at this time.
    pub(crate) fin_ns: Option<u64>,
    /// Both sides get this error from now on.
    pub(crate) broken: Option<io::ErrorKind>,
    /// The sender has no power: nothing arrives any more, not even an end.
    pub(crate) silent: bool,
    pub(crate) writer_open: bool,
    pub(crate) reader_open: bool,
    pub(crate) reader: Option<Waker>,
    pub(crate) writer: Option<Waker>,
}

impl Pipe {
    pub(crate) fn new() -> Self {
        Self {
            segments: VecDeque::new(),
            buffered: 0,
            last_ns: 0,
            fin_ns: None,
            broken: None,
            silent: false,
            writer_open: true,
            reader_open: true,
            reader: None,
            writer: None,
        }
    }

    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
    }
}

impl NetState {
    /// Connections between two nodes, in either direction.
    pub(crate) fn between(&self, a: &str, b: &str) -> Vec<u64> {
        let joins = |conn: &Conn| {
            let (x, y) = (conn.ends[0].node.as_str(), conn.ends[1].node.as_str());
            (x, y) == (a, b) || (x, y) == (b, a)
        };
        self.conns
            .iter()
            .filter(|(_, conn)| joins(conn))
            .map(|(id, _)| *id)
            .collect()
    }

    /// What holds back what end `end` of the connection sends.
    pub(crate) fn stops(&self, conn: &Conn, end: usize) -> Option<&Felt> {
        if self.stopped.is_empty() {
            return None;
        }
        let way = (conn.ends[end].node.clone(), conn.ends[1 - end].node.clone());
        self.stopped.get(&way)
    }

    /// The listener that a connection to `addr` reaches: of that address, or of all addresses.
    pub(crate) fn listener(&self, addr: SocketAddr) -> Option<SocketAddr> {
        if self.listeners.contains_key(&addr) {
            return Some(addr);
        }
        let all = |local: &&SocketAddr| local.port() == addr.port() && local.ip().is_unspecified();
        self.listeners.keys().find(all).copied()
    }

    /// Both halves of an end are gone.
    pub(crate) fn drop_end(&mut self, shared: &Shared, id: u64, end: usize) {
        self.drop_half(shared, id, end, false);
        self.drop_half(shared, id, end, true);
    }

    /// One half of an end was dropped. With both halves of both ends gone the connection is.
    pub(crate) fn drop_half(&mut self, shared: &Shared, id: u64, end: usize, write: bool) {
        let now = shared.now_ns();
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        if write {
            let pipe = &mut conn.pipes[end];
            pipe.writer_open = false;
            pipe.fin_ns.get_or_insert(pipe.last_ns.max(now));
        } else {
            conn.pipes[1 - end].reader_open = false;
        }
        let closed = !conn.pipes[end].writer_open && !conn.pipes[1 - end].reader_open;
        if closed {
            let incoming = &mut conn.pipes[1 - end];
            let unread = incoming.buffered > 0;
            incoming.segments.clear();
            incoming.buffered = 0;
            // Closing with unread bytes resets, as Linux does; the other side's writes fail.
            incoming.broken.get_or_insert(io::ErrorKind::BrokenPipe);
            if unread {
                conn.pipes[end]
                    .broken
                    .get_or_insert(io::ErrorKind::ConnectionReset);
            }
        }
        conn.pipes.iter_mut().for_each(Pipe::wake);
        let open = |pipe: &Pipe| pipe.writer_open || pipe.reader_open;
        if !conn.pipes.iter().any(open) {
            self.conns.remove(&id);
        }
    }
}

impl Conn {
    /// Somebody waits for an answer, or something is on its way.
    fn is_in_use(&self) -> bool {
        let open = self
            .pipes
            .iter()
            .all(|pipe| pipe.broken.is_none() && !pipe.silent);
        open && (self.asked || self.pipes.iter().any(|pipe| pipe.buffered > 0))
    }
}

/// Whether requests to a node are unanswered.
pub(crate) fn asked_of(shared: &Shared, node: &str) -> bool {
    let net = lock(&shared.net);
    let mut conns = net.conns.values();
    conns.any(|conn| conn.ends[1].node == node && conn.is_in_use())
}

/// Breaks a connection for both sides, as a fault.
pub(crate) fn cut_conn(shared: &Shared, net: &mut NetState, id: u64) {
    if net.conns.get(&id).is_some_and(Conn::is_in_use) {
        shared.count(faults::CUT, 1);
    }
    break_conn(shared, net, id);
}

/// Breaks a connection for both sides. What had arrived may still be read or not (drawn).
pub(crate) fn break_conn(shared: &Shared, net: &mut NetState, id: u64) {
    shared.event(format_args!("break connection {id}"));
    let Some(conn) = net.conns.get_mut(&id) else {
        return;
    };
    let now = shared.now_ns();
    for pipe in &mut conn.pipes {
        let arrived = pipe.segments.iter().filter(|(at, _)| *at <= now).count();
        let keep = shared.draw(arrived as u64 + 1) as usize;
        pipe.segments.truncate(keep);
        pipe.buffered = pipe.segments.iter().map(|(_, bytes)| bytes.len()).sum();
        pipe.broken = Some(io::ErrorKind::ConnectionReset);
        pipe.wake();
    }
}

/// Breaks a connection that nobody accepted.
pub(crate) fn refuse(shared: &Shared, net: &mut NetState, id: u64) {
    break_conn(shared, net, id);
    net.drop_end(shared, id, 1);
}

/// Lets every waiter look again.
pub(crate) fn wake_all(net: &mut NetState) {
    for conn in net.conns.values_mut() {
        conn.pipes.iter_mut().for_each(Pipe::wake);
    }
}

/// The process on a node has ended: by a kill, which closes its connections, or without power,
/// which leaves its peers with half-open ones.
pub(crate) fn end_process(shared: &Arc<Shared>, node: &str, power_cut: bool) {
    let mut net = lock(&shared.net);
    let mut refused: Vec<u64> = Vec::new();
    net.listeners.retain(|_, listening| {
        let dies = listening.node == node;
        if dies {
            refused.extend(listening.queue.drain(..));
        }
        !dies
    });
    let ids: Vec<u64> = net.conns.keys().copied().collect();
    for id in ids {
        for end in 0..2 {
            let Some(conn) = net.conns.get_mut(&id) else {
                break;
            };
            let open = conn.pipes[end].writer_open || conn.pipes[1 - end].reader_open;
            if conn.ends[end].node != node || !open {
                continue;
            }
            if power_cut && conn.ends[1 - end].node != node {
                shared.count(faults::HALF_OPEN, u64::from(conn.is_in_use()));
                conn.pipes[end].silent = true;
                break_later(shared, id, end);
            } else {
                net.drop_end(shared, id, end);
            }
        }
    }
    for id in refused {
        refuse(shared, &mut net, id);
    }
}

/// The peer of a dead machine learns of it much later.
fn break_later(shared: &Arc<Shared>, id: u64, dead_end: usize) {
    let after = shared.draw_us(shared.options.net.half_open_us);
    let at = shared.now_ns() + after.as_nanos() as u64;
    let task_shared = Arc::clone(shared);
    let run = shared.handle.spawn(async move {
        task_shared.sleep_until(at).await;
        let mut net = lock(&task_shared.net);
        break_conn(&task_shared, &mut net, id);
        net.drop_end(&task_shared, id, dead_end);
    });
    drop(run);
}
