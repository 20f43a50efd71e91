//! A connection that one conversation has to itself.
//!
//! What always holds: while there is one, no other request goes out.

use bytes::Bytes;
use millrace_host::{Host, WriteHalf};

use super::{Call, Outgoing, Shared};
use crate::Error;

/// The connection, while nobody else sends.
pub(super) struct Exclusive<'a> {
    shared: &'a Shared,
    half: &'a mut dyn WriteHalf,
}

impl<'a> Exclusive<'a> {
    pub(super) fn new(shared: &'a Shared, write: &'a mut Outgoing) -> Self {
        Self {
            shared,
            half: &mut *write.half,
        }
    }

    /// The machine that it runs on.
    pub(super) fn host(&self) -> &Host {
        &self.shared.host
    }

    /// The broker's address.
    pub(super) fn address(&self) -> &str {
        &self.shared.address
    }

    /// Sends a request and waits for its answer, behind those of all that was sent before.
    pub(super) async fn call(&mut self, call: Call, body: Bytes) -> Result<Bytes, Error> {
        let (correlation_id, answer) = self.shared.enqueue(call, None)?;
        self.shared
            .hand_over(self.half, call, correlation_id, body)
            .await?;
        let closed = || self.shared.disconnected("it was closed");
        answer.await.unwrap_or_else(|_| Err(closed()))
    }
}
