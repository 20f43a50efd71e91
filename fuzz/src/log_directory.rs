//! Target: a log directory with anything in one of its files, or one with a past and small damage in
//! several: format, ledger, journal, segment, index, snapshot, identity; under a fault of the disk
//! where the input says so.
//!
//! Held: it opens or an error says why; the same start again comes to the same end, but that several
//! damages may take a partition offline only once the first start has settled what lies above them;
//! what is held in memory follows what is on disk; dumping and checking change nothing.

use std::path::Path;

use millrace_log::check;
use millrace_log::error::Error;
use millrace_sim::{DiskFault, Sim};

use crate::allocation::{Bound, within};
use crate::disk::{self, Files};
use crate::dumps;
use crate::edits;
use crate::faults;
use crate::input::Input;
use crate::lives;
use crate::logs::{self, Ended, OTHER_BOOT, Partition, ROOT, SAME_BOOT, Shown};
use crate::progress;

/// Journal files of the new start (two of at least 64 KiB, each four times the commit that is
/// repeated), the cached and the durable pages of the simulated disk, its books.
const OPENING: Bound = Bound::with_fixed(3 << 20);

const BOOTED: u8 = 1;
const CLOSED: u8 = 1 << 1;
const LIVED: u8 = 1 << 2;
const LOOKED_AT: u8 = 1 << 3;
const REBUILT: u8 = 1 << 4;
const RECORDS: u8 = 1 << 5;
const FAULTY: u8 = 1 << 6;

/// One input: which image and the change of one file, or what a life leaves and a list of changes.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let flags = input.byte();
    let node = if flags & BOOTED == 0 {
        SAME_BOOT
    } else {
        OTHER_BOOT
    };
    let fault = (flags & FAULTY != 0).then(|| faults::drawn(&mut input));
    let (files, partitions) = given(flags, &mut input);
    let machine = if fault.is_some() {
        disk::cold()
    } else {
        disk::still()
    };
    let sim = Sim::with_options(machine);
    let host = sim.node(node);
    let mut total = 0;
    sim.block_on(async {
        for (path, bytes) in &files {
            total += bytes.len();
            disk::put(&host.disk, path, bytes).await;
        }
    });
    if flags & LOOKED_AT != 0 && !files.is_empty() {
        look_at(&sim, (node, &fault), &files, flags & RECORDS != 0);
    }
    drop(files);
    if flags & (REBUILT | LIVED) == REBUILT | LIVED {
        lose_ledgers(&sim, node);
    }
    if flags & REBUILT != 0 {
        let host = sim.node(node);
        let root = Path::new(ROOT);
        let rebuilt = within(OPENING, total, || {
            sim.block_on(check::rebuild_ledger(&host, root))
        });
        if let Err(error) = rebuilt {
            assert!(!error.to_string().is_empty(), "an error has words");
        }
        sim.kill(node);
    }
    let gaps = flags & LIVED != 0;
    let start = || {
        let host = sim.node(node);
        let open = logs::open_those(&host, &partitions, gaps);
        within(OPENING, total, || sim.block_on(open))
    };
    if let Some(fault) = fault {
        sim.inject(node, fault);
        if let Err(error) = start() {
            assert!(!error.to_string().is_empty(), "an error has words");
        }
        sim.kill(node);
        sim.heal_disk(node, None);
    }
    opens_twice(&sim, node, gaps, start);
    let panics = sim.panics();
    assert!(panics.is_empty(), "{panics:?}");
}

/// The files, and the partitions that are opened.
fn given(flags: u8, input: &mut Input<'_>) -> (Files, Vec<Partition>) {
    if flags & LIVED != 0 {
        let mut left = lives::live(input);
        edits::several(&mut left.files, input);
        return (left.files, left.partitions);
    }
    let ended = if flags & CLOSED == 0 {
        Ended::Killed
    } else {
        Ended::Closed
    };
    let mut files = logs::image(ended).files.clone();
    edits::apply(&mut files, input);
    (files, logs::partitions())
}

/// The same start again comes to the same end.
fn opens_twice(
    sim: &Sim,
    node: &str,
    several: bool,
    start: impl Fn() -> Result<Vec<Shown>, Error>,
) {
    let first = start();
    sim.kill(node);
    match (first, start()) {
        (Ok(first), Ok(second)) => {
            progress::past_the_header();
            for (first, second) in first.iter().zip(&second) {
                if several && *second == Shown::Offline {
                    continue;
                }
                assert_eq!(bounds(first), bounds(second), "{first:?}, then {second:?}");
            }
        }
        (Err(first), Err(second)) => assert_eq!(first.to_string(), second.to_string()),
        (first, second) => panic!("first {first:?}, then {second:?}"),
    }
}

/// Neither ledger file is there any more.
fn lose_ledgers(sim: &Sim, node: &str) {
    let host = sim.node(node);
    for name in ["ledger.0", "ledger.1"] {
        let path = Path::new(ROOT).join(name);
        // One that an edit took away is gone already.
        drop(sim.block_on(host.disk.remove(&path)));
    }
    sim.kill(node);
}

/// Dumps every directory and checks the whole; nothing is changed by that.
fn look_at(sim: &Sim, (node, fault): (&str, &Option<DiskFault>), files: &Files, records: bool) {
    let host = sim.node(node);
    if let Some(fault) = fault {
        sim.inject(node, fault.clone());
    }
    let total = files.iter().map(|(_, bytes)| bytes.len()).sum();
    within(OPENING, total, || {
        sim.block_on(async {
            dumps::all(&host, files, records).await;
            let root = Path::new(ROOT);
            for error in [
                check::owner(&host, root).await.err(),
                check::check(&host, root).await.err(),
            ] {
                let words = error.map(|error| error.to_string());
                assert!(words.is_none_or(|words| !words.is_empty()), "it has words");
            }
        });
    });
    sim.heal_disk(node, None);
    dumps::changed_nothing(sim, &host, files);
    sim.kill(node);
}

/// What a partition says of itself. How far its bytes can be read is not compared: reading into
/// damage in a closed segment makes its indexes anew, and that moves where a read ends.
fn bounds(shown: &Shown) -> Option<(i64, i64, bool)> {
    match shown {
        Shown::Offline => None,
        Shown::Open {
            log_start,
            log_end,
            quarantined,
            ..
        } => Some((*log_start, *log_end, *quarantined)),
    }
}
