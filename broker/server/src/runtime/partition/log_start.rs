//! Moving the start of a partition's log: retention, and what a client asks to be deleted.
//!
//! What always holds: what is known of producers is written down, then the new start is announced
//! and durable, then it is shown, then files go (`durability.md` A2, C5). One move of a partition at
//! a time; one that was begun is ended, whoever waits for it.

use std::sync::Arc;

use millrace_core::partition::{Event, ReadReject, Unserved};
use millrace_log::error::Error;
use millrace_log::flusher::Durable;
use millrace_log::partition::Removal;
use tokio::sync::OwnedMutexGuard;

use super::OpenPartition;

/// The right to move a partition's log start.
#[derive(Debug)]
pub(crate) struct StartMove {
    partition: Arc<OpenPartition>,
    _turn: OwnedMutexGuard<()>,
}

/// What became of a deletion of records.
pub(crate) struct Deleted {
    /// The first offset that is left.
    pub(crate) low_watermark: i64,
    /// The files that go; `None` when nothing moved.
    pub(crate) removal: Option<Removal>,
}

/// Why records were not deleted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotDeleted {
    /// Core says no.
    #[error(transparent)]
    Reject(#[from] ReadReject),
    /// The log says no, or its directory ended.
    #[error(transparent)]
    Log(#[from] Error),
    /// What is known of producers outlives their records, and there is no room to write it down.
    #[error("what is known of producers can't be written down; is the disk full?")]
    ProducersNotKept,
}

impl From<Unserved> for NotDeleted {
    fn from(unserved: Unserved) -> Self {
        Self::Reject(unserved.into())
    }
}

/// How far a deletion has come when it was planned.
enum Planned {
    /// The log begins there already, or behind it.
    Done(i64),
    /// It is to begin there, once what is known of producers is written down.
    Move(i64, Durable),
}

impl OpenPartition {
    /// Waits for the right to move the log start. Cancel-safe.
    pub(crate) async fn start_move(self: &Arc<Self>) -> StartMove {
        StartMove {
            partition: Arc::clone(self),
            _turn: Arc::clone(&self.moving_start).lock_owned().await,
        }
    }

    /// The right to move the log start, if nobody has it.
    pub(crate) fn try_start_move(self: &Arc<Self>) -> Option<StartMove> {
        let turn = Arc::clone(&self.moving_start).try_lock_owned().ok()?;
        Some(StartMove {
            partition: Arc::clone(self),
            _turn: turn,
        })
    }
}

impl StartMove {
    /// Moves the log start as the topic's retention says. Gives the files that go.
    pub(crate) async fn retain(
        self,
        now: millrace_host::Now,
        by_time: bool,
    ) -> Result<Option<Removal>, Error> {
        let due = self.partition.with(|state, seen_at, _| {
            let high_watermark = state.core.bounds().high_watermark;
            let to = state.log.retention_due(now, high_watermark, by_time)?;
            let entries = || state.core.producers_snapshot(seen_at);
            Some((to, state.log.cover_start(to, entries)))
        });
        let Ok(Some((due, covered))) = due else {
            return Ok(None);
        };
        covered.await?;
        let announced = self.partition.with(|state, _, _| {
            // The rest waits for the next pass: a disk that is full takes no snapshot.
            let to = state.log.start_within(due)?;
            Some((to, state.log.advance_log_start(to)))
        });
        // A partition that is broken keeps what it has.
        let Ok(Some((to, durable))) = announced else {
            return Ok(None);
        };
        durable?.await?;
        Ok(self.show(to).ok().map(|(removal, _)| removal))
    }

    /// Deletes what lies before `offset`, or before the high watermark for -1.
    pub(crate) async fn delete_records(self, offset: i64) -> Result<Deleted, NotDeleted> {
        let planned = self.partition.with(|state, now, _| {
            let to = state.core.plan_delete_records(offset)?;
            if to <= state.core.bounds().log_start {
                return Ok(Planned::Done(to));
            }
            let entries = || state.core.producers_snapshot(now);
            Ok(Planned::Move(to, state.log.cover_start(to, entries)))
        })?;
        let (to, covered) = match planned {
            Err(reject) => return Err(NotDeleted::Reject(reject)),
            Ok(Planned::Done(low_watermark)) => {
                return Ok(Deleted {
                    low_watermark,
                    removal: None,
                });
            }
            Ok(Planned::Move(to, covered)) => (to, covered),
        };
        covered.await?;
        let announced = self.partition.with(|state, _, _| {
            let covered = state.log.start_within(to) == Some(to);
            covered.then(|| state.log.advance_log_start(to))
        })?;
        announced.ok_or(NotDeleted::ProducersNotKept)??.await?;
        let (removal, low_watermark) = self.show(to)?;
        // A partition whose directory ended meanwhile shows no new start: core says why.
        self.partition
            .with(|state, _, _| state.core.plan_delete_records(low_watermark))??;
        Ok(Deleted {
            low_watermark,
            removal: Some(removal),
        })
    }

    /// Shows a start whose mark is durable. Gives the files that go, and the start.
    fn show(&self, to: i64) -> Result<(Removal, i64), Unserved> {
        self.partition.with(|state, now, effects| {
            let event = Event::LogStartAdvanced { log_start: to };
            state.core.step(now, event, effects);
            let removal = state.log.finish_log_start(to);
            (removal, state.core.bounds().log_start)
        })
    }
}
