//! A connection that one conversation has to itself: saying who the client is, at the beginning and
//! again before the broker would end the connection (KIP-368).
//!
//! What always holds: no other request goes out between the first and the last word of it; who drops it
//! half-way ends the connection; one that the broker refuses, too.

use std::sync::Arc;

use bytes::Bytes;
use millrace_host::{Mono, WriteHalf};
use tokio::sync::MutexGuard;

use super::{BreakOnDrop, Call, Connection, Outgoing, Shared};
use crate::Error;
use crate::security::authenticate::{Identity, authenticate};

/// When the client says anew who it is, and what.
#[derive(Clone, Debug)]
pub(crate) struct Renewal {
    pub(crate) at: Mono,
    pub(crate) identity: Identity,
}

/// The connection, while nobody else sends.
pub(crate) struct Exclusive<'a> {
    shared: &'a Arc<Shared>,
    half: &'a mut dyn WriteHalf,
}

impl Connection {
    /// Says who the client is.
    pub(crate) async fn authenticate(&self, identity: &Identity) -> Result<(), Error> {
        let shared = &self.shared;
        let talking = async {
            let mut write = shared.write.lock().await;
            converse(shared, &mut write, identity).await
        };
        self.until(self.deadline(), talking).await
    }
}

/// Says it again if the time has come.
pub(super) async fn renew(
    shared: &Arc<Shared>,
    write: &mut MutexGuard<'_, Outgoing>,
) -> Result<(), Error> {
    let now = shared.host.clock.now().mono;
    let Some(renewal) = write.renewal.take_if(|renewal| renewal.at <= now) else {
        return Ok(());
    };
    converse(shared, write, &renewal.identity).await
}

async fn converse(
    shared: &Arc<Shared>,
    write: &mut MutexGuard<'_, Outgoing>,
    identity: &Identity,
) -> Result<(), Error> {
    let half_said = BreakOnDrop(shared);
    let mut exclusive = Exclusive {
        shared,
        half: &mut *write.half,
    };
    let talked = Box::pin(authenticate(&mut exclusive, identity)).await;
    std::mem::forget(half_said);
    shared.options.metrics.authenticated(talked.is_ok());
    match talked {
        Ok(renewal) => {
            write.renewal = renewal;
            Ok(())
        }
        Err(error) => {
            shared.end_with(&error.to_string(), &error);
            Err(error)
        }
    }
}

impl Exclusive<'_> {
    /// The machine that it runs on.
    pub(crate) fn host(&self) -> &millrace_host::Host {
        &self.shared.host
    }

    /// The broker's address.
    pub(crate) fn address(&self) -> &str {
        &self.shared.address
    }

    /// Sends a request and waits for its answer, behind those of all that was sent before.
    pub(crate) async fn call(&mut self, call: Call, body: Bytes) -> Result<Bytes, Error> {
        let (correlation_id, answer) = self.shared.enqueue(call, None)?;
        self.shared
            .hand_over(self.half, call, correlation_id, body)
            .await?;
        let closed = || self.shared.disconnected("it was closed");
        answer.await.unwrap_or_else(|_| Err(closed()))
    }
}
