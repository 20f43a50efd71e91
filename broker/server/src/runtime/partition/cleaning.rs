//! What compaction does to a partition under its lock.
//!
//! What always holds: what is cleaned is settled, committed, and what is known of its producers is
//! written down; a replacement that was begun is ended, whatever came of it.

use std::collections::BTreeMap;

use millrace_core::compaction::LastOfProducer;
use millrace_core::partition::Unserved;
use millrace_log::error::Error;
use millrace_log::partition::{CleanError, Cleaned, Cleaning, Removal, Replaced, Replacement};
use millrace_protocol::producer::ProducerEntry;

use super::{OpenPartition, State};

/// A log as a round finds it.
pub(crate) struct Found {
    /// Its segments.
    pub(crate) log: Cleaning,
    /// Everything below is committed and decided.
    pub(crate) stable_end: i64,
}

impl OpenPartition {
    /// How its log stands. Nothing is begun by that.
    pub(crate) fn look_to_clean(&self) -> Result<Found, CleanError> {
        self.to_clean(|state, _| {
            let bounds = state.core.bounds();
            Ok(Found {
                log: state.log.begin_cleaning()?,
                stable_end: bounds.last_stable.min(bounds.high_watermark),
            })
        })
    }

    /// What must stay readable of the producers that are remembered, by id.
    pub(crate) fn producers_to_keep(&self) -> Result<BTreeMap<i64, LastOfProducer>, CleanError> {
        self.to_clean(|state, now| {
            let entries = state.core.producers_snapshot(now);
            Ok(entries.iter().map(last).collect())
        })
    }

    /// Has everything ready for a round over what lies below `upto`, and says how the log stands
    /// then.
    pub(crate) async fn begin_round(&self, upto: i64) -> Result<Found, CleanError> {
        let settled = self.to_clean(|state, _| Ok(state.log.prepare_cleaning()))?;
        settled.await?;
        let covered = self.to_clean(|state, now| {
            let entries = || state.core.producers_snapshot(now);
            Ok(state.log.cover_start(upto, entries))
        })?;
        covered.await?;
        let mut found = self.look_to_clean()?;
        found.stable_end = found.stable_end.min(found.log.producers_upto());
        Ok(found)
    }

    /// Begins to put a cleaned segment in its place.
    pub(crate) fn begin_replacement(&self, cleaned: Cleaned) -> Result<Replacement, CleanError> {
        self.to_clean(|state, _| state.log.begin_replacement(cleaned))
    }

    /// Ends that: readers see the new segment from now on. Gives the files that go.
    pub(crate) fn finish_replacement(
        &self,
        outcome: Result<Replaced, Error>,
    ) -> Result<Removal, CleanError> {
        self.to_clean(|state, _| {
            let removal = state.log.finish_replacement(outcome)?;
            self.plan_check(state);
            Ok(removal)
        })
    }

    /// A partition that is broken is not cleaned.
    fn to_clean<R>(
        &self,
        work: impl FnOnce(&mut State, millrace_core::Now) -> Result<R, CleanError>,
    ) -> Result<R, CleanError> {
        let done: Result<_, Unserved> = self.with(|state, now, _| work(state, now));
        done.unwrap_or(Err(CleanError::Stopped))
    }
}

fn last(entry: &ProducerEntry) -> (i64, LastOfProducer) {
    let last = LastOfProducer {
        data_offset: entry.batches.last().map(|batch| batch.last_offset),
        epoch: entry.producer_epoch,
    };
    (entry.producer_id, last)
}
