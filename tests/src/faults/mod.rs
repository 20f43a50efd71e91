//! The faults of a simulated run, as values: a list that is drawn from the seed before the run
//! begins, so that some can be left out and the rest stays what it was.
//!
//! What always holds: a fault that finds nothing to strike does nothing; every fault ends by itself
//! or with the process that it struck, so that a run without the last ones still ends healed.

pub mod aim;
pub mod commits;
pub mod io;
pub mod rot;
pub mod schedule;
pub mod watched;

use std::fmt;

use aim::{Aim, Choice};
use millrace_sim::{DiskEffect, DiskOp};

/// How one life of the broker ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The machine loses its power; with `flips` bits of what was un-synced may be others.
    PowerCut {
        /// Whether they may.
        flips: bool,
    },
    /// The process is killed; the page cache lives.
    Kill,
    /// The broker is stopped cleanly.
    Stop,
}

impl End {
    /// Its place in counts: power cuts, kills, stops.
    pub fn index(self) -> usize {
        match self {
            Self::PowerCut { .. } => 0,
            Self::Kill => 1,
            Self::Stop => 2,
        }
    }
}

/// Which calls of the broker to its disk are struck, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskTrouble {
    /// Which calls.
    pub op: DiskOp,
    /// Only the n-th; `None` for some of all.
    pub nth: Option<u64>,
    /// How many in a thousand, without an n-th.
    pub per_mille: u32,
    /// What happens to them.
    pub effect: DiskEffect,
    /// In which directory of `log.dirs`; `None` in all.
    pub directory: Option<usize>,
    /// For how long.
    pub ms: u64,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The broker's life ends, and it is away for so long.
    End(End, u64),
    /// The next start is cut short after so many milliseconds.
    StartCut(End, u64),
    /// The disk is in trouble while the broker runs.
    Disk(DiskTrouble),
    /// The same, from before its next start on.
    DiskAtStart(DiskTrouble),
    /// The n-th sync from now on of one directory fails; what is sent to its partitions afterwards is
    /// not acknowledged in this life.
    SyncError {
        /// In which directory of `log.dirs`.
        directory: usize,
        /// Which of its syncs.
        nth: u64,
    },
    /// All connections break.
    Cut,
    /// One direction stands still.
    Partition {
        /// That to the broker, or that to the clients.
        to_broker: bool,
        /// For how long.
        ms: u64,
    },
    /// One direction passes on little at a time.
    Drip {
        /// That to the broker, or that to the clients.
        to_broker: bool,
        /// Bytes at a time.
        bytes: usize,
        /// For how long.
        ms: u64,
    },
    /// The broker's wall clock is off by so much from now on.
    Clock(i64),
    /// A directory of `log.dirs` is away for the next life.
    Absent {
        /// Which one.
        directory: usize,
        /// An empty one stands in its place.
        leaves_empty: bool,
    },
    /// A directory of `log.dirs` goes away while the broker runs, for the rest of its life.
    Gone {
        /// Which one.
        directory: usize,
        /// An empty one stands in its place.
        leaves_empty: bool,
    },
    /// The workload has ended: from here on the disk may rot.
    RotBegins,
    /// A bit of a file flips at rest.
    Flip {
        /// What is struck.
        aim: Aim,
        /// Which file, and where in it.
        choice: Choice,
        /// Which bit.
        bit: u8,
        /// In the page cache too.
        everywhere: bool,
        /// While the broker is away, or while it serves.
        away: bool,
    },
    /// Writes of the last life reach the device flipped or elsewhere.
    WriteRot {
        /// Elsewhere, or flipped.
        misdirected: bool,
        /// How many in a thousand.
        per_mille: u32,
    },
}

impl What {
    /// Whether what comes harms what is durable: everything else is judged before.
    pub fn begins_rot(self) -> bool {
        self == Self::RotBegins
    }
}

/// One fault of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its place in the list.
    pub number: u32,
    /// So many records are acknowledged before it, after the one before...
    pub records: u64,
    /// ... and so many milliseconds pass.
    pub ms: u64,
    /// What goes wrong.
    pub what: What,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>3}: ", self.number)?;
        if self.records > 0 {
            write!(f, "after {} more records, ", self.records)?;
        }
        if self.ms > 0 {
            write!(f, "after {} ms, ", self.ms)?;
        }
        write!(f, "{:?}", self.what)
    }
}

/// Which faults of a list happen: all, or those of some numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Only(u128);

impl Only {
    /// Most faults of a list.
    pub const FAULTS_MAX: u32 = 128;

    /// Those of these numbers; numbers that no list has are passed over.
    pub fn of(numbers: impl IntoIterator<Item = u32>) -> Self {
        let bit = |number: u32| 1_u128.checked_shl(number).unwrap_or(0);
        Self(numbers.into_iter().fold(0, |all, number| all | bit(number)))
    }

    /// Whether the fault of that number happens.
    pub fn has(self, number: u32) -> bool {
        self.0.checked_shr(number).is_some_and(|rest| rest & 1 == 1)
    }

    /// The numbers.
    pub fn numbers(self) -> Vec<u32> {
        (0..Self::FAULTS_MAX)
            .filter(|number| self.has(*number))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_of_faults_holds_what_it_was_made_of() {
        let only = Only::of([3, 127, 0, 900]);
        assert_eq!(only.numbers(), [0, 3, 127]);
        assert!(!only.has(4) && !only.has(900));
    }
}
