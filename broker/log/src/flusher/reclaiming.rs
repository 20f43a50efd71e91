//! What the flusher does of giving journal files back, a step each time that it comes by, and how it
//! ends cleanly.
//!
//! What always holds: one file is given back at a time, and only once no partition needs it.

use std::collections::BTreeSet;
use std::sync::Arc;

use millrace_probe::{Branch, Bug, planted, reached};

use crate::error::Error;
use crate::flusher::reclaim::Reclaim;
use crate::flusher::task::Flusher;
use crate::journal::commit::CommitId;
use crate::journal::file;

/// How much larger a journal file gets each time it is given back.
const GROWTH: u64 = 2;

impl Flusher {
    /// Starts what is due of giving back.
    pub(super) fn reclaim_step(&mut self) {
        if self.reclaim.is_idle()
            && let Some((index, round, number)) = self.journal.to_reclaim()
        {
            let waiting = self.shared.with(|gather| {
                let slots: BTreeSet<u32> = (0..gather.parts.len() as u32)
                    .filter(|slot| gather.holds_back(*slot, round))
                    .filter(|_| !planted(Bug::JournalFileReusedBeforeSettled))
                    .collect();
                for slot in &slots {
                    gather.want_sync(*slot);
                }
                slots
            });
            self.reclaim = Reclaim::Settling {
                index,
                round,
                number,
                waiting,
            };
        }
        if let Reclaim::Settling {
            index,
            number,
            waiting,
            ..
        } = &self.reclaim
            && waiting.is_empty()
        {
            let (index, number) = (*index, *number);
            let settled = CommitId {
                generation: self.journal.generation(),
                number,
            };
            let (journal_file, len) = self.journal.reclaimed(index);
            let target = (len * GROWTH).min(self.journal_len_max);
            let shared = Arc::clone(&self.shared);
            let work = Box::pin(async move {
                shared.write_ledger(settled).await?;
                file::grow(&journal_file, len, target).await
            });
            self.reclaim = Reclaim::Finishing {
                index,
                work,
                len: None,
            };
        }
    }

    /// A partition's sync ended: does it still hold the file back?
    pub(super) fn note_settled(&mut self, slot: u32) {
        if let Reclaim::Settling { round, waiting, .. } = &mut self.reclaim
            && waiting.contains(&slot)
        {
            let round = *round;
            let held = self.shared.with(|gather| {
                let held = gather.holds_back(slot, round);
                if held {
                    gather.want_sync(slot);
                }
                held
            });
            if !held {
                waiting.remove(&slot);
            }
        }
    }

    /// A step ended well.
    pub(super) fn reclaimed(&mut self) {
        if let Reclaim::Finishing {
            index,
            len: Some(len),
            ..
        } = &self.reclaim
        {
            reached(Branch::JournalFileGivenBack);
            self.journal.free(*index, *len);
        }
        self.reclaim = Reclaim::Idle;
        self.blocked = false;
    }

    /// Settles the longest unsettled while too many files are held open for it (S2).
    pub(super) fn bound_open_files(&mut self) {
        let max = self.unsettled_files_max;
        let syncing = self.under_way.has_partitions();
        self.shared.with(|gather| {
            if gather.unsettled_files > max && !syncing && gather.sync_queue.is_empty() {
                gather.want_sync_of_all();
            }
        });
    }

    /// Part of a clean stop: `true` once everything is committed, settled and written down.
    pub(super) async fn finish(&mut self) -> Result<bool, Error> {
        if !self.reclaim.is_idle() || self.under_way.has_partitions() || !self.is_drained() {
            return Ok(false);
        }
        self.write_down().await?;
        self.shared.end_cleanly();
        Ok(true)
    }

    /// Writes the ledger of a directory in which everything is settled.
    pub(super) async fn write_down(&mut self) -> Result<(), Error> {
        let settled = CommitId {
            generation: self.journal.generation(),
            number: self.journal.last_number(),
        };
        self.shared.write_ledger(settled).await
    }

    /// Nothing is gathered, sealed or unsettled; queues the syncs that are missing.
    fn is_drained(&mut self) -> bool {
        let pending = self.has_sealed();
        self.shared.with(|gather| {
            let unsettled = gather.want_sync_of_all();
            !pending && !unsettled && gather.is_empty()
        })
    }
}
