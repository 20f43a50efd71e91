//! How written bytes become durable: one flusher per log directory.

use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;

use millrace_host::{BoxFuture, File};

use crate::error::Error;
use crate::mark::{Mark, Position, SegmentId};

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
/// partition's lock, so that their order is the partition's order.
#[derive(Debug)]
pub struct FlushHandle {}

impl FlushHandle {
    /// Takes bytes that were just appended. Never blocks.
    pub fn stage(&self, _staged: &Staged<'_>) {
        unimplemented!()
    }

    /// Adds a mark to the gathering commit; it waits for company or the closing commit (C7).
    pub fn mark(&self, _mark: Mark) {
        unimplemented!()
    }

    /// Adds a mark and commits at once: an intent. Resolves when it is durable (C5).
    pub fn mark_now(&self, _mark: Mark) -> Durable {
        unimplemented!()
    }

    /// Directories in which names were made that must be synced before a direct sync counts and
    /// before the partition counts as settled (C4): the partition's own and the log directory.
    pub fn new_names(&self, _dirs: [PathBuf; 2]) {
        unimplemented!()
    }

    /// Bytes written that no ack and no watermark waits for (page-cache topics, at a roll): synced
    /// in the background and then marked settled (A3).
    pub fn sync_later(&self, _file: &Arc<dyn File>, _upto: Position) {
        unimplemented!()
    }

    /// Room in the ledger for one more partition; call before a partition's first write (F4).
    pub fn make_room(&self) -> Result<(), Error> {
        unimplemented!()
    }

    /// Somebody waits for what is staged: commit now.
    pub fn flush_now(&self) {
        unimplemented!()
    }

    /// The end moves back to `to`: raises the cut count, which it returns, and forgets everything
    /// staged behind. Call before the cut's intent is marked.
    pub fn cut(&self, _to: Position) -> u32 {
        unimplemented!()
    }

    /// Syncs this partition's files and new names. Resolves when all that was staged before the
    /// call is durable in the segment files.
    pub fn settle(&self) -> Durable {
        unimplemented!()
    }

    /// The end of the contiguous durable prefix.
    pub fn flushed(&self) -> Position {
        unimplemented!()
    }
}
