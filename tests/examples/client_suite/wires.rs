//! The machine's network with connections that can be cut, and bytes that are counted by the port they
//! come from.
//!
//! What always holds: a connection that was cut gives nothing more and takes nothing more, and is closed
//! once both of its halves have heard of it; the broker sees it end at any point of what was under way.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use millrace_host::{BoxFuture, Completion, Connection, Listener, Net, ReadHalf, Rope, WriteHalf};

/// A network whose connections can be cut.
#[derive(Clone, Debug)]
pub(crate) struct Wires {
    real: Arc<dyn Net>,
    lines: Arc<Mutex<Lines>>,
}

/// The open connections.
#[derive(Debug, Default)]
struct Lines {
    next: u64,
    open: BTreeMap<u64, Line>,
    /// Bytes that came, by the port that they came from.
    read: BTreeMap<u16, u64>,
    cut: usize,
}

#[derive(Debug, Default)]
struct Line {
    cut: bool,
    waker: Option<Waker>,
}

impl Wires {
    pub(crate) fn new(real: Arc<dyn Net>) -> Self {
        Self {
            real,
            lines: Arc::default(),
        }
    }

    /// Cuts every so many of the connections that are open.
    pub(crate) fn cut(&self, every: usize) {
        let mut lines = lock(&self.lines);
        let mut woken = Vec::new();
        for line in lines.open.values_mut().step_by(every) {
            line.cut = true;
            woken.extend(line.waker.take());
        }
        lines.cut += woken.len();
        drop(lines);
        woken.into_iter().for_each(Waker::wake);
    }

    /// How many connections were cut while somebody waited for something on them.
    pub(crate) fn cuts(&self) -> usize {
        lock(&self.lines).cut
    }

    /// Bytes that came from each port so far.
    pub(crate) fn read(&self) -> BTreeMap<u16, u64> {
        lock(&self.lines).read.clone()
    }
}

impl Net for Wires {
    fn listen(&self, addr: SocketAddr, backlog: u32) -> Completion<Box<dyn Listener>> {
        self.real.listen(addr, backlog)
    }

    fn connect(&self, addr: SocketAddr) -> Completion<Connection> {
        let (connecting, lines) = (self.real.connect(addr), Arc::clone(&self.lines));
        Box::pin(async move {
            let connection = connecting.await?;
            let id = {
                let mut all = lock(&lines);
                all.next += 1;
                let id = all.next;
                all.open.insert(id, Line::default());
                id
            };
            Ok(Connection {
                read: Box::new(Incoming {
                    id,
                    port: addr.port(),
                    lines: Arc::clone(&lines),
                    real: Some(connection.read),
                }),
                write: Box::new(Outgoing {
                    id,
                    lines,
                    real: Some(connection.write),
                }),
                ..connection
            })
        })
    }

    fn resolve(&self, host: &str, port: u16) -> Completion<Vec<SocketAddr>> {
        self.real.resolve(host, port)
    }
}

#[derive(Debug)]
struct Incoming {
    id: u64,
    port: u16,
    lines: Arc<Mutex<Lines>>,
    real: Option<Box<dyn ReadHalf>>,
}

impl ReadHalf for Incoming {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buf: &mut BytesMut,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        let mut lines = lock(&self.lines);
        match lines.open.get_mut(&self.id) {
            // Before the real one is asked, so that a cut between the two is heard.
            Some(line) if !line.cut => line.waker = Some(context.waker().clone()),
            _ => self.real = None,
        }
        drop(lines);
        let Some(real) = &mut self.real else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        let read = real.poll_read(context, buf, limit);
        if let Poll::Ready(Ok(count)) = &read {
            let mut lines = lock(&self.lines);
            *lines.read.entry(self.port).or_default() += *count as u64;
        }
        read
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        lock(&self.lines).open.remove(&self.id);
    }
}

#[derive(Debug)]
struct Outgoing {
    id: u64,
    lines: Arc<Mutex<Lines>>,
    real: Option<Box<dyn WriteHalf>>,
}

impl Outgoing {
    fn real(&mut self) -> io::Result<&mut Box<dyn WriteHalf>> {
        let is_open = {
            let lines = lock(&self.lines);
            lines.open.get(&self.id).is_some_and(|line| !line.cut)
        };
        if !is_open {
            self.real = None;
        }
        self.real
            .as_mut()
            .ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl WriteHalf for Outgoing {
    fn send(&mut self, rope: Rope) -> BoxFuture<'_, io::Result<()>> {
        match self.real() {
            Ok(real) => real.send(rope),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn shutdown(&mut self) -> BoxFuture<'_, io::Result<()>> {
        match self.real() {
            Ok(real) => real.shutdown(),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}

fn lock(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}
