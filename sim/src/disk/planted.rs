//! Faults planted on a disk by a test.

use std::sync::Arc;
use std::time::Duration;

use millrace_host::Changing;

use crate::faults;

/// What an operation is, for choosing faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskOp {
    /// `write_vectored_at`.
    Write,
    /// `read_resident_at`, `read_at`, `map`.
    Read,
    /// `File::sync`.
    Sync,
    /// `Disk::sync_dir`.
    SyncDir,
    /// `open` and `create_dir`.
    Open,
    /// `list`, `rename`, `remove`, `remove_dir`.
    Name,
    /// `allocate`.
    Allocate,
    /// `set_len`.
    SetLen,
    /// The machine's own reading of a file's region that is sent in a reply.
    Send,
    /// The machine's own writing back of what a write left in the page cache, at once behind it.
    WriteBack,
}

/// Which of the matching operations are struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Every one.
    Always,
    /// Only the n-th from now on, counted from 1.
    Nth(u64),
    /// Each with this chance, drawn from the seed.
    PerMille(u32),
}

/// What happens to an operation that is struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskEffect {
    /// `EIO`. A failed sync leaves each sector it covered old or new, takes all of them off the
    /// list of what a later sync covers, and keeps or loses the cached pages (drawn). A failed
    /// write-back does the same to everything of the file that waits for it, but keeps the cached
    /// pages, and is heard of by the next sync through each descriptor that is open then, once; by a
    /// descriptor that is opened later never. What nobody heard of until the process ended waits to
    /// be written back again: no program could know. A region that is sent ends anywhere.
    Error,
    /// `ENOSPC`, with nothing taken.
    NoSpace,
    /// A write takes only a drawn part of its bytes; the file of a region that is sent ends anywhere
    /// inside it. No effect on others.
    Short,
    /// The completion comes this much later. No effect on quick calls.
    Slow(Duration),
    /// The completion comes when the fault is healed. No effect on quick calls.
    Hang,
    /// A write is right in the cache, but reaches the device at another sector of the file. No
    /// effect on others, nor in a file of one sector.
    Misdirect,
    /// A write is right in the cache, but one bit of what reaches the device is flipped. No
    /// effect on others.
    FlipBit,
}

impl DiskOp {
    /// The name that an error returned to it is counted by.
    pub(crate) fn error_name(self) -> &'static str {
        match self {
            Self::Write | Self::Allocate | Self::SetLen => faults::WRITE_ERROR,
            Self::Read => faults::READ_ERROR,
            Self::Sync => faults::SYNC_ERROR,
            Self::SyncDir => faults::SYNC_DIR_ERROR,
            Self::Open | Self::Name => faults::NAME_ERROR,
            Self::Send => faults::SEND_ERROR,
            Self::WriteBack => faults::WRITE_BACK_ERROR,
        }
    }
}

/// A fault to plant.
#[derive(Clone, Debug)]
pub struct DiskFault {
    /// Which operations.
    pub op: DiskOp,
    /// On which files: paths that contain this; empty for all.
    pub path_contains: String,
    /// How often.
    pub when: When,
    /// What happens.
    pub effect: DiskEffect,
}

/// Names a planted fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultId(u64);

/// The faults of one disk.
#[derive(Debug)]
pub(crate) struct Faults {
    planted: Vec<(FaultId, DiskFault, u64)>,
    next: u64,
    /// How often faults were healed.
    heals: u64,
    /// The same, for what hangs: it looks again.
    healed: Arc<Changing<u64>>,
}

impl Faults {
    pub(crate) fn new() -> Self {
        Self {
            planted: Vec::new(),
            next: 0,
            heals: 0,
            healed: Arc::new(Changing::new(0)),
        }
    }

    pub(crate) fn add(&mut self, fault: DiskFault) -> FaultId {
        let id = FaultId(self.next);
        self.next += 1;
        self.planted.push((id, fault, 0));
        id
    }

    pub(crate) fn remove(&mut self, fault: Option<FaultId>) {
        self.planted
            .retain(|(id, _, _)| fault.is_some_and(|healed| healed != *id));
        self.heals += 1;
        self.healed.modify(|heals| *heals = self.heals);
    }

    /// The effect on one operation: of the first fault that strikes it, and whose it is.
    pub(crate) fn strike(
        &mut self,
        op: DiskOp,
        path: &str,
        mut chance: impl FnMut(u32) -> bool,
    ) -> Option<(FaultId, DiskEffect)> {
        let mut struck = None;
        for (id, fault, seen) in &mut self.planted {
            if fault.op != op || !path.contains(&fault.path_contains) {
                continue;
            }
            *seen += 1;
            let strikes = match fault.when {
                When::Always => true,
                When::Nth(n) => *seen == n,
                When::PerMille(per_mille) => chance(per_mille),
            };
            if strikes && struck.is_none() {
                struck = Some((*id, fault.effect));
            }
        }
        struck
    }

    /// Ends when the fault is no longer planted.
    pub(crate) fn healing(&self, fault: FaultId) -> Healing {
        Healing {
            fault,
            seen: self.heals,
            healed: Arc::clone(&self.healed),
        }
    }

    pub(crate) fn is_planted(&self, fault: FaultId) -> bool {
        self.planted.iter().any(|(id, _, _)| *id == fault)
    }
}

/// Waits for a fault to be healed.
#[derive(Debug)]
pub(crate) struct Healing {
    pub(crate) fault: FaultId,
    seen: u64,
    healed: Arc<Changing<u64>>,
}

impl Healing {
    /// Waits until faults were healed since the last look.
    pub(crate) async fn changed(&mut self) {
        let seen = self.seen;
        let changed = |heals: &u64| (*heals != seen).then_some(*heals);
        self.seen = self.healed.wait_for(changed).await;
    }
}
