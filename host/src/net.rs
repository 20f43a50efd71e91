//! Connections: pooled reads in, ropes of bytes and file slices out.
//!
//! What always holds: bytes of one direction arrive in order, once, or the connection ends; a
//! `send` that returned `Ok` promises only that the bytes were handed to the machine. A cut shows
//! itself as an end of stream or an error, on either side, at any later time.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};

use crate::{BoxFuture, Completion, File};

/// A range of a file, to be sent without passing through the process where the transport can.
#[derive(Clone, Debug)]
pub struct FileSlice {
    /// The file; kept alive until the slice is sent.
    pub file: Arc<dyn File>,
    /// First byte.
    pub offset: u64,
    /// How many bytes. A file that comes up short after its length was promised closes the
    /// connection.
    pub len: u64,
}

/// One part of what a connection sends.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes in a file.
    File(FileSlice),
}

impl Piece {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(slice) => slice.len,
        }
    }

    /// `true` when there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What one reply is made of, in order.
pub type Rope = Vec<Piece>;

/// The network of one node.
pub trait Net: fmt::Debug + Send + Sync {
    /// Binds and listens. Port 0 takes a free one, told by [`Listener::local_addr`]. `backlog` is
    /// the number of connections the machine may hold that were not accepted yet.
    fn listen(&self, addr: SocketAddr, backlog: u32) -> Completion<Box<dyn Listener>>;

    /// Connects.
    fn connect(&self, addr: SocketAddr) -> Completion<Connection>;

    /// Looks a host name up.
    fn resolve(&self, host: &str, port: u16) -> Completion<Vec<SocketAddr>>;
}

/// A listening socket. Dropping it closes it.
pub trait Listener: fmt::Debug + Send + Sync {
    /// The bound address, with the real port.
    fn local_addr(&self) -> SocketAddr;

    /// Waits for the next connection. Cancel-safe. Fails with `QuotaExceeded` when one was closed at
    /// once, since it would hold one of the descriptors that are kept for files: the next may come.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Connection>>;
}

/// An open connection, split so that reading and sending go on at the same time. Dropping both
/// halves closes it; dropping the write half ends the outgoing stream.
#[derive(Debug)]
pub struct Connection {
    /// Incoming bytes.
    pub read: Box<dyn ReadHalf>,
    /// Outgoing bytes.
    pub write: Box<dyn WriteHalf>,
    /// The address of the other side.
    pub peer: SocketAddr,
    /// The address of this side.
    pub local: SocketAddr,
}

/// The incoming direction.
pub trait ReadHalf: fmt::Debug + Send + Sync {
    /// Reads what is there into the spare capacity of `buf`, at most `limit` bytes, and says how
    /// many; 0 at the end of the stream. `limit` must be greater than 0. The implementation
    /// reserves capacity itself (up to `limit`) when `buf` has none.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut BytesMut,
        limit: usize,
    ) -> Poll<io::Result<usize>>;
}

/// The outgoing direction.
pub trait WriteHalf: fmt::Debug + Send + Sync {
    /// Sends all of `rope`, in order. Not cancel-safe: after dropping the future half-way the
    /// connection must be closed. Resident file bytes are sent on the worker in chunks; others
    /// are waited for on the cold pool, one at a time per connection.
    fn send(&mut self, rope: Rope) -> BoxFuture<'_, io::Result<()>>;

    /// Ends the outgoing stream after what was sent before.
    fn shutdown(&mut self) -> BoxFuture<'_, io::Result<()>>;
}

impl dyn ReadHalf {
    /// [`ReadHalf::poll_read`] as a future. Cancel-safe.
    pub async fn read(&mut self, buf: &mut BytesMut, limit: usize) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_read(cx, buf, limit)).await
    }
}
