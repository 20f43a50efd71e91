//! Giving journal files back (S3), and old generations after a start (J4).
//!
//! What always holds: a file is overwritten, and an old generation removed, only after every file
//! with bytes of it is synced, names included, and after that a ledger that says so is durable.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use millrace_host::BoxFuture;
use millrace_probe::{Branch, Bug, planted, reached};

use crate::error::Error;
use crate::flusher::settle::Work;
use crate::flusher::state::Shared;
use crate::flusher::task::Flusher;
use crate::handles::lock;
use crate::journal::commit::CommitId;
use crate::journal::file;

/// How much larger a journal file gets each time it is given back.
const GROWTH: u64 = 2;

/// What earlier generations left.
#[derive(Debug, Default)]
pub(crate) struct Retired {
    /// Files that replay wrote into and the directories of names it made.
    pub(crate) works: Vec<Work>,
    /// Journal files to remove once all of that is settled.
    pub(crate) journals: Vec<PathBuf>,
}

/// What is being given back.
pub(crate) enum Reclaim {
    /// Nothing.
    Idle,
    /// Earlier generations: settled, written down, removed.
    Retiring(BoxFuture<'static, Result<(), Error>>),
    /// Waits for these partitions to have settled what the file holds.
    Settling {
        index: usize,
        round: u64,
        number: u64,
        waiting: BTreeSet<u32>,
    },
    /// Writes the ledger and grows the file.
    Finishing {
        index: usize,
        work: BoxFuture<'static, Result<u64, Error>>,
        len: Option<u64>,
    },
}

impl Reclaim {
    /// Begins with what earlier generations left.
    pub(crate) fn retire(shared: &Arc<Shared>, generation: u64, retired: Retired) -> Self {
        if retired.journals.is_empty() {
            return Self::Idle;
        }
        let shared = Arc::clone(shared);
        Self::Retiring(Box::pin(
            async move { shared.retire(generation, retired).await },
        ))
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self {
            Self::Idle | Self::Settling { .. } => Poll::Pending,
            Self::Retiring(work) => work.as_mut().poll(cx),
            Self::Finishing { work, len, .. } => work.as_mut().poll(cx).map_ok(|new| {
                *len = Some(new);
            }),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self, Self::Idle)
    }
}

impl Shared {
    /// Settles what replay wrote, says so in the ledger, removes the old generations' files.
    pub(crate) async fn retire(&self, generation: u64, retired: Retired) -> Result<(), Error> {
        let disk = self.host.disk.as_ref();
        for work in retired.works {
            work.start_late(disk, &self.path).await?;
        }
        // Even when nothing was folded: the ledger that was read may be in the page cache only, or a
        // failed write-back may have left it there, and without the journal it is all there is.
        self.write_ledger(CommitId {
            generation,
            number: 0,
        })
        .await?;
        if !retired.journals.is_empty() {
            reached(Branch::GenerationRetired);
        }
        for path in &retired.journals {
            match disk.remove(path).await {
                // The process before had begun to let go of it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    reached(Branch::RetiredBefore);
                }
                done => done.map_err(Error::io("remove", path))?,
            }
        }
        Ok(())
    }

    /// Makes the fold of now durable in both ledger files.
    pub(crate) async fn write_ledger(&self, settled_through: CommitId) -> Result<(), Error> {
        if let Err(error) = self.make_ledger_room() {
            // What is there was taken ahead of need: this one still fits.
            tracing::warn!(path = %self.path.display(), %error, "no room ahead for the ledger");
        }
        let bytes = {
            let mut ledger = lock(&self.ledger);
            ledger.settled_through = ledger.settled_through.max(settled_through);
            self.ledger_files.next(&ledger)
        };
        self.counts.ledgers.fetch_add(1, Ordering::Relaxed);
        self.ledger_files.write(&bytes).await
    }
}

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
        let syncing = !self.syncs.is_empty();
        self.shared.with(|gather| {
            if gather.unsettled_files > max && !syncing && gather.sync_queue.is_empty() {
                gather.want_sync_of_all();
            }
        });
    }

    /// Part of a clean stop: `true` once everything is committed, settled and written down.
    pub(super) async fn finish(&mut self) -> Result<bool, Error> {
        if !self.reclaim.is_idle() || !self.syncs.is_empty() || !self.is_drained() {
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
