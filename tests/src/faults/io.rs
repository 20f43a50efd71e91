//! Trouble between the page cache and whoever reads or writes it: regions of replies that come up
//! short, and pages that are not written back.
//!
//! What always holds: drawn apart from the other faults, so that those of a seed stay what they are.

use millrace_sim::{DiskEffect, DiskOp};

use super::schedule::Draw;
use super::{DiskTrouble, What};
use crate::shape::Row;

/// When so many records are acknowledged and so many milliseconds have passed, and what happens.
pub type Timed = ((u64, u64), What);

/// What goes wrong of this kind in one life.
pub fn of_life(draw: &mut Draw, row: Row, directories: usize) -> Vec<Timed> {
    let mut faults = Vec::new();
    if draw.below(2) == 0 {
        let when = (draw.below(60), draw.below(100));
        faults.push((when, What::Disk(sending(draw))));
    }
    // What a page cache topic has acknowledged goes with the pages: see "Not proven".
    let may_go = row != Row::PageCache;
    if draw.below(4) == 0 && may_go {
        let when = (draw.below(60), draw.below(100));
        faults.push((when, What::Disk(write_back(draw, directories))));
    }
    faults
}

/// Replies whose regions fail, some or the next.
fn sending(draw: &mut Draw) -> DiskTrouble {
    let effect = [DiskEffect::Error, DiskEffect::Short][draw.below(2) as usize];
    let nth = (draw.below(2) == 0).then(|| 1 + draw.below(4));
    DiskTrouble {
        op: DiskOp::Send,
        nth,
        per_mille: 50 + draw.below(500) as u32,
        effect,
        directory: None,
        ms: 1 + draw.below(600),
    }
}

/// One write of a directory that stays in the page cache.
fn write_back(draw: &mut Draw, directories: usize) -> DiskTrouble {
    DiskTrouble {
        op: DiskOp::WriteBack,
        nth: Some(1 + draw.below(20)),
        per_mille: 0,
        effect: DiskEffect::Error,
        directory: Some(draw.below(directories as u64) as usize),
        ms: 1 + draw.below(1000),
    }
}
