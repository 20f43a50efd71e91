//! How written bytes become durable: one flusher per log directory (C1–C8, S1–S4, F1–F3).
//!
//! Bytes of small appends and all marks gather in memory and go to the journal in one commit, one
//! sync; partitions with large unflushed ranges sync their files beside it. While a commit is on
//! its way the next gathers.

mod direct;
pub(crate) mod gather;
mod part;
pub(crate) mod reclaim;
mod reclaiming;
pub(crate) mod settle;
pub(crate) mod state;
pub(crate) mod task;
mod under_way;
pub(crate) mod wall;

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_host::{BoxFuture, File};
use millrace_probe::{Bug, planted};
use tokio::sync::oneshot;

use crate::error::Error;
use crate::mark::{Mark, Position, SegmentId};
pub(crate) use gather::Opening;
pub use state::FlusherCounts;
pub(crate) use state::Shared;

/// Completes when what it stands for is durable; with an error when the directory failed first.
pub type Durable = BoxFuture<'static, Result<(), Error>>;

/// Bytes that were just written to a segment's page cache, to be made durable.
#[derive(Debug)]
pub struct Staged<'a> {
    /// The file they are in.
    pub segment: SegmentId,
    /// Where in the file they begin.
    pub position: u64,
    /// The first record's offset.
    pub first_offset: i64,
    /// The offset after the last record.
    pub next_offset: i64,
    /// The bytes as they stand in the file, patched prefix included (J5).
    pub bytes: &'a [IoSlice<'a>],
    /// The descriptor that wrote them (S2).
    pub file: &'a Arc<dyn File>,
    /// Commit as soon as the one before is durable (a reply waits); otherwise at latest after
    /// `log.flush.lag.ms`.
    pub urgent: bool,
}

/// One open partition's way to durability. All calls that change something are made under the
/// partition's lock, so that their order is the partition's order. Dropping it lets the partition
/// go once nothing of it is outstanding.
#[derive(Debug)]
pub struct FlushHandle {
    shared: Arc<Shared>,
    slot: u32,
}

impl FlushHandle {
    pub(crate) fn new(shared: Arc<Shared>, part: Opening) -> Self {
        let slot = shared.with(|gather| gather.open(part));
        Self { shared, slot }
    }

    /// Takes bytes that were just appended. Never blocks.
    pub fn stage(&self, staged: &Staged<'_>) {
        self.shared.with(|gather| {
            if gather.takes(self.slot) {
                gather.stage(self.slot, staged);
            }
        });
    }

    /// Adds a mark to the gathering commit; it waits for company or the closing commit (C7).
    pub fn mark(&self, mark: Mark) {
        self.shared.with(|gather| {
            if gather.takes(self.slot) {
                gather.mark(self.slot, mark);
            }
        });
    }

    /// Adds a mark and commits at once: an intent. Resolves when it is durable (C5).
    pub fn mark_now(&self, mark: Mark) -> Durable {
        let (tell, told) = oneshot::channel();
        let removal = matches!(mark, Mark::DeleteIntent | Mark::DeleteDone);
        let intent = matches!(
            mark,
            Mark::CutIntent { .. }
                | Mark::DeleteIntent
                | Mark::LogStart(_)
                | Mark::SegmentRemoved(_)
                | Mark::Replaced { .. }
        );
        self.shared.with(|gather| {
            if !gather.is_ended() {
                if removal || gather.takes(self.slot) {
                    gather.mark(self.slot, mark);
                }
                gather.hurry(tell);
            }
        });
        if intent && planted(Bug::ChangeBeforeIntent) {
            return Box::pin(std::future::ready(Ok(())));
        }
        self.shared.durable(told)
    }

    /// Adds a mark as [`Self::mark`] does; resolves when it is durable.
    pub fn mark_told(&self, mark: Mark) -> Durable {
        let (tell, told) = oneshot::channel();
        self.shared.with(|gather| {
            if !gather.is_ended() {
                gather.mark(self.slot, mark);
                gather.tell(tell);
            }
        });
        self.shared.durable(told)
    }

    /// Directories in which names were made that must be synced before a direct sync counts and
    /// before the partition counts as settled (C4): the partition's own and the log directory.
    pub fn new_names(&self, dirs: [PathBuf; 2]) {
        self.shared.with(|gather| {
            if gather.takes(self.slot) {
                gather.part(self.slot).add_names(dirs);
            }
        });
    }

    /// A file beside the segments that was written just now and must be durable with their names:
    /// the partition's metadata (C4).
    pub fn new_file(&self, file: &Arc<dyn File>) {
        self.shared.with(|gather| {
            if gather.takes(self.slot) {
                gather.part(self.slot).beside.push(Arc::clone(file));
            }
        });
    }

    /// Bytes written that no ack and no watermark waits for (page-cache topics, at a roll): synced
    /// in the background and then marked settled (A3).
    pub fn sync_later(&self, file: &Arc<dyn File>, upto: Position) {
        self.shared.with(|gather| {
            if gather.takes(self.slot) {
                gather.sync_later(self.slot, file, upto);
            }
        });
    }

    /// From here on bytes of this partition are staged; those before `upto` were not (page-cache
    /// topics) and are synced first. Nothing counts as flushed before they are.
    pub fn stage_from(&self, file: &Arc<dyn File>, upto: Position) {
        self.shared.with(|gather| {
            if gather.takes(self.slot) {
                gather.stage_from(self.slot, file, upto);
            }
        });
    }

    /// A removal of the partition begins: from now on nothing but its own marks is taken, of any
    /// handle, so that no sync of a name that it takes away is owed behind [`Self::settle`].
    pub(crate) fn begin_removal(&self) {
        self.shared
            .with(|gather| gather.part(self.slot).removing = true);
    }

    /// Whether a removal of the partition has begun, through whatever handle.
    pub(crate) fn is_removing(&self) -> bool {
        self.shared.with(|gather| gather.part(self.slot).removing)
    }

    /// Room in the ledger for one more partition; call before a partition's first write (F4).
    pub fn make_room(&self) -> Result<(), Error> {
        self.shared.make_ledger_room()
    }

    /// Somebody waits for what is staged: commit now.
    pub fn flush_now(&self) {
        self.shared.with(|gather| gather.flush_now(self.slot));
    }

    /// The end moves back to `to`: raises the cut count, which it returns, and forgets everything
    /// staged behind. Call before the cut's intent is marked.
    pub fn cut(&self, to: Position) -> u32 {
        self.shared.with(|gather| gather.cut(self.slot, to))
    }

    /// Syncs this partition's files and new names. Resolves when all that was staged before the
    /// call is durable in the segment files.
    pub fn settle(&self) -> Durable {
        let (tell, told) = oneshot::channel();
        self.shared.with(|gather| {
            if !gather.is_ended() {
                gather.settle(self.slot, tell);
            }
        });
        self.shared.durable(told)
    }

    /// The result of a sync that a caller made by itself: a failed one is terminal for the
    /// directory (F1). Not under the partition's lock.
    pub(crate) fn synced(&self, path: &Path, result: io::Result<()>) -> Result<(), Error> {
        self.shared.synced(path, result)
    }

    /// The end of the contiguous durable prefix.
    pub fn flushed(&self) -> Position {
        self.shared.with(|gather| gather.part(self.slot).flushed)
    }
}

impl Drop for FlushHandle {
    fn drop(&mut self) {
        self.shared.with(|gather| gather.release(self.slot));
    }
}
