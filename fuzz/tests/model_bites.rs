//! The model of `broker_requests` sees what it should: bugs planted in the server's code break it
//! within as many inputs as a smoke makes, and only they do.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use millrace_fuzz::broker_requests;
use millrace_probe::{Bug, arm, fired};

/// Each by what it breaks: what is read, who is woken, what a power cut leaves, what is answered to a
/// batch that comes again.
const BUGS: [Bug; 5] = [
    Bug::ReadPastHighWatermark,
    Bug::FetchWakeUpLost,
    Bug::DirectorySyncLost,
    Bug::RecoveredTailNotSynced,
    Bug::DuplicateAckedAtOnce,
];

/// Inputs beyond the kept ones; a smoke of the fuzzer makes several times as many.
const DRAWN: u64 = 60;

/// The kept inputs, then drawn ones, the same each time.
fn inputs() -> impl Iterator<Item = Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/broker_requests");
    let listed = fs::read_dir(corpus).expect("it is there to be read");
    let mut paths: Vec<_> = listed
        .map(|entry| entry.expect("it is there to be read").path())
        .collect();
    paths.sort();
    let read = |path: &PathBuf| fs::read(path).expect("it is there to be read");
    let kept: Vec<Vec<u8>> = paths.iter().map(read).collect();
    kept.clone()
        .into_iter()
        .chain((0..DRAWN).map(move |number| drawn(number, &kept)))
}

/// The step that ends the broker, and which end it is (`steps` of the target).
const RESTART: u8 = 28;

/// Numbers drawn from a number (`SplitMix64`).
fn mixer(number: u64) -> impl FnMut() -> u64 {
    let mut state = number.wrapping_mul(0xd134_2543_de82_ef95);
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

/// A kept input, an end of the broker, another kept input, by a number.
fn drawn(number: u64, kept: &[Vec<u8>]) -> Vec<u8> {
    let mut next = mixer(number);
    let mut one = || &kept[next() as usize % kept.len()];
    let (first, second) = (one(), one());
    let cut = next() as usize % (first.len() + 1);
    [&first[..cut], &[RESTART, next() as u8], second].concat()
}

/// Bugs of consumer groups.
const GROUP_BUGS: [Bug; 3] = [
    Bug::FencedCommitAccepted,
    Bug::GenerationReused,
    Bug::GroupReplayDiffers,
];

/// A step's first byte from here on says that it is about groups.
const GROUPS_FROM: u8 = 0xd0;

/// Inputs that are about groups.
const GROUP_INPUTS: u64 = 60;

/// Steps about groups, whichever byte they begin with, and ends of the broker now and then, by a
/// number.
fn about_groups(number: u64) -> Vec<u8> {
    let mut word = mixer(number);
    let mut input = vec![1];
    for _ in 0..400 {
        let step = word();
        match step % 64 {
            0 => input.extend([RESTART, (step / 64) as u8]),
            1..=12 => input.push((step / 64) as u8),
            _ => input.push(GROUPS_FROM + (step / 64 % 48) as u8),
        }
    }
    input
}

fn breaks(input: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| broker_requests::run(input))).is_err()
}

/// How many inputs it takes until the model is broken.
fn found_after(bug: Bug, mut inputs: impl Iterator<Item = Vec<u8>>) -> Option<usize> {
    inputs.position(|input| {
        let _armed = arm(bug);
        let broken = breaks(&input);
        assert!(!broken || fired() > 0, "{bug:?} did not bite");
        broken
    })
}

#[test]
fn planted_bugs_break_the_model_and_without_them_nothing_does() {
    let broken = inputs().position(|input| breaks(&input));
    assert_eq!(broken, None, "an input breaks the model by itself");
    // What is broken says so at length.
    std::panic::set_hook(Box::new(|_| {}));
    let missed: Vec<Bug> = BUGS
        .into_iter()
        .filter(|bug| found_after(*bug, inputs()).is_none())
        .collect();
    drop(std::panic::take_hook());
    assert!(missed.is_empty(), "not seen by the model: {missed:?}");
}

#[test]
fn planted_bugs_of_groups_break_the_model_and_without_them_nothing_does() {
    let inputs = || (0..GROUP_INPUTS).map(about_groups);
    let broken = inputs().position(|input| breaks(&input));
    assert_eq!(broken, None, "an input breaks the model by itself");
    let missed: Vec<Bug> = GROUP_BUGS
        .into_iter()
        .filter(|bug| found_after(*bug, inputs()).is_none())
        .collect();
    assert!(missed.is_empty(), "not seen by the model: {missed:?}");
}
