//! Target: a log directory with anything in one of its files: format, ledger, journal, segment,
//! index, snapshot, identity.
//!
//! Held: it opens or an error says why; the same start again comes to the same end; what is held
//! in memory follows what is on disk.

use millrace_sim::Sim;

use crate::allocation::{Bound, within};
use crate::disk;
use crate::edits;
use crate::input::Input;
use crate::logs::{self, Ended, OTHER_BOOT, SAME_BOOT, Shown};
use crate::progress;

/// Journal files of the new start (two of at least 64 KiB, each four times the commit that is
/// repeated), the cached and the durable pages of the simulated disk, its books.
const OPENING: Bound = Bound::with_fixed(3 << 20);

const BOOTED: u8 = 1;
const CLOSED: u8 = 1 << 1;

/// One input: which image, then the change of one file.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let flags = input.byte();
    let ended = if flags & CLOSED == 0 {
        Ended::Killed
    } else {
        Ended::Closed
    };
    let node = if flags & BOOTED == 0 {
        SAME_BOOT
    } else {
        OTHER_BOOT
    };
    let mut files = logs::image(ended).files.clone();
    edits::apply(&mut files, &mut input);
    let sim = Sim::with_options(disk::still());
    let host = sim.node(node);
    let mut total = 0;
    sim.block_on(async {
        for (path, bytes) in &files {
            total += bytes.len();
            disk::put(&host.disk, path, bytes).await;
        }
    });
    drop(files);
    let start = || {
        let host = sim.node(node);
        within(OPENING, total, || sim.block_on(logs::open(&host)))
    };
    let first = start();
    sim.kill(node);
    match (first, start()) {
        (Ok(first), Ok(second)) => {
            progress::past_the_header();
            for (first, second) in first.iter().zip(&second) {
                assert_eq!(bounds(first), bounds(second), "{first:?}, then {second:?}");
            }
        }
        (Err(first), Err(second)) => assert_eq!(first.to_string(), second.to_string()),
        (first, second) => panic!("first {first:?}, then {second:?}"),
    }
    let panics = sim.panics();
    assert!(panics.is_empty(), "{panics:?}");
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
