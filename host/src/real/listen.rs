//! Listening sockets.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::limits::open_files;
use super::net::connection;
use super::pools::Pools;
use crate::{BoxFuture, Connection, Listener};

/// Binds and listens. `SO_REUSEADDR` lets a restart have its port back at once; it does not let
/// two processes listen on it. Must be called inside a runtime.
pub(super) fn bind(
    (addr, backlog): (SocketAddr, u32),
    pools: Arc<Pools>,
    descriptor_reserve: u64,
) -> io::Result<Box<dyn Listener>> {
    let socket = if addr.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    let listener = socket.listen(backlog)?;
    let local = listener.local_addr()?;
    Ok(Box::new(RealListener {
        listener,
        local,
        pools,
        descriptor_reserve,
    }))
}

#[derive(Debug)]
struct RealListener {
    listener: TcpListener,
    local: SocketAddr,
    pools: Arc<Pools>,
    descriptor_reserve: u64,
}

impl RealListener {
    /// Whether a connection has one of the last descriptors. The lowest free number is given out,
    /// so all below it are taken; the limit is one of numbers, and may have been changed since.
    fn takes_the_last(&self, stream: &TcpStream) -> bool {
        let number = u64::try_from(stream.as_raw_fd()).unwrap_or(u64::MAX);
        number >= open_files().soft.saturating_sub(self.descriptor_reserve)
    }
}

/// Errors of the one connection that was to be accepted, not of the listener (accept(2)).
fn of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected
            | io::ErrorKind::Interrupted
    )
}

impl Listener for RealListener {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Connection>> {
        Box::pin(async move {
            loop {
                let accepted = match self.listener.accept().await {
                    Ok((stream, _)) if self.takes_the_last(&stream) => {
                        Err(io::ErrorKind::QuotaExceeded.into())
                    }
                    Ok((stream, _)) => connection(stream, Arc::clone(&self.pools)),
                    Err(error) => Err(error),
                };
                match accepted {
                    Err(error) if of_one_connection(&error) => {}
                    done => return done,
                }
            }
        })
    }
}
