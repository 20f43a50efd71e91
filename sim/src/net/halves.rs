//! The two halves of a simulated connection.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use millrace_host::{BoxFuture, FileSlice, Piece, ReadHalf, Rope, WriteHalf};

use super::ended;
use super::state::cut_conn;
use crate::disk::device_error;
use crate::disk::planted::{DiskEffect, DiskOp};
use crate::faults;
use crate::node::Node;
use crate::world::lock;

/// File bytes read at a time while sending.
const FILE_CHUNK_BYTES: u64 = 256 << 10;

/// Which end of which connection a half belongs to, and whose it is.
#[derive(Debug)]
struct Place {
    node: Arc<Node>,
    process: u64,
    id: u64,
    end: usize,
}

impl Place {
    fn drop_half(&self, write: bool) {
        // A dead process's ends were closed, or fell silent, when it died.
        if self.node.runs(self.process) {
            lock(&self.node.shared.net).drop_half(&self.node.shared, self.id, self.end, write);
        }
    }
}

type Sleep = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// The incoming direction.
pub(super) struct SimRead {
    place: Place,
    /// Wakes when the first segment on its way arrives.
    arrival: Option<(u64, Sleep)>,
}

impl SimRead {
    pub(super) fn new(node: &Arc<Node>, process: u64, id: u64, end: usize) -> Self {
        Self {
            place: Place {
                node: Arc::clone(node),
                process,
                id,
                end,
            },
            arrival: None,
        }
    }

    /// Pending until `at_ns`; the waker of `cx` is told then.
    fn wait_until(&mut self, cx: &mut Context<'_>, at_ns: u64) -> Poll<()> {
        if self.arrival.as_ref().is_none_or(|(at, _)| *at != at_ns) {
            let sleep = self.place.node.shared.sleep_until(at_ns);
            self.arrival = Some((at_ns, Box::pin(sleep)));
        }
        match &mut self.arrival {
            Some((_, sleep)) => sleep.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }

    /// Reads if there is something to read; else `Err` with when there will be (`None`: unknown).
    fn try_read(
        &self,
        cx: &Context<'_>,
        buf: &mut BytesMut,
        limit: usize,
    ) -> Result<io::Result<usize>, Option<u64>> {
        let Place {
            node,
            process,
            id,
            end,
        } = &self.place;
        if !node.runs(*process) {
            return Ok(Err(ended()));
        }
        let now = node.shared.now_ns();
        let mut net = lock(&node.shared.net);
        let from = 1 - *end;
        let Some(conn) = net.conns.get(id) else {
            return Ok(Err(io::ErrorKind::ConnectionReset.into()));
        };
        let stopped = net.stops(conn, from).cloned();
        let Some(conn) = net.conns.get_mut(id) else {
            return Err(None);
        };
        if let Some(stopped) = stopped.as_ref().filter(|_| conn.pipes[from].buffered > 0) {
            stopped.feel(&node.shared, faults::PARTITION);
        }
        let pipe = &mut conn.pipes[from];
        pipe.reader = Some(cx.waker().clone());
        if pipe.broken.is_none() && (stopped.is_some() || pipe.silent) {
            return Err(None);
        }
        let Some((at, bytes)) = pipe.segments.front_mut() else {
            return match (pipe.broken, pipe.fin_ns) {
                (Some(kind), _) => Ok(Err(kind.into())),
                (None, Some(fin)) if fin <= now => Ok(Ok(0)),
                (None, fin) => Err(fin),
            };
        };
        if *at > now {
            return Err(Some(*at));
        }
        let most = bytes.len().min(limit);
        // Half of the reads get all there is, the others a drawn part.
        let count = match node.shared.draw(2) {
            0 => most,
            _ => 1 + node.shared.draw(most as u64) as usize,
        };
        buf.extend_from_slice(&bytes[..count]);
        bytes.advance(count);
        if bytes.is_empty() {
            pipe.segments.pop_front();
        }
        pipe.buffered -= count;
        conn.asked &= *end != 0;
        if let Some(writer) = conn.pipes[from].writer.take() {
            writer.wake();
        }
        node.shared
            .event(format_args!("read {} {id} {count}", node.name));
        Ok(Ok(count))
    }
}

impl ReadHalf for SimRead {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut BytesMut,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        if limit == 0 {
            return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
        }
        loop {
            match self.try_read(cx, buf, limit) {
                Ok(read) => return Poll::Ready(read),
                Err(None) => return Poll::Pending,
                Err(Some(at)) => std::task::ready!(self.wait_until(cx, at)),
            }
        }
    }
}

impl Drop for SimRead {
    fn drop(&mut self) {
        self.place.drop_half(false);
    }
}

impl std::fmt::Debug for SimRead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimRead")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// The outgoing direction.
#[derive(Debug)]
pub(super) struct SimWrite {
    place: Place,
}

impl SimWrite {
    pub(super) fn new(node: &Arc<Node>, process: u64, id: u64, end: usize) -> Self {
        Self {
            place: Place {
                node: Arc::clone(node),
                process,
                id,
                end,
            },
        }
    }

