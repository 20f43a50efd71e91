//! What the flusher knows of one open partition.
//!
//! What always holds: unflushed bytes are all in commits (`gathered`, `in_flight`) or all waiting
//! for a sync of their files (`direct`), never both (C2); at most one sync of a partition's files
//! runs at a time; a file with unsettled bytes is held open by the descriptor that wrote (S2).

use std::path::PathBuf;
use std::sync::Arc;

use millrace_host::File;
use tokio::sync::oneshot;

use crate::mark::{Incarnation, Position, SegmentId};
use crate::sink::DurabilitySink;

/// A file with bytes that are not known to be durable in it.
#[derive(Debug)]
pub(super) struct Unsettled {
    pub(super) segment: SegmentId,
    pub(super) file: Arc<dyn File>,
    /// Dirtied by bytes that the running sync does not cover.
    pub(super) dirty: bool,
    /// The oldest round that journaled bytes of it which the running sync does not cover.
    pub(super) round: Option<u64>,
    /// The oldest round that journaled bytes of it which the running sync covers.
    pub(super) round_in_sync: Option<u64>,
}

/// A sync of a partition's files under way.
#[derive(Debug)]
pub(super) struct Sync {
    /// Everything before is durable in the segments once it ends.
    pub(super) upto: Position,
    /// Unflushed bytes it makes durable.
    pub(super) bytes: u64,
    pub(super) cut_count: u32,
    pub(super) waiters: Vec<oneshot::Sender<()>>,
}

/// One open partition.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each read by itself"
)]
pub(super) struct Part {
    pub(super) incarnation: Incarnation,
    pub(super) sink: Arc<dyn DurabilitySink>,
    pub(super) cut_count: u32,
    /// End of the contiguous durable prefix.
    pub(super) flushed: Position,
    /// End of what was staged.
    pub(super) end: Position,
    /// Bytes staged and not flushed.
    pub(super) unflushed: u64,
    /// The gathering round it takes part in, and its place there.
    pub(super) place: Option<(u64, u32)>,
    /// End and bytes of its record bytes in the gathering round.
    pub(super) gathered: Option<(Position, u64)>,
    /// The round that `gathered` is in. Marks may have joined a later one since: `place` doesn't say.
    pub(super) gathered_round: u64,
    /// The same of the round being committed.
    pub(super) in_flight: Option<(Position, u64)>,
    /// Syncs its files instead of joining commits.
    pub(super) direct: bool,
    /// Unflushed bytes no sync covers yet, while `direct`.
    pub(super) direct_bytes: u64,
    /// Somebody waits for bytes no sync covers yet.
    pub(super) urgent: bool,
    /// Is in the list of those whose bytes nobody waits for.
    pub(super) idle: bool,
    /// Waits in the queue for a sync to be started.
    pub(super) queued: bool,
    pub(super) sync: Option<Sync>,
    /// Another sync was asked for while one runs that does not cover it.
    pub(super) again: bool,
    /// A sync counts only once this round is durable: it carries the mark of a segment's existence
    /// or the end of a cut (C4, C5).
    pub(super) needs_round: u64,
    /// A finished sync that waits for that round: its end.
    pub(super) synced: Option<Position>,
    pub(super) files: Vec<Unsettled>,
    pub(super) names: Vec<PathBuf>,
    /// Other files of its directory to sync with them.
    pub(super) beside: Vec<Arc<dyn File>>,
    /// Wait for the next sync to start and end.
    pub(super) waiters: Vec<oneshot::Sender<()>>,
    /// How many handles it has. A removal may meet one that is still held.
    pub(super) handles: usize,
    /// The last handle is gone: forgotten once nothing is outstanding.
    pub(super) released: bool,
    /// A removal has begun: what is written from now on is owed to nobody, and its names may be
    /// gone when they would be synced.
    pub(super) removing: bool,
}

impl Part {
    pub(super) fn new(
        incarnation: Incarnation,
        flushed: Position,
        cut_count: u32,
        sink: Arc<dyn DurabilitySink>,
    ) -> Self {
        Self {
            incarnation,
            sink,
            cut_count,
            flushed,
            end: flushed,
            unflushed: 0,
            place: None,
            gathered: None,
            gathered_round: 0,
            in_flight: None,
            direct: false,
            direct_bytes: 0,
            urgent: false,
            idle: false,
            queued: false,
            sync: None,
            again: false,
            needs_round: 0,
            synced: None,
            files: Vec::new(),
            names: Vec::new(),
            beside: Vec::new(),
            waiters: Vec::new(),
            handles: 1,
            released: false,
            removing: false,
        }
    }

    /// Bytes were written to `file`; `round` carries them, if one does.
    pub(super) fn dirty(&mut self, segment: SegmentId, file: &Arc<dyn File>, round: Option<u64>) {
        match self.files.iter_mut().find(|one| one.segment == segment) {
            Some(one) => {
                one.dirty = true;
                one.round = one.round.or(round);
            }
            None => self.files.push(Unsettled {
                segment,
                file: Arc::clone(file),
                dirty: true,
                round,
                round_in_sync: None,
            }),
        }
    }

    /// Names to sync with the files.
    pub(super) fn add_names(&mut self, dirs: [PathBuf; 2]) {
        for dir in dirs {
            if !self.names.contains(&dir) {
                self.names.push(dir);
            }
        }
    }

    /// The oldest round with bytes that are not settled.
    pub(super) fn oldest_round(&self) -> Option<u64> {
        self.files
            .iter()
            .filter_map(|one| one.round_in_sync.or(one.round))
            .min()
    }

    /// Anything a sync would still have to do.
    pub(super) fn is_unsettled(&self) -> bool {
        !self.files.is_empty()
            || !self.names.is_empty()
            || !self.beside.is_empty()
            || self.sync.is_some()
    }

    /// Nothing refers to it any more but its handle.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_unsettled() && self.gathered.is_none() && self.in_flight.is_none()
    }
}
