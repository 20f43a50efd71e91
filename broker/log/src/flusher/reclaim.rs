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
use millrace_host::sync::lock;
use millrace_probe::{Branch, reached};

use crate::error::Error;
use crate::flusher::settle::Work;
use crate::flusher::state::Shared;
use crate::journal::commit::CommitId;

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
