//! Appending to a partition, and waiting for what the reply promises.

use std::sync::Arc;

use bytes::Bytes;
use millrace_core::Now;
use millrace_core::partition::{
    AckOutcome, Acks, Append, BatchProducer, Condition, Effect, Event, Origin, Plan, Reject, Token,
    Unserved,
};
use millrace_log::partition::{self as log, AppendError};
use millrace_probe::{Bug, planted};
use millrace_protocol::records::Produced;
use tokio::sync::oneshot;

use super::{OpenPartition, State, next_token};

/// How a waiting reply ends.
pub(crate) type AckResult = Result<AckOutcome, Reject>;

/// Why a batch was not appended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// Core says no.
    #[error(transparent)]
    Reject(#[from] Reject),
    /// The log says no.
    #[error(transparent)]
    Log(#[from] AppendError),
    /// Its end moves to another log directory; nothing was written. Over soon.
    #[error("the partition moves to another log directory; try again")]
    Held,
}

impl From<Unserved> for Refused {
    fn from(unserved: Unserved) -> Self {
        Self::Reject(unserved.into())
    }
}

/// What became of an append.
#[derive(Debug)]
pub(crate) struct Appended {
    /// Offset of the first record.
    pub(crate) base_offset: i64,
    /// First offset of the log.
    pub(crate) log_start: i64,
    /// It had been appended before; this is the original's timestamp.
    pub(crate) duplicate_of_ms: Option<i64>,
    /// What the reply still waits for; `None` when its condition holds already.
    pub(crate) wait: Option<AckWait>,
}

/// A reply that waits. Dropping it ends the wait.
#[derive(Debug)]
pub(crate) struct AckWait {
    partition: Arc<OpenPartition>,
    token: Token,
    result: oneshot::Receiver<AckResult>,
    ended: bool,
}

impl AckWait {
    /// Waits for the condition. Cancel-safe.
    pub(crate) async fn end(&mut self) -> AckResult {
        let result = (&mut self.result).await;
        self.ended = true;
        // Nobody answers any more when the partition is gone.
        result.unwrap_or(Err(Reject::Unserved(Unserved::StorageFailed)))
    }
}

impl Drop for AckWait {
    fn drop(&mut self) {
        if !self.ended {
            self.partition.cancel_ack(self.token);
        }
    }
}

/// Asks core. Of a producer for which there is no room core is told, so that nothing it has in
/// flight overtakes what was refused.
fn plan(
    state: &mut State,
    now: Now,
    append: &Append,
    effects: &mut Vec<Effect>,
) -> Result<Plan, Reject> {
    let planned = state.core.plan_append(now, append);
    if let (Err(Reject::TooManyProducers { .. }), Some(producer)) = (&planned, append.producer) {
        state.core.step(now, Event::NoRoom(producer), effects);
    }
    planned
}

impl OpenPartition {
    /// Plans, writes and applies one batch; see the module's words. `bytes` is the batch as it is
    /// to be stored, but for its first sixteen bytes.
    pub(crate) fn append(
        self: &Arc<Self>,
        bytes: &Bytes,
        produced: &Produced,
        acks: Acks,
    ) -> Result<Appended, Refused> {
        let header = &produced.header;
        let mut append = Append {
            leader_epoch: None,
            acks,
            producer: header.has_producer_id().then_some(BatchProducer {
                producer_id: header.producer_id,
                producer_epoch: header.producer_epoch,
                base_sequence: header.base_sequence,
            }),
            last_offset_delta: header.last_offset_delta,
            max_timestamp: produced.max_timestamp,
            transactional: header.is_transactional(),
            control: header.is_control(),
            origin: Origin::Client,
            crowded: false,
        };
        self.with(|state, now, effects| {
            if state.held && !planted(Bug::AppendsDuringHandover) {
                return Err(Refused::Held);
            }
            append.crowded = state.producers.is_crowded();
            let plan = plan(state, now, &append, effects)?;
            if let Plan::Write(planned) = plan {
                let written = state.log.append(log::Append {
                    bytes,
                    header,
                    base_offset: planned.base_offset,
                    leader_epoch: planned.leader_epoch,
                    urgent: planned.urgent,
                    now_wall_ms: now.wall_ms,
                });
                match written {
                    Ok(written) => {
                        if written.snapshot_due {
                            let entries = state.core.producers_snapshot(now);
                            state.log.write_snapshot(planned.base_offset, &entries);
                        }
                        state.core.step(now, Event::Written(planned), effects);
                        self.traffic.appended(header.record_count, bytes.len());
                        self.plan_check(state);
                    }
                    Err(error) => {
                        state.core.step(now, Event::WriteFailed(planned), effects);
                        if matches!(error, AppendError::Failed(_)) {
                            state.core.step(now, Event::DirectoryFailed, effects);
                        }
                        return Err(error.into());
                    }
                }
            }
            let duplicate_of_ms = match plan {
                Plan::Duplicate(duplicate) => Some(duplicate.timestamp_ms),
                Plan::Write(_) => None,
            };
            Ok(Appended {
                base_offset: plan.base_offset(),
                log_start: state.core.bounds().log_start,
                duplicate_of_ms,
                wait: self.await_ack(state, now, plan.condition(), effects),
            })
        })?
    }

    fn await_ack(
        self: &Arc<Self>,
        state: &mut State,
        now: Now,
        condition: Condition,
        effects: &mut Vec<Effect>,
    ) -> Option<AckWait> {
        if condition == Condition::Written {
            return None;
        }
        let token = next_token();
        let (sender, result) = oneshot::channel();
        state.acks.insert(token, sender);
        // The reply has its own deadline, and cancels.
        let wait = Event::AwaitAck {
            token,
            condition,
            deadline_ns: u64::MAX,
        };
        state.core.step(now, wait, effects);
        Some(AckWait {
            partition: Arc::clone(self),
            token,
            result,
            ended: false,
        })
    }

    fn cancel_ack(&self, token: Token) {
        // A partition that is broken has no waiters to forget.
        self.with(|state, now, effects| {
            if state.acks.remove(&token).is_some() {
                state.core.step(now, Event::CancelAck { token }, effects);
            }
        })
        .ok();
    }
}