    /// Puts one segment of `bytes` on its way, when there is room.
    fn poll_push(&self, cx: &Context<'_>, bytes: &mut Bytes) -> Poll<io::Result<()>> {
        let Place {
            node,
            process,
            id,
            end,
        } = &self.place;
        if !node.runs(*process) {
            return Poll::Ready(Err(ended()));
        }
        let shared = &node.shared;
        let options = &shared.options.net;
        let now = shared.now_ns();
        let mut net = lock(&shared.net);
        if let Some(conn) = net.conns.get_mut(id) {
            conn.asked |= *end == 0;
        }
        if options.break_per_10k > 0 && shared.draw(10_000) < u64::from(options.break_per_10k) {
            cut_conn(shared, &mut net, *id);
        }
        let Some(conn) = net.conns.get(id) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let way = (
            conn.ends[*end].node.clone(),
            conn.ends[1 - end].node.clone(),
        );
        let drip = net.drips.get(&way).cloned();
        let Some(conn) = net.conns.get_mut(id) else {
            return Poll::Pending;
        };
        let pipe = &mut conn.pipes[*end];
        if let Some(kind) = pipe.broken {
            return Poll::Ready(Err(kind.into()));
        }
        if !pipe.writer_open || pipe.fin_ns.is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = options.buffer_bytes.saturating_sub(pipe.buffered);
        if room == 0 {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let most = drip
            .as_ref()
            .map_or(options.segment_bytes, |(drip, _)| drip.bytes);
        let most = most.max(1);
        let count = bytes.len().min(room).min(most);
        let mut delay = shared.draw_us(options.latency_us);
        let mut at = now;
        if let Some((drip, felt)) = drip {
            felt.feel(shared, faults::DRIP);
            at = at.max(pipe.last_ns);
            delay = delay.max(drip.every);
        }
        at = (at + as_ns(delay)).max(pipe.last_ns);
        pipe.last_ns = at;
        pipe.segments.push_back((at, bytes.split_to(count)));
        pipe.buffered += count;
        if let Some(reader) = pipe.reader.take() {
            reader.wake();
        }
        shared.event(format_args!("send {} {id} {count}", node.name));
        Poll::Ready(Ok(()))
    }

    async fn send_bytes(&self, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            std::future::poll_fn(|cx| self.poll_push(cx, &mut bytes)).await?;
        }
        Ok(())
    }

    async fn send_file(&self, slice: &FileSlice) -> io::Result<()> {
        let Place { node, .. } = &self.place;
        let failure = send_failure(node, slice.file.path());
        let upto = match failure {
            Some(_) => ends_early(node, slice.len),
            None => slice.len,
        };
        let mut done = 0;
        while done < upto {
            let count = (upto - done).min(FILE_CHUNK_BYTES);
            let bytes = slice
                .file
                .read_at(slice.offset + done, count as usize)
                .await?;
            if bytes.is_empty() {
                return Err(cut_short(slice.file.path()));
            }
            slice.vouched.check()?;
            done += bytes.len() as u64;
            self.send_bytes(bytes).await?;
        }
        failure.map_or_else(|| slice.vouched.check(), Err)
    }
}

/// What a region that is sent from this file meets, if it is struck.
fn send_failure(node: &Node, path: &Path) -> Option<io::Error> {
    let name = path.to_string_lossy();
    let chance = |per_mille| node.shared.chance(per_mille);
    let struck = lock(&node.disk).faults.strike(DiskOp::Send, &name, chance);
    let error = match struck?.1 {
        DiskEffect::Error => device_error(),
        DiskEffect::Short => cut_short(path),
        DiskEffect::NoSpace
        | DiskEffect::Slow(_)
        | DiskEffect::Hang
        | DiskEffect::Misdirect
        | DiskEffect::FlipBit => return None,
    };
    node.shared.count(faults::SEND_ERROR, 1);
    node.shared
        .event(format_args!("send fails {} {name}: {error}", node.name));
    Some(error)
}

/// Where a region that is struck ends: anywhere, half of the time near its end.
fn ends_early(node: &Node, len: u64) -> u64 {
    let near = len.saturating_sub(64) * node.shared.draw(2);
    near + node.shared.draw(len - near)
}

fn cut_short(path: &Path) -> io::Error {
    let path = path.display();
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!("{path} ends before what was promised to the other side"),
    )
}

fn as_ns(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

impl WriteHalf for SimWrite {
    fn send(&mut self, rope: Rope) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            for piece in rope {
                match piece {
                    Piece::Bytes(bytes) => self.send_bytes(bytes).await?,
                    Piece::File(slice) => self.send_file(&slice).await?,
                }
            }
            Ok(())
        })
    }

    fn shutdown(&mut self) -> BoxFuture<'_, io::Result<()>> {
        let Place {
            node,
            process,
            id,
            end,
        } = &self.place;
        let now = node.shared.now_ns();
        if node.runs(*process)
            && let Some(conn) = lock(&node.shared.net).conns.get_mut(id)
        {
            let pipe = &mut conn.pipes[*end];
            pipe.fin_ns.get_or_insert(pipe.last_ns.max(now));
            if let Some(reader) = pipe.reader.take() {
                reader.wake();
            }
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Drop for SimWrite {
    fn drop(&mut self) {
        self.place.drop_half(true);
    }
}
