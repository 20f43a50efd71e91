//! Faults of a disk under a start, as an input says: a call fails, or writes only part.
//!
//! What always holds: a fault is gone once it is healed; the disk does again what it is told.

use millrace_sim::{DiskEffect, DiskFault, DiskOp, When};

use crate::input::Input;

const OPS: [DiskOp; 8] = [
    DiskOp::Read,
    DiskOp::Open,
    DiskOp::Name,
    DiskOp::Write,
    DiskOp::Sync,
    DiskOp::SyncDir,
    DiskOp::SetLen,
    DiskOp::Allocate,
];

/// What paths contain, by what stands there; all do the last.
const PATHS: [&str; 13] = [
    "journal.",
    "ledger.",
    ".log",
    ".index",
    ".timeindex",
    ".producers",
    ".checkpoint",
    ".snapshot",
    "partition.metadata",
    "millrace.",
    "quorum-state",
    "-0",
    "",
];

/// One fault: which calls, on which files, how often, what happens.
pub(crate) fn drawn(input: &mut Input<'_>) -> DiskFault {
    let op = *input.choice(&OPS);
    let path = *input.choice(&PATHS);
    let times = input.byte();
    let effect = match times >> 6 {
        0 | 1 => DiskEffect::Error,
        2 => DiskEffect::NoSpace,
        _ => DiskEffect::Short,
    };
    let when = match times & 0x3f {
        0 => When::Always,
        nth => When::Nth(u64::from(nth)),
    };
    DiskFault {
        op,
        path_contains: path.to_owned(),
        when,
        effect,
    }
}
