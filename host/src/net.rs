//! Connections: pooled reads in, ropes of bytes and file slices out.
//!
//! What always holds: bytes of one direction arrive in order, once, or the connection ends; a
//! `send` that returned `Ok` promises only that the bytes were handed to the machine. A cut shows
//! itself as an end of stream or an error, on either side, at any later time.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};

use crate::sync::Arc;
use crate::sync::atomic::{AtomicBool, Ordering};
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
    /// Once withdrawn nothing more of it is sent, and the send fails.
    pub vouched: Vouched,
}

impl FileSlice {
    /// Its bytes, fewer at the end of the file; an error where nobody vouches for them any more.
    pub async fn read(&self) -> io::Result<Bytes> {
        let len = usize::try_from(self.len).map_err(|_| io::ErrorKind::InvalidInput)?;
        let bytes = self.file.read_at(self.offset, len).await?;
        self.vouched.check()?;
        Ok(bytes)
    }
}

/// Whether somebody vouches for what files hold. Shared by their owner, who withdraws it when the
/// machine may have lost bytes of them, and by everyone who sends from them: after a failed sync a
/// read may find old bytes, or none, in place of what was written.
#[derive(Clone, Debug, Default)]
pub struct Vouched(Arc<AtomicBool>);

impl Vouched {
    /// Nobody vouches for them any more, for good.
    pub fn withdraw(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// An error once that is so: to be asked after a read as well, whose bytes it speaks for.
    pub fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Acquire) {
            let why = "the log directory failed while records were read from it: what is left in \
                       the page cache is not known to be what was written";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(())
    }
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
