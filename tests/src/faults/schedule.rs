//! Drawing the list of faults of a run.
//!
//! What always holds: the list depends on the seed, the row and the number of directories alone, not
//! on what happens in the run.

use std::time::Duration;

use millrace_sim::{DiskEffect, DiskOp};

use super::aim::{Aim, Choice};
use super::{DiskTrouble, End, Fault, Only, What, io};
use crate::shape::Row;

/// How far the broker's wall clock may be off while time retention is judged by it.
const OFF_MS_MAX: u64 = 3_000_000;
/// A clock that is off by a year.
const YEAR_MS: i64 = 365 * 24 * 3_600_000;

/// Draws from a seed (SplitMix64): the same on every machine and version.
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// Apart from whatever else is drawn from the seed.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x6661_756c_7473_2e31)
    }

    /// A number below `bound` (0 for a bound of 0).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        if bound == 0 { 0 } else { mixed % bound }
    }

    /// True once in so many times.
    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// The list on its way.
struct Drawing {
    draw: Draw,
    /// For what is drawn apart.
    io: Draw,
    gone: Draw,
    row: Row,
    directories: usize,
    faults: Vec<Fault>,
}

/// The faults of a run.
pub fn schedule(seed: u64, row: Row, directories: usize) -> Vec<Fault> {
    let mut drawing = Drawing {
        draw: Draw::new(seed),
        io: Draw::new(seed ^ 0x696f),
        gone: Draw::new(seed ^ 0x676f_6e65),
        row,
        directories,
        faults: Vec::new(),
    };
    let lives = 3 + drawing.draw.below(6);
    for _ in 0..lives {
        drawing.life();
    }
    if drawing.draw.one_in(2) {
        drawing.rot();
    }
    drawing.faults.truncate(Only::FAULTS_MAX as usize);
    drawing.faults
}

impl Drawing {
    fn push(&mut self, (records, ms): (u64, u64), what: What) {
        let number = u32::try_from(self.faults.len()).unwrap_or(u32::MAX);
        self.faults.push(Fault {
            number,
            records,
            ms,
            what,
        });
    }

    /// One life: what goes wrong while it lasts, its end, and what goes wrong at the next start.
    fn life(&mut self) {
        for _ in 0..self.draw.below(4) {
            let when = (self.draw.below(80), self.draw.below(150));
            let what = self.trouble();
            self.push(when, what);
        }
        for (when, what) in io::of_life(&mut self.io, self.row, self.directories) {
            self.push(when, what);
        }
        if self.row == Row::SyncError && self.draw.one_in(2) {
            let when = (self.draw.below(60), 0);
            let what = self.sync_error();
            self.push(when, what);
        }
        if self.gone.one_in(8) {
            let when = (self.gone.below(80), self.gone.below(100));
            let what = What::Gone {
                directory: self.gone.below(self.directories as u64) as usize,
                leaves_empty: self.gone.one_in(2),
            };
            self.push(when, what);
        }
        let when = (self.draw.below(150), self.draw.below(300));
        let end = self.end();
        let away_ms = self.draw.below(100);
        self.push(when, What::End(end, away_ms));
        if self.draw.one_in(8) {
            let trouble = self.disk_at_start();
            self.push((0, 0), What::DiskAtStart(trouble));
        }
        if self.directories > 1 && self.draw.one_in(4) {
            let directory = self.draw.below(self.directories as u64) as usize;
            let leaves_empty = self.draw.one_in(2);
            self.push(
                (0, 0),
                What::Absent {
                    directory,
                    leaves_empty,
                },
            );
        }
        for _ in 0..3 {
            if !self.draw.one_in(4) {
                break;
            }
            let end = match self.draw.below(4) {
                0 => End::PowerCut { flips: true },
                1 => End::PowerCut { flips: false },
                _ => End::Kill,
            };
            let after_ms = self.draw.below(40);
            self.push((0, 0), What::StartCut(end, after_ms));
        }
    }

    fn end(&mut self) -> End {
        match self.draw.below(10) {
            0..=4 => End::PowerCut {
                flips: self.draw.one_in(3),
            },
            5..=7 => End::Kill,
            _ => End::Stop,
        }
    }

    /// Something that costs time and retries, never a promise.
    fn trouble(&mut self) -> What {
        let ms = 1 + self.draw.below(1000);
        match self.draw.below(24) {
            0..=4 => What::Cut,
            5..=7 => What::Partition {
                to_broker: self.draw.one_in(2),
                ms,
            },
            8..=9 => What::Drip {
                to_broker: self.draw.one_in(2),
                bytes: 1 + self.draw.below(400) as usize,
                ms,
            },
            10..=11 => {
                let off = self.draw.below(2 * OFF_MS_MAX) as i64 - OFF_MS_MAX as i64;
                let year = [0, 0, YEAR_MS, -YEAR_MS][self.draw.below(4) as usize];
                What::Clock(if year == 0 { off } else { year })
            }
            12 => self.sync_error(),
            _ => {
                let trouble = self.disk();
                What::Disk(trouble)
            }
        }
    }

