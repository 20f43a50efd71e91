//! The two signals that end the process cleanly.

use std::io;

use tokio::signal::unix::{Signal as Listener, SignalKind, signal};

/// A request from outside to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `SIGINT`: Ctrl-C.
    Interrupt,
    /// `SIGTERM`: a supervisor.
    Terminate,
}

/// Catches `SIGINT` and `SIGTERM` from its making on; they no longer end the process themselves.
#[derive(Debug)]
pub struct Signals {
    interrupt: Listener,
    terminate: Listener,
}

impl Signals {
    /// Begins to catch. Must be called on a runtime (inside [`super::RealHost::block_on`]).
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next one. Cancel-safe.
    pub async fn next(&mut self) -> Signal {
        std::future::poll_fn(|cx| {
            if self.terminate.poll_recv(cx).is_ready() {
                return std::task::Poll::Ready(Signal::Terminate);
            }
            self.interrupt.poll_recv(cx).map(|_| Signal::Interrupt)
        })
        .await
    }
}
