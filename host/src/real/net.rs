//! TCP: connecting, and the two halves of a connection.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, BytesMut};
use rustix::net::{Shutdown, shutdown};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use super::listen;
use super::pools::Pools;
use super::send::send;
use crate::{BoxFuture, Completion, Connection, Listener, Net, ReadHalf, Rope, WriteHalf};

/// The machine's network. Sockets belong to the Data runtime, whoever asks.
#[derive(Debug)]
pub(super) struct RealNet {
    data: Handle,
    pools: Arc<Pools>,
    descriptor_reserve: u64,
}

impl RealNet {
    pub(super) fn new(data: Handle, pools: Arc<Pools>, descriptor_reserve: u64) -> Self {
        Self {
            data,
            pools,
            descriptor_reserve,
        }
    }
}

impl Net for RealNet {
    fn listen(&self, addr: SocketAddr, backlog: u32) -> Completion<Box<dyn Listener>> {
        let _runtime = self.data.enter();
        let listener = listen::bind(
            (addr, backlog),
            Arc::clone(&self.pools),
            self.descriptor_reserve,
        );
        Box::pin(std::future::ready(listener))
    }

    fn connect(&self, addr: SocketAddr) -> Completion<Connection> {
        let pools = Arc::clone(&self.pools);
        let connecting = self
            .data
            .spawn(async move { connection(TcpStream::connect(addr).await?, pools) });
        Box::pin(async move { connecting.await.map_err(io::Error::other)? })
    }

    fn resolve(&self, host: &str, port: u16) -> Completion<Vec<SocketAddr>> {
        let host = host.to_owned();
        self.pools
            .resolve
            .start(move || Ok((host.as_str(), port).to_socket_addrs()?.collect()))
    }
}

/// Makes a connection of an open stream, without Nagle's delay: a reply is sent as a whole.
pub(super) fn connection(stream: TcpStream, pools: Arc<Pools>) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    let (peer, local) = (stream.peer_addr()?, stream.local_addr()?);
    let stream = Arc::new(stream);
    Ok(Connection {
        read: Box::new(RealRead {
            stream: Arc::clone(&stream),
        }),
        write: Box::new(RealWrite { stream, pools }),
        peer,
        local,
    })
}

#[derive(Debug)]
struct RealRead {
    stream: Arc<TcpStream>,
}

impl ReadHalf for RealRead {
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
            ready!(self.stream.poll_read_ready(cx))?;
            // Only now: a connection that waits holds no buffer.
            if buf.capacity() == buf.len() {
                buf.reserve(limit);
            }
            match self.stream.try_read_buf(&mut (&mut *buf).limit(limit)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

#[derive(Debug)]
struct RealWrite {
    stream: Arc<TcpStream>,
    pools: Arc<Pools>,
}

impl WriteHalf for RealWrite {
    fn send(&mut self, rope: Rope) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(send(&self.stream, &self.pools, rope))
    }

    fn shutdown(&mut self) -> BoxFuture<'_, io::Result<()>> {
        let done = match shutdown(&*self.stream, Shutdown::Write) {
            // The other side was faster.
            Err(rustix::io::Errno::NOTCONN) => Ok(()),
            done => done.map_err(io::Error::from),
        };
        Box::pin(std::future::ready(done))
    }
}

impl Drop for RealWrite {
    /// Ends the outgoing stream even while the read half lives. A connection that is gone already
    /// has nothing to end.
    fn drop(&mut self) {
        if let Err(error) = shutdown(&*self.stream, Shutdown::Write) {
            tracing::trace!(%error, "the connection had ended before its writer was dropped");
        }
    }
}