    fn sync_error(&mut self) -> What {
        What::SyncError {
            directory: self.draw.below(self.directories as u64) as usize,
            nth: 1 + self.draw.below(12),
        }
    }

    fn disk(&mut self) -> DiskTrouble {
        let slow = DiskEffect::Slow(Duration::from_millis(1 + self.draw.below(2000)));
        let (op, effect) = match self.draw.below(13) {
            0..=1 => (DiskOp::Sync, slow),
            2..=3 => (DiskOp::Sync, DiskEffect::Hang),
            4 => (DiskOp::SyncDir, slow),
            5 => (DiskOp::Name, DiskEffect::Hang),
            6..=7 => (DiskOp::Write, DiskEffect::NoSpace),
            8 => (DiskOp::Allocate, DiskEffect::NoSpace),
            9..=10 => (DiskOp::Write, DiskEffect::Short),
            11 => (DiskOp::Read, slow),
            _ => return self.disk_error(),
        };
        DiskTrouble {
            op,
            nth: None,
            per_mille: 1 + self.draw.below(300) as u32,
            effect,
            directory: None,
            ms: 1 + self.draw.below(1000),
        }
    }

    /// One call that fails as the device does.
    fn disk_error(&mut self) -> DiskTrouble {
        let op = match self.draw.below(6) {
            0..=1 => DiskOp::Write,
            2..=3 => DiskOp::Read,
            4 => DiskOp::SyncDir,
            _ => DiskOp::Name,
        };
        DiskTrouble {
            op,
            nth: Some(1 + self.draw.below(30)),
            per_mille: 0,
            effect: DiskEffect::Error,
            directory: Some(self.draw.below(self.directories as u64) as usize),
            ms: 1 + self.draw.below(1000),
        }
    }

    fn disk_at_start(&mut self) -> DiskTrouble {
        if self.draw.one_in(2) {
            return self.disk();
        }
        let nth = Some(1 + self.draw.below(12));
        let op = match self.draw.below(3) {
            0 => DiskOp::Sync,
            1 => DiskOp::Read,
            _ => return self.disk_error(),
        };
        DiskTrouble {
            op,
            nth,
            ..self.disk_error()
        }
    }

    /// What rots when all else is judged: while the broker serves and while it is away, over some
    /// lives, of which the last has no more of it.
    fn rot(&mut self) {
        self.push((0, 0), What::RotBegins);
        if self.draw.one_in(6) {
            let misdirected = self.draw.one_in(2);
            let per_mille = 5 + self.draw.below(60) as u32;
            let what = What::WriteRot {
                misdirected,
                per_mille,
            };
            self.push((0, 0), what);
        }
        for _ in 0..=self.draw.below(3) {
            for _ in 0..self.draw.below(2) {
                let flip = self.flip(false);
                self.push((0, 0), flip);
            }
            let end = self.end();
            self.push((0, 0), What::End(end, 0));
            // One kind, or several at once.
            for _ in 0..[1, 1, 2, 4][self.draw.below(4) as usize] {
                let flip = self.flip(true);
                self.push((0, 0), flip);
            }
        }
        let end = self.end();
        self.push((0, 0), What::End(end, 0));
    }

    fn flip(&mut self, away: bool) -> What {
        let mut aim = Aim::ALL[self.draw.below(Aim::ALL.len() as u64) as usize];
        if !away && [Aim::BaseOffset, Aim::Epoch, Aim::Any].contains(&aim) {
            // What a process wrote or verified itself it does not look at again, and no checksum
            // covers these.
            aim = Aim::Body;
        }
        let choice = Choice {
            file: self.draw.below(u64::MAX),
            place: self.draw.below(1_000_000),
            byte: self.draw.below(1 << 20),
        };
        What::Flip {
            aim,
            choice,
            bit: self.draw.below(8) as u8,
            everywhere: !away || self.draw.below(4) > 0,
            away,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_one_list_and_other_seeds_have_others() {
        let of = |seed| schedule(seed, Row::AcksAll, 2);
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
        for seed in 0..100 {
            let list = of(seed);
            assert!(list.len() <= Only::FAULTS_MAX as usize);
            assert!(list.iter().any(|fault| matches!(fault.what, What::End(..))));
            assert!(
                (0..)
                    .zip(&list)
                    .all(|(number, fault)| fault.number == number)
            );
        }
    }
}
