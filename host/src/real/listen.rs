//! Listening sockets.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket};

use super::net::connection;
use super::pools::Pools;
use crate::{BoxFuture, Connection, Listener};

/// Binds and listens. `SO_REUSEADDR` lets a restart have its port back at once; it does not let
/// two processes listen on it. Must be called inside a runtime.
pub(super) fn bind(
    addr: SocketAddr,
    backlog: u32,
    pools: Arc<Pools>,
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
    }))
}

#[derive(Debug)]
struct RealListener {
    listener: TcpListener,
    local: SocketAddr,
    pools: Arc<Pools>,
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
